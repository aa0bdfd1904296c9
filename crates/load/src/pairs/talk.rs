//! Pairs that talk.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{Run, tell};
use crate::{
    clients::Order,
    crowd::Count,
    report::{ratio, round},
    usage::{Usage, Used},
};

/// How long messages may be under way once nobody sends.
const DRAIN_MAX: Duration = Duration::from_secs(30);

impl Run<'_> {
    pub(super) async fn talk(
        &mut self,
        told: &mut Map<String, Value>,
        idle: &Used,
    ) -> anyhow::Result<()> {
        let before = self.look()?;
        let (count, used) = self.speak(100, self.plan.talk_s, before).await?;
        tell("talking", &used.told());
        let (sent, received) = (count.sent, count.received);
        // Less what all of it costs while nobody talks.
        let quiet = |of_idle: u64| used.seconds * ratio(of_idle, 1) / idle.seconds;
        let each = |number: u64, of_idle: u64| {
            json!(round((ratio(number, 1) - quiet(of_idle)) / ratio(received, 1)))
        };
        let fields = [
            ("cpu_us_per_message", each(used.relays_us, idle.relays_us)),
            ("redis_cpu_us_per_message", each(used.redis_us, idle.redis_us)),
            ("broker_cpu_us_per_message", each(used.brokers_us, idle.brokers_us)),
            ("client_cpu_us_per_message", each(used.clients_us, idle.clients_us)),
            ("store_commands_per_message", each(used.commands, idle.commands)),
            ("bus_messages_per_message", each(used.in_msgs, idle.in_msgs)),
            ("bus_deliveries_per_message", each(used.out_msgs, idle.out_msgs)),
            ("sent", json!(sent)),
            ("received", json!(received)),
            ("talking", used.told()),
        ];
        told.extend(fields.map(|(name, value)| (name.to_owned(), value)));
        let mut both = count.near.clone();
        both.add(&count.apart);
        for (name, spread) in [("", &both), ("_near", &count.near), ("_apart", &count.apart)] {
            for (part, thousandths) in [("p50", 500), ("p99", 990)] {
                let time = json!(round(spread.ms_at(thousandths)));
                told.insert(format!("{part}_ms{name}"), time);
            }
        }
        Ok(())
    }

    /// So many of a hundred pairs talk for some time, until all of it has come.
    async fn speak(
        &mut self,
        share: u64,
        seconds: u64,
        before: Usage,
    ) -> anyhow::Result<(Count, Used)> {
        let every_ms = self.plan.every_ms;
        self.clients.order(Order::Talk { every_ms, share }).await?;
        sleep(Duration::from_secs(seconds)).await;
        self.clients.order(Order::Quiet).await?;
        let came = |count: &Count| count.received + count.lost >= count.sent;
        let (count, took) = self.clients.until(DRAIN_MAX, came).await?;
        tell("sent, received, drained", &json!([count.sent, count.received, took.as_secs_f64()]));
        // Acknowledgements follow.
        sleep(Duration::from_secs(1)).await;
        Ok((count, self.look()? - before))
    }

    /// What idle sessions cost beside some that are not. What the talk of those costs is in it.
    pub(super) async fn beside(
        &mut self,
        told: &mut Map<String, Value>,
        nobody: &Used,
    ) -> anyhow::Result<()> {
        let before = self.look()?;
        let (_, used) = self.speak(1, self.plan.beside_s, before).await?;
        tell("idle beside others", &used.told());
        self.tell_idle(told, "_beside", &used, nobody);
        Ok(())
    }
}

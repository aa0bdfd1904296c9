//! All are cut, and come back at once.

use serde_json::{Map, Value, json};

use super::{CONNECT_MAX, Run, tell};
use crate::{clients::Order, crowd::Count, report::round};

impl Run<'_> {
    pub(super) async fn storm(&mut self, told: &mut Map<String, Value>) -> anyhow::Result<()> {
        let (before, sockets) = (self.look()?, self.sockets);
        let failed_before = self.clients.order(Order::Look).await?.failures;
        self.clients.order(Order::Cut).await?;
        // Until the cut has reached them, all of them are connected.
        let some = |count: &Count| count.connected < sockets / 2;
        let (_, cutting) = self.clients.until(CONNECT_MAX, some).await?;
        let all = |count: &Count| count.connected >= sockets;
        let (count, took) = self.clients.until(CONNECT_MAX, all).await?;
        let seconds = (cutting + took).as_secs_f64();
        let mut failed = count.failures.clone();
        failed.retain(|reason, n| {
            *n -= failed_before.get(reason).copied().unwrap_or(0);
            *n > 0
        });
        tell("storm", &json!([count.connected, seconds, failed]));
        told.insert("storm_s".to_owned(), json!(round(seconds)));
        told.insert("storm_failed_attempts".to_owned(), json!(failed));
        told.insert("storm".to_owned(), (self.look()? - before).told());
        Ok(())
    }
}

//! The measurement: servers, relays, clients, and one phase after the other.

mod storm;
mod talk;

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use belay_client::Identity;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::{
    clients::{Clients, Order},
    cluster::Cluster,
    crowd::{Count, Setup},
    plan::Plan,
    proc::machine_load,
    report::{self, ratio, round},
    usage::{Usage, Used},
    world::World,
};

/// Pairs of one process of clients: two descriptors each, of 20,000, and CPU of one core.
const PAIRS_PER_PROCESS: u64 = 5_000;
/// How long all may take to connect, and to come back.
const CONNECT_MAX: Duration = Duration::from_mins(10);
/// Rest before a phase: presence is told, tails of young subscriptions are compared.
const REST: Duration = Duration::from_secs(8);

struct Run<'a> {
    plan: &'a Plan,
    cluster: Cluster,
    clients: Clients,
    /// Sockets that are to be connected.
    sockets: u64,
}

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<()> {
    let mut told = plan.told()?;
    let paired_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let paired_at = u64::try_from(paired_at)?;
    let mut cluster = Cluster::servers(plan)?;
    let key = cluster.folder().join("identity");
    let identity = Identity::open(&key)?;
    cluster.start_relays(plan).await?;
    sleep(REST).await;
    let empty = Usage::look(&cluster, &[])?;
    sleep(Duration::from_secs(plan.idle_s / 3)).await;
    let full = Usage::look(&cluster, &[])?;
    let nobody = full - empty;
    tell("nobody is connected", &nobody.told());
    told.insert("nobody".to_owned(), nobody.told());
    cluster.write(&World::new(paired_at)?, plan.pairs, identity.public()).await?;
    let written = Usage::look(&cluster, &[])?;
    let record_bytes = written.redis_memory.saturating_sub(full.redis_memory) / plan.pairs;
    told.insert("redis_bytes_per_session".to_owned(), json!(record_bytes));

    let clients = Clients::start(&setups(plan, &cluster, &key, paired_at)).await?;
    let mut run = Run { plan, cluster, clients, sockets: 2 * plan.pairs };
    let measured = run.phases(&mut told, written, &nobody).await;
    for (count, text) in run.cluster.complaints() {
        println!("relays said {count} times: {text}");
    }
    measured?;
    told.insert("machine_load_after".to_owned(), json!(machine_load()?));
    report::write(&plan.report, told)?;
    println!("{}", plan.report.display());
    Ok(())
}

/// The processes of clients.
fn setups(plan: &Plan, cluster: &Cluster, key: &Path, paired_at: u64) -> Vec<Setup> {
    let processes = plan.pairs.div_ceil(PAIRS_PER_PROCESS);
    let setups = (0..processes).map(|n| {
        let first = n * PAIRS_PER_PROCESS;
        let count = PAIRS_PER_PROCESS.min(plan.pairs - first);
        let relays = cluster.addresses();
        let process = u8::try_from(n).unwrap_or(u8::MAX);
        Setup { process, relays, first, count, identity: key.to_owned(), paired_at }
    });
    setups.collect()
}

fn tell(what: &str, value: &Value) {
    println!("{what}: {value}");
}

impl Run<'_> {
    async fn phases(
        &mut self,
        told: &mut Map<String, Value>,
        written: Usage,
        nobody: &Used,
    ) -> anyhow::Result<()> {
        let sockets = self.sockets;
        let all = move |count: &Count| count.connected >= sockets;
        let (connected, took) = self.clients.until(CONNECT_MAX, all).await?;
        told.insert("connect_s".to_owned(), json!(round(took.as_secs_f64())));
        tell("connected", &json!([connected.connected, took.as_secs_f64(), connected.failures]));
        told.insert("connecting".to_owned(), (self.look()? - written).told());
        sleep(REST).await;

        let idle = self.watch(self.plan.idle_s).await?;
        tell("idle", &idle.told());
        let full = self.look()?;
        let socket_bytes = full.relay_memory.saturating_sub(written.relay_memory) / sockets;
        told.insert("bytes_per_idle_socket".to_owned(), json!(socket_bytes));
        let broker_bytes = full.broker_memory.saturating_sub(written.broker_memory) / sockets;
        told.insert("broker_bytes_per_idle_socket".to_owned(), json!(broker_bytes));
        self.tell_idle(told, "", &idle, nobody);

        self.talk(told, &idle).await?;
        if self.plan.beside_s > 0 {
            self.beside(told, nobody).await?;
        }
        self.storm(told).await?;
        sleep(REST).await;
        let after = self.watch(self.plan.idle_s / 3).await?;
        tell("idle after the storm", &after.told());
        self.tell_idle(told, "_after_storm", &after, nobody);
        self.tell_failed(told).await
    }

    fn look(&self) -> anyhow::Result<Usage> {
        Usage::look(&self.cluster, &self.clients.pids())
    }

    /// What is used while nothing is ordered.
    async fn watch(&self, seconds: u64) -> anyhow::Result<Used> {
        let before = self.look()?;
        sleep(Duration::from_secs(seconds)).await;
        Ok(self.look()? - before)
    }

    /// Commands and messages of an idle session: of all that was used, and of what is used more than
    /// while nobody is connected.
    fn tell_idle(&self, told: &mut Map<String, Value>, when: &str, idle: &Used, nobody: &Used) {
        let pairs = ratio(self.plan.pairs, 1);
        let commands = idle.per_minute(idle.commands + idle.in_msgs);
        let fixed = nobody.per_minute(nobody.commands + nobody.in_msgs);
        let keys = idle.per_minute(idle.keys) - nobody.per_minute(nobody.keys);
        let cpu = idle.per_minute(idle.relays_us) - nobody.per_minute(nobody.relays_us);
        let mut put = |name: &str, value: f64| {
            told.insert(format!("{name}_per_idle_minute{when}"), json!(round(value)));
        };
        put("commands", commands / pairs);
        put("commands_less_fixed", (commands - fixed) / pairs);
        put("keys_read", keys / pairs);
        put("cpu_us", cpu / pairs);
        told.insert(format!("idle{when}"), idle.told());
    }

    /// Sockets that are not there in the end, messages that did not come, and sockets that relays ended.
    async fn tell_failed(&mut self, told: &mut Map<String, Value>) -> anyhow::Result<()> {
        let count = self.clients.order(Order::Look).await?;
        let missing = self.sockets.saturating_sub(count.connected);
        let unread = (count.sent + count.unsent).saturating_sub(count.received);
        let failed = missing + unread + count.dropped;
        for (name, value) in [
            ("failed", json!(failed)),
            ("failed_sockets", json!(missing)),
            ("failed_messages", json!(unread)),
            ("dropped_sockets", json!(count.dropped)),
            ("failures", json!(count.failures)),
        ] {
            told.insert(name.to_owned(), value);
        }
        tell("failed", &json!([missing, unread, count.dropped, count.failures]));
        Ok(())
    }
}

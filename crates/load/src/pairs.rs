//! The measurement: servers, relays, clients, and one phase after the other.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use belay_client::Identity;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::sleep;

use crate::{
    clients::{Clients, Order},
    cluster::Cluster,
    crowd::{Count, Setup},
    proc::machine_load,
    report::{self, ratio, round},
    usage::{Usage, Used},
    world::World,
};

/// Pairs of one process of clients: two descriptors each, of 20,000, and CPU of one core.
const PAIRS_PER_PROCESS: u64 = 5_000;
/// How long all may take to connect, and to come back.
const CONNECT_MAX: Duration = Duration::from_mins(10);
/// How long messages may be under way once nobody sends.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Rest before a phase: presence is told, tails of young subscriptions are compared.
const REST: Duration = Duration::from_secs(8);

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// The program whose relays are measured.
    #[arg(long)]
    pub(crate) binary: PathBuf,
    /// Desktops with a phone each.
    #[arg(long, env = "PAIRS", default_value_t = 500)]
    pub(crate) pairs: u64,
    #[arg(long, env = "RELAYS", default_value_t = 2)]
    pub(crate) relays: u64,
    /// Copies of each message; with more than one there are three brokers.
    #[arg(long, env = "REPLICAS", default_value_t = 1)]
    pub(crate) replicas: u64,
    /// Time between two messages of a pair.
    #[arg(long, env = "EVERY_MS", default_value_t = 1_000)]
    pub(crate) every_ms: u64,
    /// How long pairs talk.
    #[arg(long, env = "TALK_S", default_value_t = 60)]
    pub(crate) talk_s: u64,
    /// How long they are idle before.
    #[arg(long, env = "IDLE_S", default_value_t = 60)]
    pub(crate) idle_s: u64,
    /// How long all but one in a hundred are idle; 0: not at all.
    #[arg(long, env = "BESIDE_S", default_value_t = 0)]
    pub(crate) beside_s: u64,
    /// What relays log; their most frequent words are told in the end.
    #[arg(long, default_value = "warn")]
    pub(crate) log_level: String,
    /// Added to the arguments of each relay.
    #[arg(long = "relay-arg", allow_hyphen_values = true)]
    pub(crate) relay_args: Vec<String>,
    #[arg(long, default_value = "target/reports/pairs.json")]
    report: PathBuf,
    #[arg(long, env = "BELAY_COMMIT", default_value = "unknown")]
    commit: String,
}

struct Run<'a> {
    plan: &'a Plan,
    cluster: Cluster,
    clients: Clients,
    /// Sockets that are to be connected.
    sockets: u64,
}

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<()> {
    let started = OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?;
    let paired_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let paired_at = u64::try_from(paired_at)?;
    let load = machine_load()?;
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
    cluster.write(&World::new(paired_at)?, plan.pairs, identity.public()).await?;
    let written = Usage::look(&cluster, &[])?;
    let record_bytes = written.redis_memory.saturating_sub(full.redis_memory) / plan.pairs.max(1);

    let processes = plan.pairs.div_ceil(PAIRS_PER_PROCESS);
    let setups = (0..processes).map(|n| {
        let first = n * PAIRS_PER_PROCESS;
        let count = PAIRS_PER_PROCESS.min(plan.pairs - first);
        let relays = cluster.addresses();
        let process = u8::try_from(n).unwrap_or(u8::MAX);
        Setup { process, relays, first, count, identity: key.clone(), paired_at }
    });
    let clients = Clients::start(&setups.collect::<Vec<_>>()).await?;
    let mut run = Run { plan, cluster, clients, sockets: 2 * plan.pairs };
    let mut told = Map::new();
    for (name, value) in [
        ("commit", json!(plan.commit)),
        ("started", json!(started)),
        ("build", json!(plan.build())),
        ("pairs", json!(plan.pairs)),
        ("relays", json!(plan.relays)),
        ("replicas", json!(plan.replicas)),
        ("every_ms", json!(plan.every_ms)),
        ("redis_bytes_per_session", json!(record_bytes)),
        ("machine_load_before", json!(load)),
        ("nobody", nobody.told()),
    ] {
        told.insert(name.to_owned(), value);
    }
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

impl Plan {
    fn build(&self) -> &'static str {
        let is = |word: &str| self.binary.components().any(|part| part.as_os_str() == word);
        if is("release") { "release" } else { "debug" }
    }
}

fn tell(what: &str, value: &Value) {
    println!("{what}: {value}");
}

impl Run<'_> {
    fn look(&self) -> anyhow::Result<Usage> {
        Usage::look(&self.cluster, &self.clients.pids())
    }

    /// What is used while nothing is ordered.
    async fn watch(&self, seconds: u64) -> anyhow::Result<Used> {
        let before = self.look()?;
        sleep(Duration::from_secs(seconds)).await;
        Ok(self.look()? - before)
    }

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

    async fn talk(&mut self, told: &mut Map<String, Value>, idle: &Used) -> anyhow::Result<()> {
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
    async fn beside(&mut self, told: &mut Map<String, Value>, nobody: &Used) -> anyhow::Result<()> {
        let before = self.look()?;
        let (_, used) = self.speak(1, self.plan.beside_s, before).await?;
        tell("idle beside others", &used.told());
        self.tell_idle(told, "_beside", &used, nobody);
        Ok(())
    }

    async fn storm(&mut self, told: &mut Map<String, Value>) -> anyhow::Result<()> {
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

//! What everything has used so far, and what it used between two looks.

use std::{ops::Sub, time::Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    proc::{cpu_us, resident},
    report::{ratio, round},
};

/// Numbers of one moment; they only grow, but for memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    at: Instant,
    /// CPU, microseconds.
    pub(crate) relays_us: u64,
    redis_us: u64,
    brokers_us: u64,
    clients_us: u64,
    /// Commands of Redis, also those within scripts.
    pub(crate) commands: u64,
    /// Keys that were looked up in Redis: one MGET reads many.
    pub(crate) keys: u64,
    /// Messages that clients (here: relays) sent to brokers, and that those sent to them.
    pub(crate) in_msgs: u64,
    out_msgs: u64,
    /// Bytes.
    pub(crate) relay_memory: u64,
    pub(crate) redis_memory: u64,
    pub(crate) broker_memory: u64,
}

impl Usage {
    pub(crate) fn look(cluster: &Cluster, clients: &[u32]) -> anyhow::Result<Self> {
        let redis = cluster.redis.cli(&["INFO", "everything"])?;
        let of = |name: &str| -> anyhow::Result<u64> {
            let line = redis.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(line.with_context(|| name.to_owned())?.trim().parse()?)
        };
        let pid =
            |process: &belay_servers::Process| process.pid().as_raw_nonzero().get().cast_unsigned();
        let brokers: Vec<_> = cluster.brokers.iter().map(|broker| pid(broker.process())).collect();
        let relays = cluster.relay_pids();
        let (mut in_msgs, mut out_msgs) = (0, 0);
        for broker in &cluster.brokers {
            let told: Value = serde_json::from_str(&broker.monitor("/connz?limit=1024")?)?;
            let connections = told["connections"].as_array().context("connections")?;
            let sum = |name: &str| connections.iter().filter_map(|c| c[name].as_u64()).sum::<u64>();
            in_msgs += sum("in_msgs");
            out_msgs += sum("out_msgs");
        }
        Ok(Self {
            at: Instant::now(),
            relays_us: cpu_us(&relays)?,
            redis_us: cpu_us(&[pid(cluster.redis.process())])?,
            brokers_us: cpu_us(&brokers)?,
            clients_us: cpu_us(clients)?,
            commands: of("total_commands_processed")?,
            keys: of("keyspace_hits")? + of("keyspace_misses")?,
            in_msgs,
            out_msgs,
            relay_memory: resident(&relays)?,
            redis_memory: of("used_memory")?,
            broker_memory: resident(&brokers)?,
        })
    }
}

/// What was used between two looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    pub(crate) relays_us: u64,
    pub(crate) redis_us: u64,
    pub(crate) brokers_us: u64,
    pub(crate) clients_us: u64,
    pub(crate) commands: u64,
    pub(crate) keys: u64,
    pub(crate) in_msgs: u64,
    pub(crate) out_msgs: u64,
}

impl Sub for Usage {
    type Output = Used;

    fn sub(self, before: Self) -> Used {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        Used {
            seconds: (self.at - before.at).as_secs_f64(),
            relays_us: less(self.relays_us, before.relays_us),
            redis_us: less(self.redis_us, before.redis_us),
            brokers_us: less(self.brokers_us, before.brokers_us),
            clients_us: less(self.clients_us, before.clients_us),
            commands: less(self.commands, before.commands),
            keys: less(self.keys, before.keys),
            in_msgs: less(self.in_msgs, before.in_msgs),
            out_msgs: less(self.out_msgs, before.out_msgs),
        }
    }
}

impl Used {
    /// So much of a number in a minute.
    pub(crate) fn per_minute(&self, number: u64) -> f64 {
        ratio(number, 1) * 60.0 / self.seconds
    }

    /// Percent of one core.
    fn percent(&self, micros: u64) -> f64 {
        round(ratio(micros, 10_000) / self.seconds)
    }

    /// All of it by the second or minute, for people.
    pub(crate) fn told(&self) -> Value {
        json!({
            "seconds": round(self.seconds),
            "relays_cpu_percent": self.percent(self.relays_us),
            "redis_cpu_percent": self.percent(self.redis_us),
            "brokers_cpu_percent": self.percent(self.brokers_us),
            "clients_cpu_percent": self.percent(self.clients_us),
            "redis_commands_per_minute": round(self.per_minute(self.commands)),
            "redis_keys_per_minute": round(self.per_minute(self.keys)),
            "bus_in_per_minute": round(self.per_minute(self.in_msgs)),
            "bus_out_per_minute": round(self.per_minute(self.out_msgs)),
        })
    }
}

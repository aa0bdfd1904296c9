//! Redis, NATS and relays, each a process, all on this machine.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use belay_adapters::{RedisOptions, RedisStore};
use belay_core::ports::SessionStore;
use belay_servers::{Nats, NatsCluster, NatsOptions, Redis, free_port};
use belay_wire::PublicKey;
use futures_util::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    plan::Plan,
    world::{STORE_KEY, TOKEN_KEYS, World},
};

/// How long a relay may take until it serves: streams with replicas need a leader.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// Sessions that are written at once.
const SAVES_AT_ONCE: usize = 64;

/// What is told of the relays' words: so many texts, cut to so many characters.
const COMPLAINTS: usize = 12;
const COMPLAINT_CHARS: usize = 120;

/// A relay that serves.
struct Relay {
    address: SocketAddr,
    pid: u32,
    _child: Child,
}

/// All servers; they end with this value.
pub(crate) struct Cluster {
    // Relays end before what they use.
    relays: Vec<Relay>,
    pub(crate) redis: Redis,
    pub(crate) brokers: Vec<Nats>,
    folder: TempDir,
}

impl Cluster {
    /// Starts Redis and NATS; relays come later.
    pub(crate) fn servers(plan: &Plan) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let redis = Redis::start(&folder.path().join("redis"), &[])?;
        let (nats, options) = (folder.path().join("nats"), NatsOptions::default());
        let brokers = if plan.replicas > 1 {
            let cluster = NatsCluster::start(&nats, &options)?;
            cluster.until_led()?;
            cluster.servers
        } else {
            vec![Nats::start(&nats, &options)?]
        };
        Ok(Self { relays: Vec::new(), redis, brokers, folder })
    }

    /// Writes sessions as pairing leaves them.
    pub(crate) async fn write(
        &self,
        world: &World,
        pairs: u64,
        key: PublicKey,
    ) -> anyhow::Result<()> {
        let options = RedisOptions::new(self.redis.url(), "belay");
        let (store, _) = RedisStore::connect(options).await?;
        let saves = stream::iter(0..pairs).map(|pair| store.save(world.record(pair, key)));
        let saved = saves.buffer_unordered(SAVES_AT_ONCE).try_for_each(|()| async { Ok(()) });
        Ok(saved.await?)
    }

    pub(crate) async fn start_relays(&mut self, plan: &Plan) -> anyhow::Result<()> {
        for n in 0..plan.relays {
            let relay = self.start_relay(plan, n).await.with_context(|| format!("relay {n}"))?;
            self.relays.push(relay);
        }
        Ok(())
    }

    async fn start_relay(&self, plan: &Plan, n: u64) -> anyhow::Result<Relay> {
        let (name, folder) = (format!("relay{n}"), self.folder.path().join(format!("relay{n}")));
        std::fs::create_dir_all(&folder)?;
        let log = folder.join("relay.log");
        let brokers = self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port));
        let brokers = brokers.collect::<Vec<_>>().join(",");
        let mut command = Command::new(&plan.binary);
        command
            .args(["serve", "--exit-with-stdin", "--port=0"])
            .arg(format!("--admin-listen=127.0.0.1:{}", free_port()?))
            .arg(format!("--instance={name}"))
            .arg(format!("--data-dir={}", folder.display()))
            .arg(format!("--store={}", self.redis.url()))
            .arg(format!("--bus=nats://{brokers}"))
            .arg(format!("--bus-replicas={}", plan.replicas))
            .arg(format!("--catalog=sqlite:{}", self.folder.path().join("catalog.db").display()))
            .arg(format!("--token-keys={TOKEN_KEYS}"))
            .arg(format!("--store-key={STORE_KEY}"))
            .arg("--bus-secret=of a measurement, which is no secret")
            // All clients come from few addresses, as they do from behind a proxy.
            .args(["--connections-max=20000", "--unauthenticated-per-address-max=1024"])
            .arg(format!("--log-level={}", plan.log_level))
            .args(&plan.relay_args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true);
        let mut child = command.spawn().context("the relay is not started")?;
        let stdout = child.stdout.take().context("a pipe")?;
        let line = BufReader::new(stdout);
        let line = tokio::time::timeout(START_TIMEOUT, line.lines().next_line()).await;
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        let line = line.with_context(told)??.with_context(told)?;
        let port: u16 = line.trim().trim_start_matches("ready ").parse()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let pid = child.id().context("it ended")?;
        Ok(Relay { address, pid, _child: child })
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.relays.iter().map(|relay| relay.address).collect()
    }

    pub(crate) fn relay_pids(&self) -> Vec<u32> {
        self.relays.iter().map(|relay| relay.pid).collect()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What relays said, each text once with how often it was said, the most frequent first.
    pub(crate) fn complaints(&self) -> Vec<(usize, String)> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for n in 0..self.relays.len() {
            let log = self.folder.path().join(format!("relay{n}/relay.log"));
            for line in std::fs::read_to_string(log).unwrap_or_default().lines() {
                // Behind the time: level and text.
                let text = line.split_once(' ').map_or(line, |(_, text)| text.trim());
                *counts.entry(text.chars().take(COMPLAINT_CHARS).collect()).or_default() += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(text, count)| (count, text)).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts.truncate(COMPLAINTS);
        counts
    }
}

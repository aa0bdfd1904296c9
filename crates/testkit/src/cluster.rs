//! A cluster in one test: real Redis and NATS, relays in this process, and a balancer in front that sends
//! each connection to a relay at random.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use belay_relay::Config;
use belay_servers::{Nats, NatsOptions, Redis, affinity_of, by_affinity};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{Relay, config};

/// Sends each connection that it accepts to one of some addresses.
#[derive(Debug)]
pub struct Balancer {
    pub address: SocketAddr,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    heeds: Arc<Mutex<Heeds>>,
    task: JoinHandle<()>,
}

/// What a balancer makes of the hint which connections belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Heeds {
    /// Nothing.
    #[default]
    Not,
    /// Those go to one relay.
    Well,
    /// Any relay but the right one.
    Badly,
}

impl Balancer {
    /// Starts one without targets; `seed` decides who gets which connection.
    pub fn start(seed: u64) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let listener = TcpListener::from_std(listener).expect("within a runtime");
        let targets: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let heeds: Arc<Mutex<Heeds>> = Arc::default();
        let (shared, how) = (targets.clone(), heeds.clone());
        let draws = AtomicU64::new(seed);
        let task = tokio::spawn(async move {
            while let Ok((mut incoming, _)) = listener.accept().await {
                let draw = mix(draws.fetch_add(1, Ordering::Relaxed));
                let (mut order, how) = (shared.lock().clone(), *how.lock());
                let first = usize::try_from(draw >> 1).expect("64 bits") % order.len().max(1);
                order.rotate_left(first);
                tokio::spawn(async move {
                    let _ = incoming.set_nodelay(true);
                    if how != Heeds::Not
                        && let Some(key) = affinity_of(&incoming).await
                    {
                        order = heed(how, &key, order);
                    }
                    // One that is down is passed over, as a balancer with health checks does.
                    for at in order {
                        if let Ok(mut relay) = TcpStream::connect(at).await {
                            let _ = relay.set_nodelay(true);
                            let _ = copy_bidirectional(&mut incoming, &mut relay).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { address, targets, heeds, task }
    }

    /// Who gets connections from now on.
    pub fn set(&self, targets: &[SocketAddr]) {
        *self.targets.lock() = targets.to_vec();
    }

    /// What it makes of the hint from now on.
    pub fn heed(&self, heeds: Heeds) {
        *self.heeds.lock() = heeds;
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The order in which relays are tried for a key, out of one that is random.
fn heed(how: Heeds, key: &str, random: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let right = by_affinity(key, &random);
    match (how, right.first()) {
        (Heeds::Badly, Some(right)) => {
            let (wrong, right): (Vec<_>, Vec<_>) = random.iter().partition(|at| *at != right);
            [wrong, right].concat()
        }
        (Heeds::Not, _) => random,
        _ => right,
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The finalizer of `SplitMix64`.
fn mix(n: u64) -> u64 {
    let z = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Relays that share Redis and NATS.
#[derive(Debug)]
pub struct Cluster {
    pub relays: Vec<Relay>,
    pub balancer: Balancer,
    pub redis: Redis,
    pub nats: Nats,
    pub folder: TempDir,
    /// Settings that are not about sharing.
    base: Config,
}

impl Cluster {
    /// Starts servers and `count` relays.
    pub async fn start(count: usize) -> Self {
        Self::start_of(count, config()).await
    }

    /// The same, of relays with these settings.
    pub async fn start_of(count: usize, base: Config) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let redis = Redis::start(&folder.path().join("redis"), &[]).expect("redis");
        let nats = folder.path().join("nats");
        let nats = Nats::start(&nats, &NatsOptions::default()).expect("nats");
        let balancer = Balancer::start(1);
        let mut cluster = Self { relays: Vec::new(), balancer, redis, nats, folder, base };
        for n in 0..count {
            let config = cluster.config(n);
            cluster.relays.push(Relay::start_alone(config).await);
        }
        let targets: Vec<_> = cluster.relays.iter().map(Relay::address).collect();
        cluster.balancer.set(&targets);
        cluster
    }

    /// The settings of the `n`-th relay.
    pub fn config(&self, n: usize) -> Config {
        let data_dir = self.folder.path().join(format!("relay{n}"));
        let config = Config { instance: format!("relay{n}"), ..self.base.clone() };
        shared_config(config, &data_dir, &self.redis.url(), &self.nats.url(), &self.balancer.url())
    }

    /// The address of each.
    pub fn urls(&self) -> Vec<String> {
        self.relays.iter().map(|relay| relay.url.clone()).collect()
    }

    /// All of them, as one address.
    pub fn any(&self) -> Relay {
        Relay::at(&self.balancer.url())
    }
}

/// Settings of a relay that shares these servers; browsers and clients see it at `public`.
pub fn shared_config(
    config: Config,
    data_dir: &Path,
    redis: &str,
    nats: &str,
    public: &str,
) -> Config {
    std::fs::create_dir_all(data_dir).expect("a folder");
    Config {
        store: redis.to_owned(),
        bus: config.bus.or(Some(nats.to_owned())),
        bus_secret: Some(belay_wire::Secret::new("a secret of a test that is long enough")),
        token_keys: Some(format!("1:{}", "11".repeat(32))),
        store_key: Some(format!("1:{}", "22".repeat(32))),
        catalog: Some(format!("sqlite:{}", data_dir.with_file_name("catalog.db").display())),
        data_dir: data_dir.to_owned(),
        public_urls: vec![public.to_owned()],
        ..config
    }
}

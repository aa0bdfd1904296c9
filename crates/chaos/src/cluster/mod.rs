//! The cluster under faults: three relays as processes, three brokers, Redis with a replica and Sentinels,
//! and parties that come in through a balancer.

mod admin;
mod build;
mod fault;
mod node;
pub mod same;
mod servers;
mod side;
mod trouble;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use belay_servers::{NatsCluster, NatsOptions, RedisGroup};
use belay_testkit::Relay as Url;

pub use self::{admin::Admin, fault::Kind, node::Node, same::Expected, side::Device};
use self::{
    build::{Binaries, Build, Sum},
    node::Common,
    side::Side,
};
use crate::{
    fleet::{self, Party},
    proxy::{Proxy, Way},
    rng::Rng,
};

/// Relays of the cluster.
pub const NODES: usize = 3;

/// Everything that a fault may touch.
#[derive(Debug)]
pub struct World {
    pub folder: PathBuf,
    pub nodes: Vec<Node>,
    pub parties: Vec<Party>,
    redis: RedisGroup,
    nats: NatsCluster,
    /// Sessions besides that of the parties: devices are paired and revoked in them.
    sides: Vec<Side>,
    /// By which these come in.
    balancer: Proxy,
    /// The port of the relay that sent something to a party last.
    answered: Arc<AtomicU16>,
    /// The same for the sessions besides.
    answered_side: Arc<AtomicU16>,
    /// What was found while faults were on, in words.
    pub breaches: Vec<String>,
    /// How long nodes needed to give one answer after a change, in milliseconds.
    pub agreed_ms: Vec<u64>,
    /// How long after the answer a revoked device was still connected, in milliseconds.
    pub revoked_ms: Vec<u64>,
}

impl World {
    /// Starts all of it in a folder; the parties do not run yet. `party` is their program, beside which the
    /// relay's is. `seed` decides which connection goes to which relay. With the binary of a `previous` build
    /// relays run both.
    ///
    /// # Errors
    /// When a server is not installed, or something does not start.
    pub async fn start(
        folder: &Path,
        party: &Path,
        seed: u64,
        per_second: u64,
        previous: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let mut rng = Rng(seed);
        let redis = RedisGroup::start(&folder.join("redis"))?;
        let nats = NatsCluster::start(&folder.join("nats"), &NatsOptions::default())?;
        let answered = Arc::<AtomicU16>::default();
        let mut proxies = Vec::new();
        for _ in fleet::NAMES {
            let (answered, seed) = (answered.clone(), rng.draw());
            proxies.push(Proxy::balance(&[], Way { seed, answered, ..Way::default() }).await?);
        }
        let answered_side = Arc::<AtomicU16>::default();
        let way = Way { seed: rng.draw(), answered: answered_side.clone(), ..Way::default() };
        let balancer = Proxy::balance(&[], way).await?;
        let public = proxies.iter().chain([&balancer]).map(|p| format!("http://{}", p.address));
        let common = Common {
            binaries: Binaries { this: party.with_file_name("belay"), previous },
            folder: folder.to_owned(),
            public: public.collect(),
            catalog: folder.join("catalog.db"),
        };
        let mut nodes = Vec::new();
        for n in 1..=NODES {
            let mut node = Node::new(n, &common, &redis, &nats).await?;
            node.start().with_context(|| format!("{} at first", node.name))?;
            nodes.push(node);
        }
        let mut world = Self {
            folder: folder.to_owned(),
            nodes,
            parties: Vec::new(),
            redis,
            nats,
            sides: Vec::new(),
            balancer,
            answered,
            answered_side,
            breaches: Vec::new(),
            agreed_ms: Vec::new(),
            revoked_ms: Vec::new(),
        };
        world.balancer.set_targets(&world.up());
        let (there, beside) = (Url::at(&world.url()), folder.join("relay"));
        world.parties = fleet::enrol(&there, party, &beside, proxies, per_second).await?;
        world.route();
        world.sides.push(Side::start(&world.url(), &folder.join("side0")).await?);
        Ok(world)
    }

    /// The relays as one address.
    fn url(&self) -> String {
        format!("http://{}", self.balancer.address)
    }

    fn up(&self) -> Vec<SocketAddr> {
        self.nodes.iter().filter_map(Node::address).collect()
    }

    /// The balancers know who is up.
    fn route(&self) {
        let up = self.up();
        self.balancer.set_targets(&up);
        self.parties.iter().for_each(|party| party.proxy.set_targets(&up));
    }

    /// The node that answered last by this account, if it is up; else the first that is.
    fn node_on(&self, answered: &AtomicU16) -> usize {
        let port = answered.load(Ordering::Relaxed);
        let is_it = |node: &Node| node.address().is_some_and(|at| at.port() == port);
        let last = self.nodes.iter().position(is_it);
        last.or_else(|| self.nodes.iter().position(|node| node.address().is_some())).unwrap_or(0)
    }

    /// No relay may end by itself.
    ///
    /// # Errors
    /// When one has.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            ensure!(!node.has_ended()?, "{} ended by itself", node.name);
        }
        Ok(())
    }

    /// Notes what all relays tell of the lives that they have now. What is not noted when a life ends is not
    /// known of it.
    ///
    /// # Errors
    /// When one does not answer; the others are noted.
    pub async fn look(&mut self) -> anyhow::Result<()> {
        let mut failed = Ok(());
        for node in &mut self.nodes {
            let looked = node.look().await;
            failed = failed.and(looked.with_context(|| format!("{} tells nothing", node.name)));
        }
        failed
    }

    /// Tells whether all nodes run one build, or will with their next start.
    fn is_of_one_build(&self) -> bool {
        self.nodes.windows(2).all(|pair| pair[0].build == pair[1].build)
    }

    fn sums(&self) -> Vec<Sum> {
        let lives: Vec<_> = self.nodes.iter().flat_map(|node| &node.lives).collect();
        let with_previous = self.nodes.iter().any(Node::has_previous);
        let builds: &[_] =
            if with_previous { &[Build::This, Build::Previous] } else { &[Build::This] };
        builds.iter().map(|build| Sum::of(*build, &lives)).collect()
    }

    /// What each build did in this run.
    pub fn builds(&self) -> Vec<serde_json::Value> {
        self.sums().iter().map(Sum::json).collect()
    }

    /// Builds that took no part in the run, or could not read what others wrote; in words.
    pub fn build_breaches(&self) -> Vec<String> {
        build::breaches(&self.sums())
    }

    /// All nodes give the same answer about all sessions of the run, and it is the right one.
    ///
    /// # Errors
    /// When they do not within `bound`, with the differences.
    pub async fn until_same(&self, bound: Duration) -> Result<Duration, same::Differences> {
        same::until(&self.nodes, &self.expected(), bound).await
    }

    /// What nodes should say of each session: its devices, all of them connected.
    pub fn expected(&self) -> Vec<Expected> {
        let mut all: Vec<_> = self.sides.iter().map(Side::expected).collect();
        if let Some(party) = self.parties.first() {
            let devices = self.parties.iter().filter_map(|party| party.member).collect();
            let (session, without) = (party.session, Vec::new());
            all.push(Expected { session, devices, without, settled: true, exact: true });
        }
        all
    }

    /// How long each node takes to list all sessions, in milliseconds; the most of them.
    ///
    /// # Errors
    /// When one does not answer.
    pub async fn listing_ms(&self) -> anyhow::Result<u64> {
        let mut most = 0;
        for node in &self.nodes {
            let started = Instant::now();
            node.admin()?.sessions().await?;
            most = most.max(u64::try_from(started.elapsed().as_millis())?);
        }
        Ok(most)
    }

    /// Devices that got in, or got something, later than a second after they were revoked; in words.
    pub fn came_back(&self) -> Vec<String> {
        self.sides.iter().flat_map(|side| &side.devices).filter_map(Device::came_back).collect()
    }

    /// How many devices were revoked.
    pub fn revoked(&self) -> usize {
        let all = self.sides.iter().flat_map(|side| &side.devices);
        all.filter(|device| device.revoked_ms.is_some()).count()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.sides.len() + 1
    }
}

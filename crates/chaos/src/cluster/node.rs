//! One relay of the cluster, with a network of its own to each server that it needs.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use belay_servers::{NatsCluster, RedisGroup};
use rustix::process::Signal;

use super::{
    admin::Admin,
    build::{Binaries, Build, Life, Told},
};
use crate::{
    fleet::{Plan, Relay},
    proxy::{End, Mode, Proxy, Way},
};

/// How long a relay may take to end after SIGTERM: its grace is 3 seconds.
const ENDED: Duration = Duration::from_secs(15);
/// The name by which the Sentinels know the master.
const MASTER: &str = "belay";

/// What all nodes share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) binaries: Binaries,
    pub(super) folder: PathBuf,
    /// The addresses at which parties see the relays.
    pub(super) public: Vec<String>,
    /// The file of the second place of revocations.
    pub(super) catalog: PathBuf,
}

/// What a node can be cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Store,
    Bus,
}

/// How a node is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing passes, and nobody is told.
    Stall,
    /// Connections are reset, and new ones refused.
    Refuse,
    /// Everything that is sent vanishes; in the end connections are reset.
    Vanish,
}

/// One relay.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    plan: Plan,
    relay: Option<Relay>,
    binaries: Binaries,
    /// What it runs, or will with its next start.
    pub(super) build: Build,
    /// The lives that it had so far, the last one perhaps still going on.
    pub(super) lives: Vec<Life>,
    /// Between it and the Sentinels and servers of Redis.
    store: Vec<Proxy>,
    /// Between it and the brokers.
    bus: Vec<Proxy>,
}

impl Node {
    /// A node that does not run yet.
    ///
    /// # Errors
    /// When there is no free port.
    pub(super) async fn new(
        n: usize,
        common: &Common,
        redis: &RedisGroup,
        nats: &NatsCluster,
    ) -> anyhow::Result<Self> {
        let mut store = Vec::new();
        let mut rewrite = Vec::new();
        for server in &redis.servers {
            let proxy = Proxy::start(local(server.port)).await?;
            let (from, to) = (server.port.to_string(), proxy.address.port().to_string());
            ensure!(from.len() == to.len(), "ports {from} and {to} differ in length");
            rewrite.push((from, to));
            store.push(proxy);
        }
        let mut sentinels = Vec::new();
        for (port, _) in &redis.sentinels {
            // The Sentinels name the master; this node is to find it by its own way.
            let way = Way { rewrite: rewrite.clone().into(), ..Way::default() };
            let proxy = Proxy::balance(&[local(*port)], way).await?;
            sentinels.push(proxy.address.to_string());
            store.push(proxy);
        }
        let mut bus = Vec::new();
        for server in &nats.servers {
            bus.push(Proxy::start(local(server.port)).await?);
        }
        let brokers: Vec<_> = bus.iter().map(|proxy| proxy.address.to_string()).collect();
        let name = format!("relay{n}");
        let plan = plan(
            &name,
            common,
            &format!("redis+sentinel://{}/{MASTER}", sentinels.join(",")),
            &format!("nats://{}", brokers.join(",")),
        );
        let (binaries, build) = (common.binaries.clone(), common.binaries.first(n));
        Ok(Self { name, plan, relay: None, binaries, build, lives: Vec::new(), store, bus })
    }

    /// Starts it, on another port than before.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        self.plan.binary = self.binaries.of(self.build).to_owned();
        // The networks that it needs to start run on the other threads.
        self.relay = Some(tokio::task::block_in_place(|| self.plan.start())?);
        self.lives.push(Life { build: self.build, told: Told::default() });
        Ok(())
    }

    pub(super) fn has_previous(&self) -> bool {
        self.binaries.previous.is_some()
    }

    /// Its next start is one of the other build, if there is one.
    pub(super) fn change_build(&mut self) {
        if self.has_previous() {
            self.build = self.build.other();
        }
    }

    /// Notes what it tells of the life that it has now.
    ///
    /// # Errors
    /// When it is down or does not answer.
    pub(super) async fn look(&mut self) -> anyhow::Result<()> {
        let told = self.admin()?.told().await?;
        if let Some(life) = self.lives.last_mut() {
            life.told = told;
        }
        Ok(())
    }

    /// Where it listens; `None` while it is down.
    pub fn address(&self) -> Option<SocketAddr> {
        self.relay.as_ref().map(|relay| relay.address)
    }

    /// kill -9.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut relay) = self.relay.take() {
            relay.signal(Signal::KILL);
            relay.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end in time, or not in good order.
    pub(super) async fn drain(&mut self) -> anyhow::Result<()> {
        let Some(mut relay) = self.relay.take() else { return Ok(()) };
        relay.signal(Signal::TERM);
        let deadline = Instant::now() + ENDED;
        loop {
            if let Some(well) = relay.ended()? {
                ensure!(well, "{} did not end in good order", self.name);
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{} does not end after SIGTERM", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(relay) = &self.relay {
            relay.signal(signal);
        }
    }

    /// Tells whether its process ended without being told to.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<bool> {
        let ended = self.relay.as_mut().map(Relay::ended).transpose()?;
        Ok(ended.flatten().is_some())
    }

    fn proxies(&self, server: Server) -> &[Proxy] {
        match server {
            Server::Store => &self.store,
            Server::Bus => &self.bus,
        }
    }

    pub(super) fn cut(&self, server: Server, how: Cut) {
        for proxy in self.proxies(server) {
            match how {
                Cut::Stall => proxy.set(Mode::Stall),
                Cut::Vanish => proxy.set(Mode::HalfOpen),
                Cut::Refuse => {
                    proxy.set(Mode::Refuse);
                    proxy.end(End::Reset);
                }
            }
        }
    }

    pub(super) fn heal(&self, server: Server, how: Cut) {
        for proxy in self.proxies(server) {
            proxy.set(Mode::Pass);
            if how == Cut::Vanish {
                proxy.end(End::Reset);
            }
        }
    }

    /// Its admin API, as it tells where that is.
    ///
    /// # Errors
    /// When it is down.
    pub(super) fn admin(&self) -> anyhow::Result<Admin> {
        ensure!(self.relay.is_some(), "{} is down", self.name);
        let read = |name: &str| -> anyhow::Result<String> {
            let path = self.plan.folder.join(name);
            let text = std::fs::read_to_string(&path);
            Ok(text.with_context(|| path.display().to_string())?.trim().to_owned())
        };
        Admin::new(read("admin-address")?, read("admin-token")?)
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn plan(name: &str, common: &Common, store: &str, bus: &str) -> Plan {
    let key = |digits: &str| format!("1:{}", digits.repeat(32));
    let file = |path: &Path| path.display().to_string();
    Plan {
        binary: common.binaries.this.clone(),
        folder: common.folder.join(name),
        port: 0,
        public: common.public.clone(),
        args: vec![
            format!("--instance={name}"),
            format!("--store={store}"),
            format!("--bus={bus}"),
            format!("--catalog=sqlite:{}", file(&common.catalog)),
            "--bus-replicas=3".to_owned(),
            "--bus-secret=only tests know this secret of theirs".to_owned(),
            format!("--token-keys={}", key("11")),
            format!("--store-key={}", key("22")),
        ],
        env: Vec::new(),
        log: Some(common.folder.join(format!("{name}.log"))),
    }
}

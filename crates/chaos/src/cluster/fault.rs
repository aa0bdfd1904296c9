//! The faults of a cluster.

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::{
    Expected, NODES, World,
    node::{Cut, Server},
    same,
    side::Side,
    trouble::Trouble,
};
use crate::{flow, lists::unix_ms, report::Fault, rng::Rng};

/// How long after a change, and after its fault is over, nodes may need for the same answer.
const AGREE: Duration = Duration::from_secs(1);
/// How long a revoke is tried while a fault is on.
const TRIES: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// How long a new device may take to be connected and get something.
const CONNECTED: Duration = Duration::from_secs(30);

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    KillRelay,
    StopRelay,
    DrainRelay,
    Scale,
    KillBroker,
    KillLeader,
    StopBroker,
    KillAllBrokers,
    RedisRestart,
    RedisFailover,
    CutStore,
    CutBus,
    Storm,
    Revoke,
    Pair,
}

impl Kind {
    pub const ALL: [Self; 15] = [
        Self::KillRelay,
        Self::StopRelay,
        Self::DrainRelay,
        Self::Scale,
        Self::KillBroker,
        Self::KillLeader,
        Self::StopBroker,
        Self::KillAllBrokers,
        Self::RedisRestart,
        Self::RedisFailover,
        Self::CutStore,
        Self::CutBus,
        Self::Storm,
        Self::Revoke,
        Self::Pair,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::KillRelay => "kill_relay",
            Self::StopRelay => "stop_relay",
            Self::DrainRelay => "drain_relay",
            Self::Scale => "scale",
            Self::KillBroker => "kill_broker",
            Self::KillLeader => "kill_leader",
            Self::StopBroker => "stop_broker",
            Self::KillAllBrokers => "kill_all_brokers",
            Self::RedisRestart => "redis_restart",
            Self::RedisFailover => "redis_failover",
            Self::CutStore => "cut_store",
            Self::CutBus => "cut_bus",
            Self::Storm => "storm",
            Self::Revoke => "revoke",
            Self::Pair => "pair",
        }
    }
}

impl World {
    /// One fault from its beginning until it is mended; everything random comes from `rng`.
    ///
    /// # Errors
    /// When a process does what it must not, or something takes too long.
    pub async fn strike(&mut self, kind: Kind, rng: &mut Rng) -> anyhow::Result<Fault> {
        self.until_redis_is_well().await?;
        let lasts = Duration::from_millis(500 + rng.draw() % 3_500);
        let in_flight = flow::until_in_flight(&self.parties).await?;
        let node = self.node_on(&self.answered);
        let at_ms = unix_ms();
        let target = match kind {
            Kind::DrainRelay => self.roll().await?,
            Kind::Scale => self.scale(rng, lasts).await?,
            Kind::Revoke => self.revoke(rng).await?,
            Kind::Pair => self.pair(rng, node).await?,
            Kind::KillRelay
            | Kind::StopRelay
            | Kind::KillBroker
            | Kind::KillLeader
            | Kind::StopBroker
            | Kind::KillAllBrokers
            | Kind::RedisRestart
            | Kind::RedisFailover
            | Kind::CutStore
            | Kind::CutBus
            | Kind::Storm => {
                let trouble = self.trouble(kind, rng, node).await?;
                let short = matches!(kind, Kind::RedisRestart | Kind::Storm | Kind::RedisFailover);
                self.begin(&trouble)?;
                sleep(if short { lasts / 20 } else { lasts }).await;
                self.heal(&trouble).await?;
                format!("{trouble:?}")
            }
        };
        let (kind, healed_ms) = (kind.label(), unix_ms());
        Ok(Fault { kind, target, at_ms, healed_ms, in_flight, resume_ms: 0 })
    }

    async fn trouble(&self, kind: Kind, rng: &mut Rng, node: usize) -> anyhow::Result<Trouble> {
        let brokers = self.nats.servers.len();
        Ok(match kind {
            Kind::KillRelay => Trouble::KillRelay(node),
            Kind::StopRelay => Trouble::StopRelay(node),
            Kind::KillBroker => Trouble::KillBrokers(vec![rng.below(brokers)]),
            Kind::KillLeader => Trouble::KillBrokers(vec![self.leader().await?]),
            Kind::StopBroker => Trouble::StopBroker(rng.below(brokers)),
            Kind::KillAllBrokers => Trouble::KillBrokers((0..brokers).collect()),
            Kind::RedisRestart => Trouble::KillMaster(self.master()?),
            Kind::RedisFailover => Trouble::Failover(self.master()?),
            Kind::CutStore => Trouble::Cut(node, Server::Store, how(rng)),
            Kind::CutBus => Trouble::Cut(node, Server::Bus, how(rng)),
            Kind::Storm => Trouble::Storm,
            Kind::DrainRelay | Kind::Scale | Kind::Revoke | Kind::Pair => {
                bail!("{} is no single trouble", kind.label())
            }
        })
    }

    /// A rolling deploy: one relay after the other ends and starts, as the other build if there is one.
    async fn roll(&mut self) -> anyhow::Result<String> {
        for n in 0..self.nodes.len() {
            self.nodes[n].drain().await?;
            self.nodes[n].change_build();
            self.nodes[n].start()?;
            self.route();
        }
        Ok("all, one after the other".to_owned())
    }

    /// Two of three relays end; a while later they start again, as the other build if there is one.
    async fn scale(&mut self, rng: &mut Rng, lasts: Duration) -> anyhow::Result<String> {
        let stays = rng.below(NODES);
        let others = (0..self.nodes.len()).filter(|n| *n != stays);
        for n in others.clone() {
            self.nodes[n].drain().await?;
            self.route();
        }
        sleep(lasts).await;
        for n in others.clone() {
            self.nodes[n].change_build();
        }
        // Else what follows would show nothing of two builds.
        if self.is_of_one_build() {
            others.clone().take(1).for_each(|n| self.nodes[n].change_build());
        }
        for n in others {
            self.nodes[n].start()?;
            self.route();
        }
        Ok(format!("{} stayed", self.nodes[stays].name))
    }

    /// A trouble during which something is asked of the cluster.
    fn meanwhile(&self, rng: &mut Rng, node: usize) -> anyhow::Result<Trouble> {
        Ok(match rng.below(6) {
            0 => Trouble::Nothing,
            1 => Trouble::KillRelay(node),
            2 => Trouble::Cut(node, Server::Bus, how(rng)),
            3 => Trouble::Cut(node, Server::Store, how(rng)),
            4 => Trouble::KillBrokers(vec![rng.below(self.nats.servers.len())]),
            _ => Trouble::Failover(self.master()?),
        })
    }

    /// A new session gets a device while something is wrong.
    async fn pair(&mut self, rng: &mut Rng, node: usize) -> anyhow::Result<String> {
        let trouble = self.meanwhile(rng, node)?;
        self.begin(&trouble)?;
        let folder = self.folder.join(format!("side{}", self.sides.len()));
        // A device may be paired once the trouble is over.
        let pairing = tokio::spawn(paired(self.url(), folder));
        sleep(Duration::from_secs(2)).await;
        self.heal(&trouble).await?;
        let side = pairing.await??;
        self.sides.push(side);
        self.agree(self.sides.len() - 1, "paired").await;
        Ok(format!("while {trouble:?}"))
    }

    /// The device of the first side session is revoked while something is wrong.
    async fn revoke(&mut self, rng: &mut Rng) -> anyhow::Result<String> {
        self.sides[0].pair().await?;
        let device = self.sides[0].devices.len() - 1;
        let deadline = Instant::now() + CONNECTED;
        while self.sides[0].devices[device].got_last() == 0 {
            if Instant::now() > deadline {
                bail!("a device that was just paired gets nothing");
            }
            sleep(PAUSE).await;
        }
        // One that has to do with this session, host or device.
        let node = self.node_on(&self.answered_side);
        let mut trouble = self.meanwhile(rng, node)?;
        if let Trouble::Failover(master) = trouble
            && rng.below(2) == 0
        {
            trouble = Trouble::LossyFailover(master);
            self.deafen(master)?;
        }
        // A failover strikes right after the answer: what was stored last may be lost by it.
        let after = matches!(trouble, Trouble::Failover(_) | Trouble::LossyFailover(_));
        if !after {
            self.begin(&trouble)?;
            sleep(Duration::from_millis(rng.draw() % 1_000)).await;
        }
        let by = self.ask_to_revoke(rng, device, trouble.node()).await?;
        if after {
            self.begin(&trouble)?;
        }
        sleep(Duration::from_millis(1_500)).await;
        self.heal(&trouble).await?;
        self.agree(0, "revoked").await;
        Ok(format!("by {by} while {trouble:?}"))
    }

    /// Asks relays that are not struck, one after the other, until one answers that it is done.
    async fn ask_to_revoke(
        &mut self,
        rng: &mut Rng,
        device: usize,
        struck: Option<usize>,
    ) -> anyhow::Result<String> {
        let (session, id) = (self.sides[0].session, self.sides[0].devices[device].id);
        let deadline = Instant::now() + TRIES;
        loop {
            let n = rng.below(self.nodes.len());
            if Some(n) != struck {
                let error = match self.nodes[n].admin()?.revoke(session, id).await {
                    Ok(()) => {
                        self.sides[0].devices[device].revoked_ms = Some(unix_ms());
                        return Ok(self.nodes[n].name.clone());
                    }
                    Err(error) => error,
                };
                if Instant::now() > deadline {
                    bail!("not revoked: {error:#}");
                }
                sleep(PAUSE).await;
            }
        }
    }

    /// All nodes say the same of a session's devices soon, whoever is connected.
    async fn agree(&mut self, side: usize, what: &str) {
        let started = Instant::now();
        // A fault may just have ended a device's connection.
        let expected = Expected { settled: false, ..self.sides[side].expected() };
        let agreed = same::until(&self.nodes, &[expected], AGREE).await;
        match agreed {
            Ok(took) => self.agreed_ms.push(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            Err(differences) => self.breaches.push(format!(
                "nodes differ {:?} after a device was {what}: {differences}",
                started.elapsed()
            )),
        }
    }
}

fn how(rng: &mut Rng) -> Cut {
    [Cut::Stall, Cut::Refuse, Cut::Vanish][rng.below(3)]
}

/// A new session with a device.
async fn paired(url: String, folder: PathBuf) -> anyhow::Result<Side> {
    let mut side = Side::start(&url, &folder).await?;
    side.pair().await?;
    Ok(side)
}

//! One thing that goes wrong, from its beginning until it is mended.

use std::time::Duration;

use anyhow::Context;
use belay_servers::Redis;
use rustix::process::Signal;

use super::{
    World,
    node::{Cut, Server},
};
use crate::proxy::End;

/// Something that is wrong for a while. Numbers are places in the lists of nodes and brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    Nothing,
    KillRelay(usize),
    StopRelay(usize),
    Cut(usize, Server, Cut),
    KillBrokers(Vec<usize>),
    StopBroker(usize),
    /// The master of Redis ends and comes back.
    KillMaster(usize),
    /// The master of Redis ends, the replica takes over, and the former master comes back as replica.
    Failover(usize),
    /// The same, after the replica heard nothing for a while: what was stored meanwhile is lost. The number
    /// is the master's; the trouble begins once [`World::deafen`] was called.
    LossyFailover(usize),
    /// All connections of parties are reset.
    Storm,
}

impl Trouble {
    /// The node that is struck, if one is.
    pub(super) fn node(&self) -> Option<usize> {
        match self {
            Self::KillRelay(n) | Self::StopRelay(n) | Self::Cut(n, ..) => Some(*n),
            Self::Nothing
            | Self::KillBrokers(_)
            | Self::StopBroker(_)
            | Self::KillMaster(_)
            | Self::Failover(_)
            | Self::LossyFailover(_)
            | Self::Storm => None,
        }
    }
}

impl World {
    /// Servers of Redis but one.
    fn replicas_of(&self, master: usize) -> impl Iterator<Item = &Redis> {
        let servers = self.redis.servers.iter().enumerate();
        servers.filter(move |(n, _)| *n != master).map(|(_, server)| server)
    }

    /// From now on replicas hear nothing of what this master stores.
    pub(super) fn deafen(&self, master: usize) -> anyhow::Result<()> {
        self.replicas_of(master).for_each(|replica| replica.process().signal(Signal::STOP));
        // What is sent to one that is stopped would wait in its socket, and be read in the end.
        self.redis.servers[master].cli(&["CLIENT", "KILL", "TYPE", "replica"])?;
        Ok(())
    }

    pub(super) fn begin(&mut self, trouble: &Trouble) -> anyhow::Result<()> {
        match trouble {
            Trouble::Nothing => {}
            Trouble::KillRelay(n) => {
                self.nodes[*n].kill()?;
                self.route();
            }
            Trouble::StopRelay(n) => self.nodes[*n].signal(Signal::STOP),
            Trouble::Cut(n, server, how) => self.nodes[*n].cut(*server, *how),
            Trouble::KillBrokers(some) => {
                for n in some {
                    self.nats.servers[*n].process().kill();
                }
            }
            Trouble::StopBroker(n) => self.nats.servers[*n].process().signal(Signal::STOP),
            Trouble::KillMaster(n) | Trouble::Failover(n) => {
                self.redis.servers[*n].process().kill();
            }
            Trouble::LossyFailover(n) => {
                self.redis.servers[*n].process().kill();
                self.replicas_of(*n).for_each(|replica| replica.process().signal(Signal::CONT));
            }
            Trouble::Storm => self.parties.iter().for_each(|party| party.proxy.end(End::Reset)),
        }
        Ok(())
    }

    pub(super) async fn heal(&mut self, trouble: &Trouble) -> anyhow::Result<()> {
        match trouble {
            Trouble::Nothing | Trouble::Storm => {}
            Trouble::KillRelay(n) => {
                self.nodes[*n].start().context("after kill -9")?;
                self.route();
            }
            Trouble::StopRelay(n) => self.nodes[*n].signal(Signal::CONT),
            Trouble::Cut(n, server, how) => self.nodes[*n].heal(*server, *how),
            Trouble::KillBrokers(some) => {
                // Together: one alone may wait for the others.
                for n in some {
                    let server = &mut self.nats.servers[*n];
                    tokio::task::block_in_place(|| server.restart())?;
                }
            }
            Trouble::StopBroker(n) => self.nats.servers[*n].process().signal(Signal::CONT),
            Trouble::KillMaster(n) => {
                let server = &mut self.redis.servers[*n];
                tokio::task::block_in_place(|| server.restart())?;
            }
            Trouble::Failover(n) | Trouble::LossyFailover(n) => {
                self.until_other_master(*n).await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
                let server = &mut self.redis.servers[*n];
                tokio::task::block_in_place(|| server.restart())?;
            }
        }
        Ok(())
    }
}

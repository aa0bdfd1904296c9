//! How often an address or a desktop may call.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use belay_core::{
    Gcra, Input,
    session::{Allowance, Spent},
};
use belay_wire::SessionId;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::Node;
use crate::registry::Handle;

/// Addresses whose pairing rate is remembered; beyond it the idle ones are forgotten first.
const RATE_BUCKETS_MAX: usize = 65_536;

/// Calls that share an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RateClass {
    Pairing,
    /// What a desktop does with a session that runs.
    Management,
}

impl RateClass {
    /// How it is called where nodes share it.
    const fn name(self) -> &'static str {
        match self {
            Self::Pairing => "pairing",
            Self::Management => "management",
        }
    }
}

/// Whose allowance a call is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// The first part of an address.
    Address(IpAddr),
    /// The desktop of a session.
    Session(SessionId),
}

impl Node {
    /// Addresses and classes whose allowance is remembered.
    pub(crate) fn rates_kept(&self) -> usize {
        self.rates.lock().len()
    }

    /// Takes one call of a class from an address's allowance.
    pub(crate) async fn take_rate(
        &self,
        class: RateClass,
        address: IpAddr,
    ) -> Result<(), Duration> {
        self.take(class, Caller::Address(prefix(address))).await
    }

    /// Takes one call from the allowance of a desktop that has shown whose it is.
    pub(crate) async fn take_rate_of(
        &self,
        class: RateClass,
        session: SessionId,
    ) -> Result<(), Duration> {
        self.take(class, Caller::Session(session)).await
    }

    /// Notes what a session's devices took of their allowances, and learns what they took elsewhere.
    pub(super) fn spend(self: &Arc<Self>, handle: &Arc<Handle>, spent: Vec<Spent>) {
        if self.cluster.is_none() {
            return;
        }
        let (node, handle) = (self.clone(), handle.clone());
        self.tasks.spawn(async move {
            join_all(spent.into_iter().map(|spent| node.spend_one(&handle, spent))).await;
        });
    }

    async fn spend_one(self: &Arc<Self>, handle: &Arc<Handle>, spent: Spent) {
        let Some(cluster) = &self.cluster else { return };
        let Spent { allowance, count, per_minute } = spent;
        let key = match allowance {
            Allowance::Commands(member) => format!("commands:{}:{member}", handle.id),
            Allowance::Snapshots(member) => format!("snapshots:{}:{member}", handle.id),
            Allowance::Session => format!("commands:{}", handle.id),
        };
        let every = Duration::from_mins(1) / per_minute.max(1);
        let noting = cluster.shared.limits.spend(key, count, every, per_minute);
        // While it cannot be noted, each node counts for itself.
        if let Ok(ahead) = self.observe(noting).await {
            self.drive(handle, Input::Spent { allowance, ahead }).await;
        }
    }

    /// All nodes share the allowances; while they cannot, each has its own.
    async fn take(&self, class: RateClass, caller: Caller) -> Result<(), Duration> {
        let (burst, interval) =
            (self.config.pair_per_minute, Duration::from_mins(1) / self.config.pair_per_minute);
        if let Some(cluster) = &self.cluster {
            let key = match caller {
                Caller::Address(address) => format!("{}:{address}", class.name()),
                Caller::Session(session) => format!("{}:{session}", class.name()),
            };
            let taking = cluster.shared.limits.take(key, 1, interval, burst);
            if let Ok(taken) = self.observe(taking).await {
                return taken;
            }
        }
        let now = Instant::now().into_std();
        let mut rates = self.rates.lock();
        if rates.len() >= RATE_BUCKETS_MAX {
            rates.retain(|_, bucket| !bucket.is_idle(now));
        }
        let bucket = || Gcra::every(interval, burst);
        rates.entry((class, caller)).or_insert_with(bucket).take(now)
    }
}

/// What limits count by: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

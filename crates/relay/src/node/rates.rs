//! How often an address or a desktop may call.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use belay_core::Gcra;
use belay_wire::SessionId;
use tokio::time::Instant;

use super::Node;

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

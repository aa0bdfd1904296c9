//! What the parties of one process share: their orders, and what is counted of them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use belay_client::Identity;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::{party::Party, spread::Spread, world::World};

/// Parties that connect at once when the crowd comes for the first time; after a cut all of them do.
const FIRST_AT_ONCE: usize = 24;
/// Reasons of failures that are told apart.
const REASONS_MAX: usize = 32;

/// Which parties a process has, and where they go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) process: u8,
    pub(crate) relays: Vec<SocketAddr>,
    /// The first pair of this process, and how many.
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// File of the key that all of them have.
    pub(crate) identity: std::path::PathBuf,
    /// Unix milliseconds.
    pub(crate) paired_at: u64,
}

/// What all parties are to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    /// Grows with each cut.
    pub(crate) cut: u64,
    /// Time between two messages of a pair; `None`: silence.
    pub(crate) every: Option<Duration>,
    /// So many of a hundred pairs speak.
    pub(crate) share: u64,
}

/// What is counted of a process since it started.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) connected: u64,
    pub(crate) sent: u64,
    /// Not sent: too much waited.
    pub(crate) unsent: u64,
    pub(crate) received: u64,
    /// Messages that were given up.
    pub(crate) lost: u64,
    /// Sockets that ended although nobody cut them.
    pub(crate) dropped: u64,
    /// Attempts and frames that failed, and ends, by reason.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Times of messages between parties at one relay, and at two.
    pub(crate) near: Spread,
    pub(crate) apart: Spread,
}

impl Count {
    pub(crate) fn add(&mut self, other: &Self) {
        self.connected += other.connected;
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.received += other.received;
        self.lost += other.lost;
        self.dropped += other.dropped;
        for (reason, count) in &other.failures {
            *self.failures.entry(reason.clone()).or_default() += count;
        }
        self.near.add(&other.near);
        self.apart.add(&other.apart);
    }
}

/// The parties of one process.
pub(crate) struct Crowd {
    pub(crate) process: u8,
    pub(crate) world: World,
    pub(crate) identity: Identity,
    pub(crate) first: Arc<Semaphore>,
    pub(crate) connected: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) unsent: AtomicU64,
    relays: Vec<SocketAddr>,
    orders: watch::Sender<Orders>,
    rest: Mutex<Count>,
}

impl Crowd {
    pub(crate) fn start(setup: &Setup) -> anyhow::Result<Arc<Self>> {
        let crowd = Arc::new(Self {
            process: setup.process,
            world: World::new(setup.paired_at)?,
            identity: Identity::open(&setup.identity)?,
            first: Arc::new(Semaphore::new(FIRST_AT_ONCE)),
            connected: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            relays: setup.relays.clone(),
            orders: watch::channel(Orders::default()).0,
            rest: Mutex::default(),
        });
        for pair in setup.first..setup.first + setup.count {
            for is_host in [true, false] {
                tokio::spawn(Party::new(crowd.clone(), pair, is_host).live());
            }
        }
        Ok(crowd)
    }

    /// The relay of one end, and whether the other end has another: that is so for every second pair.
    pub(crate) fn place(&self, pair: u64, is_host: bool) -> (SocketAddr, bool) {
        let (count, apart) = (self.relays.len(), pair % 2 == 1 && self.relays.len() > 1);
        let host = usize::try_from(pair / 2).unwrap_or(0) % count;
        let at = if is_host || !apart { host } else { (host + 1) % count };
        (self.relays[at], apart)
    }

    pub(crate) fn orders(&self) -> watch::Receiver<Orders> {
        self.orders.subscribe()
    }

    pub(crate) fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(change);
    }

    pub(crate) fn note(&self, micros: u64, apart: bool) {
        let mut rest = self.rest.lock();
        rest.received += 1;
        if apart { rest.apart.note(micros) } else { rest.near.note(micros) }
    }

    pub(crate) fn count_lost(&self, messages: usize) {
        self.rest.lock().lost += u64::try_from(messages).unwrap_or(0);
    }

    pub(crate) fn count_drop(&self, why: String) {
        self.rest.lock().dropped += 1;
        self.count_failure(why);
    }

    pub(crate) fn count_failure(&self, reason: String) {
        let failures = &mut self.rest.lock().failures;
        let known = failures.contains_key(&reason) || failures.len() < REASONS_MAX;
        *failures.entry(if known { reason } else { "other".to_owned() }).or_default() += 1;
    }

    pub(crate) fn counted(&self) -> Count {
        let now = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Count {
            connected: now(&self.connected),
            sent: now(&self.sent),
            unsent: now(&self.unsent),
            ..self.rest.lock().clone()
        }
    }
}

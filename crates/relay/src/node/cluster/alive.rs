//! Who lives, and what time it is where all nodes ask.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use belay_adapters::Shared;
use belay_core::ports::{Alive, Seat};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::{
    broker::Broker, circuit::Circuit, drains::Drains, renew::Elsewhere, strangers::Strangers,
    unix_ms,
};

/// Answers with the time after which an older one that came faster does not count any more.
const TIMES: u32 = 60;
/// Lives of dead nodes that are remembered.
const GONE_MAX: usize = 1_024;

/// How the node of a life is called: a life is a name and a number.
pub(super) fn name_of(life: &str) -> &str {
    life.rsplit_once('-').map_or(life, |(name, _)| name)
}

/// The part of a node that knows the others.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) shared: Shared,
    pub(crate) circuit: Circuit,
    pub(crate) broker: Broker,
    /// Fingerprints of the keys of this node ([`belay_core::fingerprint`]).
    pub(super) keys: Vec<String>,
    pub(super) strangers: Mutex<Strangers>,
    pub(super) drains: Mutex<Drains>,
    /// Sessions were told that the store is away.
    pub(super) store_away: AtomicBool,
    /// Lives of nodes whose lease runs; `None`: it is not known.
    pub(super) alive: RwLock<Option<HashSet<String>>>,
    pub(super) stored_elsewhere: RwLock<Elsewhere>,
    /// Who lives changed, and the sessions were not told.
    pub(super) moved: AtomicBool,
    /// Lives that were not among them when they were looked for.
    gone: RwLock<HashSet<String>>,
    /// Store time less the clock of this machine, in milliseconds.
    pub(crate) skew_ms: AtomicI64,
    /// How long the answer took that this is from, and how many were asked for since.
    best: Mutex<(Duration, u32)>,
    /// An event found no place: all logs are to be compared.
    pub(super) overrun: AtomicBool,
}

impl Cluster {
    pub(in crate::node) fn new(shared: Shared, keys: Vec<String>) -> Self {
        let (skew_ms, overrun) = (AtomicI64::new(0), AtomicBool::new(false));
        let (alive, gone) = (RwLock::default(), RwLock::default());
        let moved = AtomicBool::new(false);
        let (circuit, store_away) = (Circuit::default(), AtomicBool::new(false));
        let stored_elsewhere = RwLock::default();
        let best = Mutex::new((Duration::MAX, 0));
        Self {
            shared,
            circuit,
            broker: Broker::default(),
            keys,
            strangers: Mutex::default(),
            drains: Mutex::default(),
            store_away,
            alive,
            stored_elsewhere,
            moved,
            gone,
            skew_ms,
            best,
            overrun,
        }
    }

    /// Tells whether a node lives, or nobody can know.
    pub(super) fn may_live(&self, life: &String) -> bool {
        self.alive.read().as_ref().is_none_or(|alive| alive.contains(life))
    }

    /// A seat at another node counts while that lives.
    pub(super) fn counts(&self, seat: &Seat) -> bool {
        seat.node != self.shared.life && self.may_live(&seat.node)
    }

    /// Lives of nodes that are alive now, if that is known.
    pub(crate) fn nodes(&self) -> Option<Vec<String>> {
        let mut nodes: Vec<_> = self.alive.read().as_ref()?.iter().cloned().collect();
        nodes.sort_unstable();
        Some(nodes)
    }

    /// What is wrong with how others of them were set up.
    pub(crate) fn strangers(&self) -> Vec<String> {
        let (strangers, now) = (self.strangers.lock(), Instant::now());
        let mut faults = strangers.faults(now);
        // Who hears nobody cannot tell.
        if self.broker.is_well() {
            faults.extend(strangers.unheard(now));
        }
        faults
    }

    /// The names of these.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |life: &String| name_of(life).to_owned();
        let mut names: Vec<_> = self.nodes().iter().flatten().map(name).collect();
        names.dedup();
        names
    }

    /// A seat at a node that nobody has heard of: it may have started a moment ago.
    pub(super) fn is_news(&self, seat: &Seat) -> bool {
        !self.may_live(&seat.node) && !self.gone.read().contains(&seat.node)
    }

    /// Takes who lives.
    pub(super) fn learn(&self, alive: Alive, took: Duration) {
        self.learn_time(alive.now_ms, took);
        let alive: HashSet<_> = alive.nodes.into_iter().collect();
        self.gone.write().retain(|life| !alive.contains(life));
        if self.alive.read().as_ref() != Some(&alive) {
            let others = alive.iter().filter(|life| **life != self.shared.life);
            self.strangers.lock().learn(others, Instant::now());
            *self.alive.write() = Some(alive);
            self.moved.store(true, Ordering::Release);
        }
    }

    /// Of the times that were asked for lately, the one that was answered fastest is the best.
    fn learn_time(&self, now_ms: u64, took: Duration) {
        let mut best = self.best.lock();
        best.1 += 1;
        if took > best.0 && best.1 < TIMES {
            return;
        }
        *best = (took, 0);
        // The reply left the store about half of the time ago.
        let age = u64::try_from(took.as_millis() / 2).unwrap_or(0);
        let skew = i128::from(now_ms + age) - i128::from(unix_ms());
        self.skew_ms.store(i64::try_from(skew).unwrap_or(0), Ordering::Relaxed);
    }

    /// These seats' nodes are not alive.
    pub(super) fn note_gone(&self, seats: &[Seat]) {
        let mut gone = self.gone.write();
        if gone.len() >= GONE_MAX {
            gone.clear();
        }
        let dead = seats.iter().map(|seat| &seat.node).filter(|life| !self.may_live(life));
        gone.extend(dead.cloned());
    }
}

//! Draining: a node that is to go away takes nothing new, tells each client when to leave, and closes who
//! stayed once the time is over.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use crate::{
    entropy,
    node::{Cluster, Node, unix_ms},
};

/// Longest time that clients get, in seconds.
pub(crate) const WINDOW_SECS_MAX: u64 = 3_600;
/// After the deadline the rest is closed spread over this time.
const PACED: Duration = Duration::from_secs(4);

/// What the connections of a node are told.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) reason: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) deadline: Instant,
    /// Unix milliseconds.
    pub(crate) deadline_ms: u64,
    window: Duration,
    by: &'static str,
    /// Unix milliseconds.
    started_at: u64,
    sockets_initial: i64,
}

impl Order {
    /// When one client is to leave: a time of its own in the first half of the window.
    pub(crate) fn slot(&self) -> Duration {
        let half = u64::try_from(self.window.as_millis() / 2).unwrap_or(u64::MAX);
        Duration::from_millis(entropy::below(half.max(1)))
    }

    /// When one that stayed is closed.
    pub(crate) fn end(&self) -> Instant {
        let paced = u64::try_from(PACED.as_millis()).unwrap_or(0);
        self.deadline + Duration::from_millis(entropy::below(paced))
    }
}

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Active,
    Draining,
    /// Nobody is connected any more.
    Drained,
}

/// What an operator sees.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// The same for as long as it lasts.
    pub(crate) id: Option<String>,
    /// Unix milliseconds.
    pub(crate) started_at: Option<u64>,
    pub(crate) by: Option<&'static str>,
    pub(crate) reason: Option<String>,
    /// Unix milliseconds.
    pub(crate) deadline: Option<u64>,
    pub(crate) remaining_s: Option<u64>,
    pub(crate) sockets_initial: i64,
    pub(crate) sockets_now: i64,
    pub(crate) migrated: i64,
    pub(crate) forced: u64,
    pub(crate) blocked_upgrades: u64,
    /// How the last drain stood, also of a process before this one; absent while one runs.
    pub(crate) last: Option<Value>,
}

/// Whether a node drains, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    orders: watch::Sender<Option<Order>>,
    /// The last one, and where it is kept over restarts.
    last: Mutex<Option<Value>>,
    path: Option<PathBuf>,
    called_off: Mutex<Option<CalledOff>>,
    forced: AtomicU64,
    blocked: AtomicU64,
}

/// A drain that ended before its time. In Unix milliseconds.
#[derive(Debug)]
struct CalledOff {
    reason: String,
    at: u64,
    deadline: u64,
}

impl Drain {
    /// A node that does not drain, and remembers in a folder how the last drain stood.
    pub(crate) fn remembering(folder: &Path) -> Self {
        let path = folder.join("last-drain.json");
        let last = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { last: Mutex::new(last), path: Some(path), ..Self::default() }
    }

    /// Keeps how a drain stands: it began, was cancelled, or the process ends.
    pub(crate) fn keep(&self, sockets: i64) {
        let status = self.status(sockets);
        if status.state == State::Active {
            return;
        }
        let Ok(status) = serde_json::to_value(status) else { return };
        if let Some(path) = &self.path
            && let Err(error) = std::fs::write(path, status.to_string())
        {
            tracing::warn!(path = %path.display(), %error, "the drain is not remembered");
        }
        *self.last.lock() = Some(status);
    }

    /// Begins, unless it has begun: then the first order stands. Tells whether this call began it.
    pub(crate) fn start(
        &self,
        by: &'static str,
        reason: String,
        window: Duration,
        endpoint: Option<String>,
        sockets: i64,
    ) -> bool {
        let started_at = unix_ms();
        let deadline_ms = started_at + u64::try_from(window.as_millis()).unwrap_or(0);
        let deadline = Instant::now() + window;
        let sockets_initial = sockets;
        let order = Order {
            reason,
            endpoint,
            deadline,
            deadline_ms,
            window,
            by,
            started_at,
            sockets_initial,
        };
        self.orders.send_if_modified(|running| {
            if running.is_some() {
                return false;
            }
            self.forced.store(0, Ordering::Release);
            self.blocked.store(0, Ordering::Release);
            *running = Some(order);
            true
        })
    }

    /// Takes clients again. `false`: it did not drain.
    pub(crate) fn end(&self) -> bool {
        let Some(order) = self.orders.send_replace(None) else { return false };
        let (reason, deadline) = (order.reason, order.deadline_ms);
        *self.called_off.lock() = Some(CalledOff { reason, at: unix_ms(), deadline });
        true
    }

    /// What connections are told, from now on.
    pub(crate) fn orders(&self) -> watch::Receiver<Option<Order>> {
        self.orders.subscribe()
    }

    /// Why a client that came at a time is sent away, and whether others still are: who was told goes at its
    /// time also if the drain was called off.
    pub(crate) fn reason(&self, began_at: u64) -> Option<(String, bool)> {
        if let Some(order) = &*self.orders.borrow() {
            return Some((order.reason.clone(), true));
        }
        let ended = self.called_off.lock();
        let told = |ended: &&CalledOff| began_at < ended.at && unix_ms() < ended.deadline;
        ended.as_ref().filter(told).map(|ended| (ended.reason.clone(), false))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.orders.borrow().is_some()
    }

    /// An upgrade or pairing was refused.
    pub(crate) fn blocked(&self) {
        self.blocked.fetch_add(1, Ordering::AcqRel);
    }

    /// A client stayed until it was closed.
    pub(crate) fn forced(&self) {
        self.forced.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn status(&self, sockets: i64) -> Status {
        let order = self.orders.borrow();
        let order = order.as_ref();
        let (forced, blocked) =
            (self.forced.load(Ordering::Acquire), self.blocked.load(Ordering::Acquire));
        let initial = order.map_or(0, |order| order.sockets_initial);
        let left = i64::try_from(forced).unwrap_or(i64::MAX);
        let state = match order {
            None => State::Active,
            Some(_) if sockets == 0 => State::Drained,
            Some(_) => State::Draining,
        };
        let remaining = |order: &Order| order.deadline.saturating_duration_since(Instant::now());
        Status {
            state,
            id: order.map(|order| format!("drain-{}", order.started_at)),
            started_at: order.map(|order| order.started_at),
            by: order.map(|order| order.by),
            reason: order.map(|order| order.reason.clone()),
            deadline: order.map(|order| order.deadline_ms),
            remaining_s: order.map(|order| remaining(order).as_secs()),
            sockets_initial: initial,
            sockets_now: sockets,
            migrated: if order.is_some() { (initial - sockets - left).max(0) } else { 0 },
            forced,
            blocked_upgrades: blocked,
            last: if order.is_some() { None } else { self.last.lock().clone() },
        }
    }
}

impl Node {
    /// How the drain stands, with the name of the node and how many others take clients.
    pub(crate) fn drain_status(&self) -> Value {
        let status = self.drain.status(self.metrics.active_websockets());
        let mut status = serde_json::to_value(status).unwrap_or_default();
        status["node"] = self.config.instance.clone().into();
        status["elsewhere"] = self.cluster.as_ref().map(Cluster::elsewhere).into();
        status
    }

    /// Sends clients away, unless it does so already, and tells the other nodes.
    pub(crate) fn begin_drain(
        &self,
        by: &'static str,
        reason: &str,
        window: Duration,
        endpoint: Option<String>,
    ) {
        let sockets = self.metrics.active_websockets();
        let secs = window.as_secs();
        let begins = self.drain.start(by, reason.to_owned(), window, endpoint, sockets);
        tracing::warn!(target: "audit", by, reason, seconds = secs, sockets, begins, "drain start");
        if begins {
            self.drain.keep(sockets);
        }
        self.say_that_it_lives(false);
    }

    /// Takes clients again, remembers how the drain stood, and tells the other nodes. `false`: it did not
    /// drain.
    pub(crate) fn end_drain(&self, by: &'static str) -> bool {
        self.drain.keep(self.metrics.active_websockets());
        let ended = self.drain.end();
        tracing::warn!(target: "audit", by, ended, "drain end");
        self.say_that_it_lives(false);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_that_was_called_off_is_a_reason_for_who_was_told_until_its_time_is_over() {
        let told = |on: bool| Some(("deploy".to_owned(), on));
        let drain = Drain::default();
        assert_eq!(drain.reason(0), None);
        for (window, left) in [(60, told(false)), (0, None)] {
            let window = Duration::from_secs(window);
            assert!(drain.start("admin", "deploy".to_owned(), window, None, 1));
            assert_eq!(drain.reason(0), told(true));
            assert!(drain.end());
            assert_eq!(drain.reason(0), left, "{window:?}");
            assert_eq!(drain.reason(unix_ms()), None, "who comes after it");
        }
    }

    #[test]
    fn a_drain_of_an_earlier_process_sends_nobody_away() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let before = Drain::remembering(folder.path());
        assert!(before.start("admin", "deploy".to_owned(), Duration::from_mins(1), None, 1));
        before.keep(1);

        let drain = Drain::remembering(folder.path());

        assert_eq!(drain.reason(0), None);
        assert_eq!(drain.status(0).last.expect("remembered")["reason"], "deploy");
    }
}

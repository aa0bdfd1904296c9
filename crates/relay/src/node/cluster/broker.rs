//! Whether messages can be stored and passed to other nodes, as far as this node knows, and that sessions
//! which write nothing are told, too.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use belay_core::Input;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{Cluster, Node};
use crate::registry::Handle;

/// A connection that is made anew within this was not away: the client has other brokers.
const RECONNECTS: Duration = Duration::from_millis(500);
/// Brokers choose a new leader within this, as a rule; who writes meanwhile is told at once.
const ELECTS: Duration = Duration::from_secs(10);
/// For so long after a loss a leader may believe that others follow it.
const BELIEVES: Duration = Duration::from_secs(5);
/// Pause between checks, each of which asks every stream.
const PAUSE: Duration = Duration::from_secs(2);

const NO_CONNECTION: &str = "there is no connection with a broker";

/// What was found of the broker.
#[derive(Debug, Default)]
struct Found {
    /// The connection was lost then.
    lost: Option<Instant>,
    /// Checks fail since then, and why.
    failing: Option<(Instant, String)>,
    /// When the connection was lost last, or checks began to fail.
    trouble: Option<Instant>,
    away: bool,
}

/// What sessions are to hear.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Away(String),
    Back,
}

impl Found {
    fn connected(&mut self, connected: bool, now: Instant) {
        if connected {
            self.lost = None;
        } else if self.lost.is_none() {
            (self.lost, self.trouble) = (Some(now), Some(now));
        }
    }

    fn checked(&mut self, answer: Result<(), String>, now: Instant) {
        if answer.is_ok() {
            // What passed went over a connection, whatever was heard of that.
            self.lost = None;
        }
        self.failing = answer.err().map(|why| {
            let since = self.failing.take().map(|(since, _)| since);
            if since.is_none() {
                self.trouble = Some(now);
            }
            (since.unwrap_or(now), why)
        });
    }

    /// Tells whether it is well now, and has been for long enough that a check means something.
    fn is_well(&self, now: Instant) -> bool {
        let calm = self.trouble.is_none_or(|at| now - at >= BELIEVES);
        calm && self.lost.is_none() && self.failing.is_none()
    }

    fn news(&mut self, now: Instant) -> Option<News> {
        let lost = self.lost.filter(|since| now - *since >= RECONNECTS);
        let failing = self.failing.as_ref().filter(|(since, _)| now - *since >= ELECTS);
        let why = match (lost, failing) {
            (Some(_), _) => Some(NO_CONNECTION.to_owned()),
            (None, Some((_, why))) => Some(why.clone()),
            (None, None) => None,
        };
        // A connection alone says nothing: what was told as away is back when a check passed.
        let back = self.away && self.is_well(now);
        match why {
            Some(why) if !self.away => {
                self.away = true;
                Some(News::Away(why))
            }
            None if back => {
                self.away = false;
                Some(News::Back)
            }
            Some(_) | None => None,
        }
    }
}

/// What a node knows of the broker.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    found: Mutex<Found>,
    changed: Notify,
}

impl Broker {
    /// The connection was lost, or made anew.
    pub(super) fn connected(&self, connected: bool) {
        self.found.lock().connected(connected, Instant::now());
        self.changed.notify_one();
    }

    /// Tells whether what could not be stored can be tried again.
    pub(crate) fn is_well(&self) -> bool {
        let found = self.found.lock();
        !found.away && found.is_well(Instant::now())
    }

    fn is_away(&self) -> bool {
        self.found.lock().away
    }

    /// Why nothing can be stored, if that is so for long enough that all were told.
    pub(crate) fn fault(&self) -> Option<String> {
        let found = self.found.lock();
        let why = found.failing.as_ref().map(|(_, why)| why.clone());
        let or = if found.lost.is_some() { NO_CONNECTION } else { "it was away a moment ago" };
        found.away.then(|| why.unwrap_or_else(|| or.to_owned()))
    }

    /// When something is to be told without another event.
    fn due(&self) -> Option<Instant> {
        let found = self.found.lock();
        let lost = found.lost.filter(|_| !found.away)?;
        Some(lost + RECONNECTS)
    }
}

impl Node {
    /// After a pause, sends a message to itself, and asks all streams whether they can be written.
    async fn check_broker(&self, cluster: &Cluster, pause: Duration) -> Result<(), String> {
        sleep(pause).await;
        cluster.shared.bus.check().await.map_err(|e| e.to_string())?;
        self.stores.log.check().await.map_err(|e| e.to_string())
    }

    /// A session that came into memory while nothing can be stored was not told.
    pub(in crate::node) async fn tell_if_away(self: &Arc<Self>, handle: &Arc<Handle>) {
        if self.cluster.as_ref().is_some_and(|cluster| cluster.broker.is_away()) {
            self.drive(handle, Input::LogAway).await;
        }
    }

    async fn tell_of_broker(self: &Arc<Self>, cluster: &Cluster) {
        let news = cluster.broker.found.lock().news(Instant::now());
        match news {
            Some(News::Away(why)) => {
                self.bus_ok.store(false, Ordering::Release);
                tracing::error!(%why, "the bus is away: durable messages wait where they were written");
                self.drive_all(Input::LogAway).await;
            }
            Some(News::Back) => {
                self.bus_ok.store(true, Ordering::Release);
                tracing::info!("the bus is back: messages are stored again");
                self.drive_all(Input::LogWorks).await;
            }
            None => {}
        }
    }
}

/// Finds out how the broker is, and tells the sessions.
pub(super) async fn watch(node: Arc<Node>) {
    let Some(cluster) = &node.cluster else { return };
    let mut check = Box::pin(node.check_broker(cluster, Duration::ZERO));
    loop {
        let due = cluster.broker.due();
        tokio::select! {
            answer = &mut check => {
                cluster.broker.found.lock().checked(answer, Instant::now());
                check = Box::pin(node.check_broker(cluster, PAUSE));
            }
            () = cluster.broker.changed.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = node.stopping.cancelled() => return,
        }
        node.tell_of_broker(cluster).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Result<(), String> {
        Err("no quorum".to_owned())
    }

    fn away(why: &str) -> News {
        News::Away(why.to_owned())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_connection_that_is_made_anew_at_once_was_not_away() {
        let (mut found, t) = (Found::default(), Instant::now());
        found.connected(false, t);
        assert_eq!(found.news(t), None);
        found.connected(true, t + RECONNECTS / 2);
        assert_eq!(found.news(t + 2 * RECONNECTS), None);
        // The leader that answers now may have lost those that followed it.
        assert!(!found.is_well(t + SECOND));
        assert!(found.is_well(t + BELIEVES));
    }

    #[test]
    fn it_is_away_once_until_a_check_passes_after_leaders_know_who_follows_them() {
        let (mut found, t) = (Found::default(), Instant::now());
        found.connected(false, t);
        assert_eq!(found.news(t + RECONNECTS), Some(away(NO_CONNECTION)));
        found.connected(true, t + SECOND);
        found.checked(Ok(()), t + SECOND);
        assert_eq!(found.news(t + SECOND), None);
        found.checked(failed(), t + 4 * SECOND);
        assert_eq!(found.news(t + 60 * SECOND), None);
        found.checked(Ok(()), t + 61 * SECOND);
        assert_eq!(found.news(t + 61 * SECOND), Some(News::Back));
        assert_eq!(found.news(t + 62 * SECOND), None);
    }

    #[test]
    fn a_check_that_passes_shows_a_connection_of_which_nothing_was_heard() {
        let (mut found, t) = (Found::default(), Instant::now());
        found.connected(false, t);
        assert_eq!(found.news(t + SECOND), Some(away(NO_CONNECTION)));
        found.checked(Ok(()), t + 2 * SECOND);
        assert_eq!(found.news(t + 6 * SECOND), Some(News::Back));
    }

    #[test]
    fn while_it_is_away_nothing_is_tried_again_on_a_check_of_before() {
        let broker = Broker::default();
        assert!(broker.is_well());
        broker.found.lock().away = true;
        assert!(!broker.is_well());
    }

    #[test]
    fn an_election_is_not_told_to_those_who_write_nothing() {
        let (mut found, t) = (Found::default(), Instant::now());
        for n in 0..4 {
            found.checked(failed(), t + n * SECOND);
            assert_eq!(found.news(t + n * SECOND), None);
        }
        found.checked(Ok(()), t + 4 * SECOND);
        found.checked(failed(), t + 5 * SECOND);
        assert_eq!(found.news(t + 14 * SECOND), None);
        assert_eq!(found.news(t + 5 * SECOND + ELECTS), Some(away("no quorum")));
    }
}

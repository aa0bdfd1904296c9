//! A node says that it lives, and what follows when it cannot.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use belay_core::{
    Input,
    ports::{ALL_NODES, BusFrame, StoreError},
};
use belay_wire::CloseCode;
use tokio::time::Instant;

use super::{Cluster, Node, seats::refresh_all_seats};

/// How long a node that says nothing counts as alive.
const LEASE: Duration = Duration::from_secs(5);
/// A node that does not reach the store for so long, while others do, sends its clients to those.
const CUT_OFF: Duration = Duration::from_secs(5);
/// Who said within this that it reaches the store does: it says so each second. It is shorter than
/// [`CUT_OFF`] by more than nodes may differ in when they notice that the store is away for all of them.
const SAYS: Duration = Duration::from_secs(2);
/// Nodes may differ by less than this in when they notice that the store is back for all of them.
const BACK: Duration = Duration::from_secs(3);
/// How often it says that it lives.
const RENEW: Duration = Duration::from_secs(1);
/// Why nobody new is let in while the circuit is open.
const ANSWERS_LATE: &str = "it answers late or not at all";
/// How often it is stored that who is connected was seen.
const TOUCH: Duration = Duration::from_hours(6);

impl Node {
    /// Says that this node lives, and learns who else does.
    pub(super) async fn renew_lease(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let asked = Instant::now();
        let renewing = cluster.shared.presence.renew(cluster.shared.life.clone(), LEASE);
        let alive = self.probe(renewing).await?;
        cluster.learn(alive, asked.elapsed());
        Ok(())
    }

    /// Tells the operator and all sessions whether the store is away and why, if that is news.
    async fn tell_store(self: &Arc<Self>, cluster: &Cluster, why: Option<&str>) {
        let away = why.is_some();
        if cluster.store_away.swap(away, Ordering::AcqRel) == away {
            return;
        }
        if let Some(why) = why {
            tracing::error!(
                why,
                "the store is away: who is connected goes on, nobody new comes in"
            );
        } else {
            tracing::info!("the store is back");
        }
        self.drive_all(Input::Store { away }).await;
    }

    /// Tells all others, and how its drain stands. `store`: it reached the store just now.
    pub(crate) fn say_that_it_lives(&self, store: bool) {
        let Some(cluster) = &self.cluster else { return };
        let (life, keys) = (cluster.shared.life.clone(), cluster.keys.clone());
        let drain = Some(self.drain_status());
        self.tell(ALL_NODES, BusFrame::Node { life, store, keys, drain });
    }

    fn send_all_away(&self) {
        tracing::error!(
            "this node is cut off from the store and others are not: clients are sent there"
        );
        for handle in self.registry.all() {
            handle.close_all(CloseCode::Unavailable);
        }
    }

    /// One node sweeps for all of them, as long as it holds the lease.
    pub(crate) async fn is_sweeper(&self) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        let ttl = 2 * self.config.sweep_every + LEASE;
        let life = cluster.shared.life.clone();
        let held = self.observe(cluster.shared.leases.hold("sweeper", life, ttl)).await;
        matches!(held, Ok(Some(_)))
    }
}

/// Since when others have said, without a pause, that they reach the store, and when they said so last.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Elsewhere(Option<(Instant, Instant)>);

impl Elsewhere {
    /// Another node says that it reaches the store.
    pub(super) fn said(&mut self, now: Instant) {
        let since = self.0.filter(|(_, last)| now.duration_since(*last) < SAYS);
        self.0 = Some((since.map_or(now, |(since, _)| since), now));
    }

    /// Others reach the store, and a node that did so last at `renewed` does not: its clients are better off
    /// there.
    fn is_better(self, renewed: Instant, now: Instant) -> bool {
        let reached = self.0.is_some_and(|(since, last)| {
            now.duration_since(last) < SAYS && now.duration_since(since) >= BACK
        });
        reached && now.duration_since(renewed) >= CUT_OFF
    }
}

/// Says that this node lives, and learns who else does and what time it is.
pub(super) async fn renew(node: Arc<Node>) {
    let Some(cluster) = &node.cluster else { return };
    let mut renewed = Instant::now();
    let mut touched = Instant::now();
    loop {
        if touched.elapsed() >= TOUCH {
            touched = Instant::now();
            for handle in node.registry.all().iter().filter(|handle| handle.has_sockets()) {
                node.drive(handle, Input::Touch).await;
            }
        }
        match node.renew_lease(cluster).await {
            Ok(()) => {
                renewed = Instant::now();
                node.tell_store(cluster, cluster.circuit.is_open().then_some(ANSWERS_LATE)).await;
                if cluster.moved.swap(false, Ordering::AcqRel) {
                    refresh_all_seats(&node).await;
                }
            }
            Err(error) => {
                node.tell_store(cluster, Some(&error.to_string())).await;
                if renewed.elapsed() > LEASE {
                    // Who lives is not known: that refuses nothing.
                    *cluster.alive.write() = None;
                }
                let elsewhere = *cluster.stored_elsewhere.read();
                if elsewhere.is_better(renewed, Instant::now()) {
                    node.send_all_away();
                }
            }
        }
        node.say_that_it_lives(!cluster.store_away.load(Ordering::Acquire));
        for note in cluster.shared.parts.nats.notes() {
            tracing::warn!("{note}");
        }
        tokio::select! {
            () = tokio::time::sleep(RENEW) => {}
            () = cluster.circuit.opens() => {
                node.tell_store(cluster, Some(ANSWERS_LATE)).await;
            }
            () = node.stopping.cancelled() => break,
        }
    }
    let _ = cluster.shared.presence.retire(cluster.shared.life.clone()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node sees that reaches the store last after `until` and that fails then for 60 s, while
    /// another one says each second that it reaches it, but not between the two given times.
    fn sent_away_at(until: u64, away: std::ops::Range<u64>) -> Option<u64> {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut elsewhere = Elsewhere::default();
        (0..until + 600).find(|now| {
            if now % 10 == 0 && !away.contains(now) {
                elsewhere.said(at(*now));
            }
            elsewhere.is_better(at(until.min(*now)), at(*now))
        })
    }

    #[test]
    fn a_store_that_is_away_for_all_cuts_nobody_off() {
        // Others reached it up to a second after this node, and their timeout of a second counts, too.
        for later in 0..=20 {
            assert_eq!(sent_away_at(100, 100 + later..1_000), None, "{later}");
        }
    }

    #[test]
    fn a_store_that_another_node_finds_again_first_cuts_nobody_off() {
        let start = Instant::now();
        let at = |tenths: u64| start + Duration::from_millis(100 * tenths);
        let mut elsewhere = Elsewhere::default();
        for tenths in [0, 10, 200, 210, 219] {
            elsewhere.said(at(tenths));
            assert!(!elsewhere.is_better(start, at(tenths)), "{tenths}");
        }
    }

    #[test]
    fn who_cannot_reach_what_others_reach_is_cut_off_after_five_seconds() {
        assert_eq!(sent_away_at(100, 0..0), Some(150));
        assert_eq!(sent_away_at(100, 100..200), Some(230), "it came back for others");
        assert!(!Elsewhere::default().is_better(Instant::now(), Instant::now() + 2 * CUT_OFF));
    }
}

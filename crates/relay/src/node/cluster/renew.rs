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

/// Others reach the store, and this node does not for long: its clients are better off there.
fn is_cut_off(failing: Duration, heard: Option<Duration>) -> bool {
    failing >= CUT_OFF && heard.is_some_and(|ago| ago < SAYS)
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
                let heard = *cluster.stored_elsewhere.read();
                if is_cut_off(renewed.elapsed(), heard.map(|at| at.elapsed())) {
                    node.send_all_away();
                }
            }
        }
        let (life, keys) = (cluster.shared.life.clone(), cluster.keys.clone());
        let store = !cluster.store_away.load(Ordering::Acquire);
        node.tell(ALL_NODES, BusFrame::Node { life, store, keys });
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

    #[test]
    fn a_store_that_is_away_for_all_cuts_nobody_off() {
        let seconds = Duration::from_secs;
        for failing in (0..60).map(seconds) {
            // Others reached it up to a second after this node, and their timeout of a second counts, too.
            for later in (0..=2).map(seconds) {
                assert!(!is_cut_off(failing, failing.checked_sub(later)), "{failing:?} {later:?}");
            }
        }
        assert!(!is_cut_off(seconds(60), None));
        assert!(!is_cut_off(seconds(4), Some(seconds(1))));
        assert!(is_cut_off(seconds(5), Some(seconds(1))));
    }
}

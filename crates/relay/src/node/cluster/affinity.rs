//! Counts how often the hint that keeps a session at one node was followed.

use std::{sync::Arc, time::Duration};

use belay_wire::{SessionId, affinity_key};

use super::Node;
use crate::http::affinity::AFFINITY_SECS;

impl Node {
    /// A connection of a session came to this node.
    pub(super) fn note_affinity(self: &Arc<Self>, session: SessionId) {
        if !self.config.affinity {
            return;
        }
        let node = self.clone();
        self.tasks.spawn(async move {
            match node.is_where_noted(affinity_key(session)).await {
                Some(true) => node.metrics.affinity_hits.inc(),
                Some(false) => node.metrics.affinity_misses.inc(),
                None => 0,
            };
        });
    }

    /// `None`: the store does not say.
    async fn is_where_noted(&self, key: String) -> Option<bool> {
        let cluster = self.cluster.as_ref()?;
        let (leases, life) = (&cluster.shared.leases, &cluster.shared.life);
        let stick = |instead_of: Option<String>| {
            let ttl = Duration::from_secs(AFFINITY_SECS);
            self.observe(leases.stick(key.clone(), life.clone(), instead_of, ttl))
        };
        let noted = stick(None).await.ok()?;
        if cluster.may_live(&noted) {
            return Some(noted == *life);
        }
        // Who is not there any more keeps nothing.
        let noted = stick(Some(noted)).await.ok()?;
        Some(noted == *life)
    }
}

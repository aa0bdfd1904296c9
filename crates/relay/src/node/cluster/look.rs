//! Looks at the store for what changed, also while the bus says nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use belay_core::{Input, ports::StoreError};
use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;

use super::Node;
use crate::registry::Handle;

/// How often the versions of sessions with sockets here are looked at: a revocation is effective within a
/// second also while the bus is down.
const POLL: Duration = Duration::from_millis(400);
/// How often it is looked whether the second place of revocations, which is polled itself, knows more: that
/// costs nothing, and does not wait for a store that is silent.
const REVOKED: Duration = Duration::from_millis(100);
/// Sessions that are read at once after a poll.
pub(super) const REFRESH_MAX: usize = 64;
/// How long what follows in its lane waits until a changed session was read.
const LOOK_MAX: Duration = Duration::from_millis(50);

impl Node {
    /// Finds out whether what is stored of a session is known here, and reads it if not. With a store of one
    /// node it is.
    pub(crate) async fn look_again(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
    ) -> Result<(), StoreError> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let versions = self.observe(self.stores.sessions.versions(vec![handle.id])).await?;
        match versions.first() {
            Some(version) => self.refresh(handle, *version).await,
            None => Ok(()),
        }
    }

    /// The same for all sessions that somebody here waits with.
    async fn look_at_all(self: &Arc<Self>) -> Result<(), StoreError> {
        let (mut handles, mut known) = (self.registry.all(), Vec::new());
        handles.retain(|handle| {
            let session = handle.session.lock();
            let is_used = handle.has_sockets() || session.waiters() > 0;
            if is_used {
                known.push(session.record().version);
            }
            is_used
        });
        if handles.is_empty() {
            return Ok(());
        }
        let ids = handles.iter().map(|handle| handle.id).collect();
        let versions = self.probe(self.stores.sessions.versions(ids)).await?;
        let changed: Vec<_> = handles
            .into_iter()
            .zip(versions)
            .zip(known)
            .filter(|((handle, version), known)| {
                *known != version.record
                    || handle.seats_seen.load(Ordering::Acquire) != version.seats
            })
            .collect();
        for some in changed.chunks(REFRESH_MAX) {
            join_all(some.iter().map(|((handle, v), _)| self.refresh(handle, *v))).await;
        }
        Ok(())
    }

    /// Who came is known before what they said is heard, unless the store takes its time.
    pub(super) async fn hear_of_change(self: &Arc<Self>, handle: Arc<Handle>) {
        let node = self.clone();
        let looking = self.tasks.spawn(async move { node.look_again(&handle).await });
        if self.store_ok.load(Ordering::Acquire) {
            let _ = tokio::time::timeout(LOOK_MAX, looking).await;
        }
    }

    /// A revocation that the store cannot be asked for stands in the second place, too.
    async fn expel_revoked(self: &Arc<Self>) {
        for handle in self.registry.all() {
            let members = handle.session.lock().members_here();
            for member in members.into_iter().filter(|m| self.stores.revocations.contains(*m)) {
                self.drive(&handle, Input::Expel { member }).await;
            }
        }
    }
}

/// Looks for what changed in the store and in the second place of revocations, also while the bus says
/// nothing.
pub(super) async fn poll(node: Arc<Node>) {
    let stored = every(&node, POLL, || async {
        // That the store is away is seen and told where the lease is renewed.
        let _ = node.look_at_all().await;
    });
    let known = AtomicUsize::new(0);
    let revoked = every(&node, REVOKED, || async {
        let now = node.stores.revocations.count();
        if known.swap(now, Ordering::AcqRel) != now {
            node.expel_revoked().await;
        }
    });
    tokio::join!(stored, revoked);
}

/// Looks again and again until the node stops; what is under way then is finished.
async fn every<F: Future<Output = ()>>(node: &Node, pause: Duration, mut look: impl FnMut() -> F) {
    let mut interval = tokio::time::interval(pause);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = node.stopping.cancelled() => return,
        }
        look().await;
    }
}

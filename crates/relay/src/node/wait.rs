//! HTTP calls that wait for a session's answer.

use std::sync::{Arc, atomic::Ordering};

use belay_core::{Input, PairAnswer, PairError, session::WaiterId};
use tokio::sync::oneshot;

use super::Node;
use crate::registry::Handle;

/// How a pairing call ended outside the session.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CallError {
    Pair(PairError),
    Store,
    /// The node stops.
    Stopping,
}

pub(super) type Waiting = oneshot::Sender<Result<PairAnswer, CallError>>;

/// A waiting call; when it ends in any way, nothing of it is left.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) id: WaiterId,
    node: Arc<Node>,
    handle: Arc<Handle>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.node.waiting.lock().remove(&self.id);
        let (node, handle, waiter) = (self.node.clone(), self.handle.clone(), self.id);
        self.node.tasks.spawn(async move {
            node.drive(&handle, Input::WaiterGone { waiter }).await;
            // Who sees it go down may count on a free place for the next phone.
            let waiting = node.waiting.lock();
            node.metrics.pair_waiters.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        });
    }
}

impl Node {
    /// Registers a call that waits; its guard takes it out again, however the call ends.
    pub(crate) fn wait(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
    ) -> Option<(Waiter, oneshot::Receiver<Result<PairAnswer, CallError>>)> {
        if self.waiters() >= self.config.pair_waiters_max {
            return None;
        }
        Some(self.wait_unbounded(handle))
    }

    /// The same for a call that waits for the store only.
    pub(crate) fn wait_unbounded(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
    ) -> (Waiter, oneshot::Receiver<Result<PairAnswer, CallError>>) {
        let id = WaiterId(self.next_waiter.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        waiting.insert(id, (handle.id, sender));
        self.metrics.pair_waiters.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        (Waiter { id, node: self.clone(), handle: handle.clone() }, receiver)
    }

    /// Calls that wait now.
    pub(crate) fn waiters(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Tells whether a call is still there and has no answer.
    pub(super) fn waits(&self, waiter: WaiterId) -> bool {
        self.waiting.lock().contains_key(&waiter)
    }

    /// Waits for a call's answer; a node that stops does not keep its callers waiting.
    pub(crate) async fn answered(
        &self,
        answer: oneshot::Receiver<Result<PairAnswer, CallError>>,
    ) -> Result<PairAnswer, CallError> {
        tokio::select! {
            answer = answer => answer.unwrap_or(Err(CallError::Stopping)),
            () = self.stopping.cancelled() => Err(CallError::Stopping),
        }
    }

    pub(super) fn answer(&self, waiter: WaiterId, answer: Result<PairAnswer, CallError>) {
        if let Some((_, waiting)) = self.waiting.lock().remove(&waiter) {
            let _ = waiting.send(answer);
        }
    }
}

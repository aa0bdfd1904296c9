//! What a node does because there are others: it renews its lease, takes seats for its connections, looks
//! for what changed in the store, and hears the bus.

mod affinity;
mod alive;
mod broker;
mod circuit;
mod drains;
mod hear;
mod look;
mod renew;
mod seats;
mod strangers;

use std::sync::{Arc, atomic::Ordering};

use belay_core::{Input, ports::BusFrame};
use belay_wire::SessionId;

pub(crate) use alive::Cluster;
pub(crate) use drains::NoDrain;

use super::{Node, unix_ms};

impl Node {
    /// Store time where nodes share a store, else the clock of this machine.
    pub(crate) fn now_ms(&self) -> u64 {
        let skew = self.cluster.as_ref().map_or(0, |c| c.skew_ms.load(Ordering::Relaxed));
        unix_ms().saturating_add_signed(skew)
    }

    /// Tells the other nodes.
    pub(in crate::node) fn tell(&self, session: SessionId, frame: BusFrame) {
        if let Some(cluster) = &self.cluster {
            cluster.shared.bus.tell(session, frame);
        }
    }

    /// From now on what others say of this session is heard.
    pub(in crate::node) fn watch(&self, session: SessionId) {
        if let Some(cluster) = &self.cluster {
            cluster.shared.bus.watch(session);
            self.stores.log.watch(session);
        }
    }

    pub(crate) fn unwatch(&self, session: SessionId) {
        if let Some(cluster) = &self.cluster {
            cluster.shared.bus.unwatch(session);
            self.stores.log.unwatch(session);
        }
    }

    /// Gives an input to all sessions that are in memory.
    pub(super) async fn drive_all(self: &Arc<Self>, input: Input) {
        for handle in self.registry.all() {
            self.drive(&handle, input.clone()).await;
        }
    }
}

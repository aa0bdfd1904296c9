//! What a node does because there are others: it renews its lease, takes seats for its connections, looks
//! for what changed in the store, and hears the bus.

mod affinity;
mod alive;
mod broker;
mod circuit;
mod hear;
mod look;
mod renew;
mod seats;
mod strangers;

use std::sync::{Arc, atomic::Ordering};

use belay_core::{
    Input,
    ports::{ALL_NODES, BusFrame},
};
use belay_wire::SessionId;

pub(crate) use alive::Cluster;

use super::{Node, unix_ms};
use crate::serve::plain_name;

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

    /// Asks the node of this name to send its clients away.
    ///
    /// # Errors
    /// The names of those that live, if it is none of them.
    pub(crate) async fn ask_to_drain(
        &self,
        instance: &str,
        reason: String,
        seconds: u64,
        endpoint: Option<String>,
    ) -> Result<(), Vec<String>> {
        let Some(cluster) = &self.cluster else { return Err(vec![self.config.instance.clone()]) };
        // It may have started a moment ago.
        let _ = self.renew_lease(cluster).await;
        let names = cluster.names();
        if cluster.alive.read().is_some() && !names.contains(&plain_name(instance)) {
            return Err(names);
        }
        let instance = instance.to_owned();
        self.tell(ALL_NODES, BusFrame::Drain { instance, reason, seconds, endpoint });
        Ok(())
    }

    /// Gives an input to all sessions that are in memory.
    pub(super) async fn drive_all(self: &Arc<Self>, input: Input) {
        for handle in self.registry.all() {
            self.drive(&handle, input.clone()).await;
        }
    }
}

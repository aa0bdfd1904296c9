//! Counts sockets that have not authenticated yet, in total and per address.

use std::{net::IpAddr, sync::Arc};

use belay_core::Input;
use belay_wire::ConnectionId;

use crate::{
    node::{Node, prefix},
    registry::Handle,
};

/// Whatever ends the task of an authenticated socket, also a panic or an abort, its session hears of it.
pub(super) struct DetachOnDrop {
    pub(super) node: Arc<Node>,
    pub(super) handle: Arc<Handle>,
    pub(super) id: ConnectionId,
}

impl Drop for DetachOnDrop {
    fn drop(&mut self) {
        self.handle.remove_signal(self.id);
        self.node.drive_to_the_end(&self.handle, Input::Detach { connection: self.id });
    }
}

/// One place among the unauthenticated; given back when dropped.
#[derive(Debug)]
pub(super) struct Unauthenticated {
    node: Arc<Node>,
    address: IpAddr,
}

impl Unauthenticated {
    /// Takes a place; `None` if there is none.
    pub(super) fn take(node: &Arc<Node>, address: IpAddr) -> Option<Self> {
        let address = prefix(address);
        let mut places = node.unauthenticated.lock();
        let total: usize = places.values().sum();
        let here = places.get(&address).copied().unwrap_or_default();
        if total >= node.config.unauthenticated_max
            || here >= node.config.unauthenticated_per_address_max
        {
            return None;
        }
        places.insert(address, here + 1);
        node.metrics.auth_attempts.inc();
        node.metrics.unauthenticated.inc();
        drop(places);
        Some(Self { node: node.clone(), address })
    }
}

impl Drop for Unauthenticated {
    fn drop(&mut self) {
        let mut places = self.node.unauthenticated.lock();
        if let Some(here) = places.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                places.remove(&self.address);
            }
        }
        self.node.metrics.unauthenticated.dec();
    }
}

//! Counts sockets that have not authenticated yet, in total and per address.

use std::{net::IpAddr, sync::Arc};

use crate::node::{Node, prefix};

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

//! Who sits where: seats of connections here, and what is known of those elsewhere.

use std::sync::{Arc, atomic::Ordering};

use belay_core::{
    Input,
    ports::{BusFrame, Seat, StoreError},
    token::Principal,
};
use belay_wire::ConnectionId;
use futures_util::future::join_all;

use super::{Node, look::REFRESH_MAX};
use crate::registry::Handle;

impl Node {
    /// A connection takes its seat before it is told that it is in, so that whatever its client does next
    /// is known at every node that looks.
    pub(in crate::node) async fn sit(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        connection: ConnectionId,
        seat: Seat,
    ) -> Option<Input> {
        let cluster = self.cluster.as_ref()?;
        let principal = seat.principal;
        let seat = Seat { node: cluster.shared.life.clone(), ..seat };
        let seated = self.observe(cluster.shared.presence.sit(handle.id, seat)).await;
        self.tell(handle.id, BusFrame::Changed);
        self.note_affinity(handle.id);
        match seated {
            Ok(generation) => Some(Input::Seated { connection, principal, generation }),
            Err(error) => {
                tracing::warn!(session = %handle.id, %error, "a seat was not taken");
                // The next look at the store finds that it differs.
                handle.seats_seen.store(u64::MAX, Ordering::Release);
                None
            }
        }
    }

    pub(in crate::node) fn leave(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        principal: Principal,
        generation: Option<u64>,
    ) {
        let (Some(cluster), Some(generation)) = (&self.cluster, generation) else { return };
        let leaving = cluster.shared.presence.leave(handle.id, principal, generation);
        let (node, id) = (self.clone(), handle.id);
        self.tasks.spawn(async move {
            // A seat that is not given up ends with the lease of this node, or with the next connection.
            let _ = node.observe(leaving).await;
            node.tell(id, BusFrame::Changed);
        });
    }

    /// Reads who sits where, unless this version of it is known.
    pub(in crate::node) async fn refresh_seats(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        version: u64,
    ) -> Result<(), StoreError> {
        if handle.seats_seen.load(Ordering::Acquire) != version {
            self.read_seats(handle, Some(version)).await?;
            handle.seats_seen.store(version, Ordering::Release);
        }
        Ok(())
    }

    pub(super) async fn read_seats(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        last: Option<u64>,
    ) -> Result<(), StoreError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let _turn = handle.looking.lock().await;
        let mut seats = self.observe(cluster.shared.presence.seats(handle.id)).await?;
        if seats.iter().any(|seat| cluster.is_news(seat)) {
            self.renew_lease(cluster).await?;
            cluster.note_gone(&seats);
        }
        let own = seats.iter().filter(|seat| seat.node == cluster.shared.life);
        let here = own.map(|seat| seat.principal).collect();
        seats.retain(|seat| cluster.counts(seat));
        self.drive(handle, Input::Seats { seats, here, last }).await;
        Ok(())
    }
}

pub(super) async fn refresh_all_seats(node: &Arc<Node>) {
    let handles = node.registry.all();
    for some in handles.chunks(REFRESH_MAX) {
        join_all(some.iter().map(|handle| node.read_seats(handle, None))).await;
    }
}

//! Who sits where: seats of connections here, and what is known of those elsewhere.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use belay_core::{
    Input,
    ports::{BusFrame, Seat, StoreError},
    token::Principal,
};
use belay_wire::{ConnectionId, SessionId};
use futures_util::future::join_all;

use super::{Node, look::REFRESH_MAX};
use crate::registry::Handle;

/// Tries to give a seat up, and the pause between them.
const LEAVES_MAX: u32 = 300;
const LEAVE_AGAIN: Duration = Duration::from_secs(2);

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
                // The next look tries it again.
                handle.look_again.store(true, Ordering::Release);
                handle.seats_seen.store(u64::MAX, Ordering::Release);
                Some(Input::Unseated { connection })
            }
        }
    }

    pub(in crate::node) fn leave(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        principal: Principal,
        generation: Option<u64>,
    ) {
        let Some(generation) = generation.filter(|_| self.cluster.is_some()) else { return };
        let (node, id) = (self.clone(), handle.id);
        self.tasks.spawn(async move {
            node.leave_to_the_end(id, principal, generation).await;
            node.tell(id, BusFrame::Changed);
        });
    }

    /// Whoever has a seat counts as connected, so it is given up as soon as the store takes that. It ends also
    /// with this life of the node, or with the next connection.
    async fn leave_to_the_end(&self, id: SessionId, principal: Principal, generation: u64) {
        let Some(cluster) = &self.cluster else { return };
        for _ in 0..LEAVES_MAX {
            let leaving = cluster.shared.presence.leave(id, principal, generation);
            if self.observe(leaving).await.is_ok() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(LEAVE_AGAIN) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// Reads who sits where, unless this version of it is known.
    pub(in crate::node) async fn refresh_seats(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        version: u64,
    ) -> Result<(), StoreError> {
        if handle.seats_seen.load(Ordering::Acquire) != version {
            handle.look_again.store(false, Ordering::Release);
            self.read_seats(handle).await?;
            // What was read may have led to a seat that could not be taken.
            let again = handle.look_again.load(Ordering::Acquire);
            handle.seats_seen.store(if again { u64::MAX } else { version }, Ordering::Release);
        }
        Ok(())
    }

    pub(super) async fn read_seats(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
    ) -> Result<(), StoreError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let _turn = handle.looking.lock().await;
        let own = handle.session.lock().own_seats();
        let mut seats = self.observe(cluster.shared.presence.seats(handle.id)).await?;
        if seats.iter().any(|seat| cluster.is_news(seat)) {
            self.renew_lease(cluster).await?;
            cluster.note_gone(&seats);
        }
        let here = seats.iter().filter(|seat| seat.node == cluster.shared.life);
        let here = here.cloned().collect();
        seats.retain(|seat| cluster.counts(seat));
        self.drive(handle, Input::Seats { seats, here, own }).await;
        Ok(())
    }
}

pub(super) async fn refresh_all_seats(node: &Arc<Node>) {
    let handles = node.registry.all();
    for some in handles.chunks(REFRESH_MAX) {
        join_all(some.iter().map(|handle| node.read_seats(handle))).await;
    }
}

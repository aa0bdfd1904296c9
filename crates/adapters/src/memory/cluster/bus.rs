//! The bus within one process.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
};

use belay_core::ports::{Answer, Bus, BusEvent, BusFrame, BusListener};
use belay_wire::SessionId;
use parking_lot::Mutex;

use super::MemoryCluster;
use crate::memory::done;

/// A node's place on the bus.
#[derive(Default)]
pub(super) struct Place {
    listener: Mutex<Option<BusListener>>,
    watched: Mutex<HashSet<SessionId>>,
}

/// The places of all nodes that are there.
#[derive(Default)]
pub(super) struct Buses {
    places: Mutex<Vec<Weak<Place>>>,
}

impl Buses {
    /// A place of its own for another node.
    pub(super) fn join(&self) -> Arc<Place> {
        let place = Arc::new(Place::default());
        let mut places = self.places.lock();
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(&place));
        place
    }
}

impl Bus for MemoryCluster {
    fn tell(&self, session: SessionId, frame: BusFrame) {
        let places: Vec<_> =
            self.shared.buses.places.lock().iter().filter_map(Weak::upgrade).collect();
        for place in places {
            if Arc::ptr_eq(&place, &self.place) || !place.watched.lock().contains(&session) {
                continue;
            }
            // Whoever listens may speak, so nothing is locked meanwhile.
            let listener = place.listener.lock().clone();
            if let Some(tell) = listener {
                tell(BusEvent::Told { session, frame: frame.clone() });
            }
        }
    }

    fn listen(&self, listener: BusListener) {
        *self.place.listener.lock() = Some(Arc::clone(&listener));
        listener(BusEvent::Connected { connected: true });
    }

    fn watch(&self, session: SessionId) {
        self.place.watched.lock().insert(session);
    }

    fn unwatch(&self, session: SessionId) {
        self.place.watched.lock().remove(&session);
    }

    fn check(&self) -> Answer<()> {
        done(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(node: &MemoryCluster) -> std::sync::mpsc::Receiver<BusEvent> {
        let (tell, told) = std::sync::mpsc::sync_channel(10);
        node.listen(Arc::new(move |event| {
            let _ = tell.send(event);
        }));
        assert!(matches!(told.try_recv(), Ok(BusEvent::Connected { connected: true })));
        told
    }

    #[test]
    fn the_other_nodes_that_watch_a_session_are_told() {
        let one = MemoryCluster::default();
        let (other, third) = (one.clone(), one.clone());
        let (at_one, at_other, at_third) = (heard(&one), heard(&other), heard(&third));
        let session = SessionId::from_bytes([1; 16]);
        one.watch(session);
        other.watch(session);

        one.tell(session, BusFrame::Changed);

        assert!(
            matches!(at_other.try_recv(), Ok(BusEvent::Told { session: of, .. }) if of == session)
        );
        assert!(at_one.try_recv().is_err(), "not who said it");
        assert!(at_third.try_recv().is_err(), "not who does not watch");
        other.unwatch(session);
        one.tell(session, BusFrame::Changed);
        assert!(at_other.try_recv().is_err());
        drop(third);
        one.tell(session, BusFrame::Changed);
    }
}

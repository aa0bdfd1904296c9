//! Sessions that the nodes share, with versions that also count seats.

use belay_core::{
    SessionRecord,
    ports::{Answer, SessionStore, StoreError, Version},
    session::LeaseKey,
};
use belay_wire::SessionId;

use super::MemoryCluster;
use crate::memory::done;

impl SessionStore for MemoryCluster {
    fn save(&self, record: SessionRecord) -> Answer<()> {
        let (id, is_new) = (record.id, record.version == 1);
        if !is_new && record.replaces() == Some(0) && self.shared.state.lock().removed.contains(&id)
        {
            return done(Err(StoreError::Conflict));
        }
        if is_new {
            self.shared.state.lock().removed.remove(&id);
        }
        self.shared.sessions.save(record)
    }

    fn load(&self, id: SessionId) -> Answer<Option<SessionRecord>> {
        self.shared.sessions.load(id)
    }

    fn find_lease(&self, key: LeaseKey) -> Answer<Vec<SessionId>> {
        self.shared.sessions.find_lease(key)
    }

    fn list(&self, after: Option<SessionId>, limit: usize) -> Answer<Vec<SessionId>> {
        self.shared.sessions.list(after, limit)
    }

    fn count(&self) -> Answer<usize> {
        self.shared.sessions.count()
    }

    fn count_devices(&self) -> Answer<usize> {
        self.shared.sessions.count_devices()
    }

    fn remove(&self, id: SessionId) -> Answer<()> {
        // The last generation stays: those of a session grow for ever.
        if let Some(seats) = self.shared.state.lock().seats.get_mut(&id) {
            seats.taken.clear();
        }
        self.shared.state.lock().removed.insert(id);
        self.shared.sessions.remove(id)
    }

    fn was_removed(&self, id: SessionId) -> Answer<bool> {
        done(Ok(self.shared.state.lock().removed.contains(&id)))
    }

    fn versions(&self, ids: Vec<SessionId>) -> Answer<Vec<Version>> {
        let records = self.shared.sessions.record_versions(&ids);
        let state = self.shared.state.lock();
        let seats = |id| state.seats.get(id).map_or(0, |seats| seats.last);
        let versions = ids.iter().zip(records);
        done(Ok(versions.map(|(id, record)| Version { record, seats: seats(id) }).collect()))
    }

    fn check(&self) -> Answer<()> {
        done(Ok(()))
    }
}

//! Sessions and logs in memory, for tests and for relays that need not survive a restart.

mod cluster;
mod log;

use std::collections::{BTreeMap, HashSet};

use belay_core::{
    SessionRecord,
    ports::{Answer, Revocations, SessionStore, StoreError},
    session::LeaseKey,
};
use belay_wire::{MemberId, SessionId};
use parking_lot::Mutex;

use crate::lease::means;

pub use cluster::MemoryCluster;
pub use log::MemoryLog;

/// A store that ends with its process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    sessions: Mutex<BTreeMap<SessionId, SessionRecord>>,
}

impl MemoryStore {
    /// The versions of these records, 0 for those that are not there.
    fn record_versions(&self, ids: &[SessionId]) -> Vec<u64> {
        let sessions = self.sessions.lock();
        ids.iter().map(|id| sessions.get(id).map_or(0, |record| record.version)).collect()
    }
}

impl SessionStore for MemoryStore {
    fn save(&self, record: SessionRecord) -> Answer<()> {
        let mut sessions = self.sessions.lock();
        let stored = sessions.get(&record.id).map_or(0, |r| r.version);
        let result = if record.replaces() == Some(stored) {
            sessions.insert(record.id, record);
            Ok(())
        } else {
            Err(StoreError::Conflict)
        };
        done(result)
    }

    fn load(&self, id: SessionId) -> Answer<Option<SessionRecord>> {
        done(Ok(self.sessions.lock().get(&id).cloned()))
    }

    fn find_lease(&self, key: LeaseKey) -> Answer<Vec<SessionId>> {
        let sessions = self.sessions.lock();
        done(Ok(sessions.values().filter(|r| means(r, &key)).map(|r| r.id).collect()))
    }

    fn list(&self, after: Option<SessionId>, limit: usize) -> Answer<Vec<SessionId>> {
        let sessions = self.sessions.lock();
        let mut all: Vec<_> = sessions.values().map(|r| (r.created_at, r.id)).collect();
        all.sort_unstable();
        let from = after.and_then(|id| all.iter().position(|(_, i)| *i == id)).map_or(0, |i| i + 1);
        done(Ok(all.into_iter().skip(from).take(limit).map(|(_, id)| id).collect()))
    }

    fn count(&self) -> Answer<usize> {
        done(Ok(self.sessions.lock().len()))
    }

    fn count_devices(&self) -> Answer<usize> {
        let sessions = self.sessions.lock();
        done(Ok(sessions.values().map(|record| record.active_devices().count()).sum()))
    }

    fn remove(&self, id: SessionId) -> Answer<()> {
        self.sessions.lock().remove(&id);
        done(Ok(()))
    }

    fn check(&self) -> Answer<()> {
        done(Ok(()))
    }
}

/// Revocations that end with the process.
#[derive(Debug, Default)]
pub struct MemoryRevocations {
    revoked: Mutex<HashSet<MemberId>>,
}

impl Revocations for MemoryRevocations {
    fn add(&self, member: MemberId) -> Answer<()> {
        self.revoked.lock().insert(member);
        done(Ok(()))
    }

    fn contains(&self, member: MemberId) -> bool {
        self.revoked.lock().contains(&member)
    }

    fn count(&self) -> usize {
        self.revoked.lock().len()
    }
}

fn done<T: Send + 'static>(result: Result<T, StoreError>) -> Answer<T> {
    Box::pin(std::future::ready(result))
}

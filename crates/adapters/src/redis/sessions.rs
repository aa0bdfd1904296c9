//! The port of sessions.

use std::{future::Future, sync::Arc};

use belay_core::{
    SessionRecord,
    ports::{Answer, SessionStore, StoreError, Version},
    session::LeaseKey,
};
use belay_wire::SessionId;

use super::{Inner, RedisStore, script::Step};

impl RedisStore {
    /// Work that owns what it needs.
    pub(super) fn answer<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        Box::pin(work(Arc::clone(&self.inner)))
    }
}

/// Nothing is queued when a method is called: whoever saves a session twice awaits the first save.
impl SessionStore for RedisStore {
    /// A save whose answer was lost is tried again, and knows its own record. If somebody saved on top of it
    /// meanwhile it is a conflict, although it was stored.
    fn save(&self, record: SessionRecord) -> Answer<()> {
        self.answer(|inner| async move { inner.save(&record).await })
    }

    fn load(&self, id: SessionId) -> Answer<Option<SessionRecord>> {
        self.answer(|inner| async move { inner.load(id).await })
    }

    fn find_lease(&self, key: LeaseKey) -> Answer<Vec<SessionId>> {
        self.answer(|inner| async move { inner.find_lease(key).await })
    }

    /// Nothing follows a session that is gone.
    fn list(&self, after: Option<SessionId>, limit: usize) -> Answer<Vec<SessionId>> {
        self.answer(|inner| async move { inner.list(after, limit).await })
    }

    /// Also counts what a node that died left in the list without a record, until somebody lists.
    fn count(&self) -> Answer<usize> {
        self.answer(|inner| async move {
            inner.number(Step::plain("ZCARD", &[&inner.keys.sessions()])).await
        })
    }

    /// A counter that each save corrects by what it changed. A node that dies between the two, or a save
    /// whose answer was lost, leaves it off by that change: it is a number for people, not for decisions.
    fn count_devices(&self) -> Answer<usize> {
        self.answer(|inner| async move {
            inner.number(Step::plain("GET", &[&inner.keys.devices()])).await
        })
    }

    fn remove(&self, id: SessionId) -> Answer<()> {
        self.answer(|inner| async move { inner.remove(id).await })
    }

    fn was_removed(&self, id: SessionId) -> Answer<bool> {
        self.answer(move |inner| async move {
            let asked = Step::plain("EXISTS", &[&inner.keys.removed(id)]);
            Ok(inner.number(asked).await? > 0)
        })
    }

    fn versions(&self, ids: Vec<SessionId>) -> Answer<Vec<Version>> {
        self.answer(|inner| async move { inner.versions(&ids).await })
    }

    fn check(&self) -> Answer<()> {
        self.answer(|inner| async move { inner.check().await })
    }
}

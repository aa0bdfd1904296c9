//! Sessions come into memory from the store, and end for good.

use std::sync::Arc;

use belay_core::{
    Input, Session, SessionRecord,
    ports::{BusFrame, StoreError},
};
use belay_wire::SessionId;

use super::Node;
use crate::registry::Handle;

impl Node {
    /// A session, from memory or from the store.
    pub(crate) async fn session(
        self: &Arc<Self>,
        id: SessionId,
    ) -> Result<Option<Arc<Handle>>, StoreError> {
        let handle = match self.registry.find(id) {
            Some(handle) if self.cluster.is_some() && handle.has_ended() => {
                // Another one may have been made under its name, elsewhere.
                let Some(record) = self.load(id).await? else { return Ok(None) };
                self.take_new(Session::load(record)).await;
                match self.registry.find(id) {
                    Some(handle) => handle,
                    None => return Ok(None),
                }
            }
            Some(handle) => {
                self.look_again(&handle).await?;
                handle
            }
            None => match self.loaded(id).await? {
                Some(handle) => handle,
                None => return Ok(None),
            },
        };
        Ok(Some(handle).filter(|handle| !handle.has_ended()))
    }

    /// What is stored of a session.
    pub(crate) async fn load(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.observe(self.stores.sessions.load(id)).await
    }

    async fn loaded(self: &Arc<Self>, id: SessionId) -> Result<Option<Arc<Handle>>, StoreError> {
        let Some(record) = self.load(id).await? else { return Ok(None) };
        for device in record.devices.iter().filter(|d| d.revoked_at.is_some()) {
            // A crash between the two places leaves a revocation in one.
            if !self.stores.revocations.contains(device.member) {
                let _ = self.stores.revocations.add(device.member).await;
            }
        }
        let session = self.open(Session::load(record)).await;
        let (handle, others) = self.registry.add(session);
        if others {
            self.unwatch(id);
        }
        self.tell_if_away(&handle).await;
        self.look_again(&handle).await?;
        Ok(Some(handle))
    }

    /// Takes in a session that was just made and stored.
    pub(crate) async fn take_new(self: &Arc<Self>, session: Session) {
        let id = session.record().id;
        let session = self.open(session).await;
        let (handle, others) = self.registry.add_new(session);
        if others {
            self.unwatch(id);
        }
        self.tell_if_away(&handle).await;
    }

    /// Ends a session for good: it leaves the store, its devices are revoked, everybody is told.
    /// `false`: it is not there, or it was to end only if nobody uses it and somebody does.
    pub(crate) async fn end_session(
        self: &Arc<Self>,
        id: SessionId,
        reason: &'static str,
        only_idle: bool,
    ) -> Result<bool, StoreError> {
        let node = self.clone();
        let ending = self.tasks.spawn(async move {
            let Some(handle) = node.session(id).await? else { return Ok(false) };
            let devices: Vec<_> = {
                let mut session = handle.session.lock();
                if only_idle && !session.is_unused() {
                    return Ok(false);
                }
                session.set_ending(true);
                session.record().devices.iter().map(|d| d.member).collect()
            };
            if let Err(error) = node.observe_write(node.stores.sessions.remove(id)).await {
                handle.session.lock().set_ending(false);
                return Err(error);
            }
            node.tell(id, BusFrame::Ended { reason: reason.to_owned() });
            node.drive(&handle, Input::End { reason }).await;
            for member in devices {
                // A store that goes back must not bring them back.
                let _ = node.stores.revocations.add(member).await;
            }
            Ok(true)
        });
        ending.await.unwrap_or_else(|e| Err(StoreError::Unavailable(e.to_string())))
    }
}

//! What the calls have in common in which a desktop manages its session.

use std::{net::IpAddr, sync::Arc};

use axum::http::HeaderMap;
use belay_core::session::session_key;
use belay_wire::{
    Secret,
    compat::{SESSION_ID_CHARS, TOKEN_CHARS},
};

use super::{Fault, admit_page, body::Members, find, shaped};
use crate::{
    node::{Node, RateClass},
    registry::Handle,
};

const CLASS: RateClass = RateClass::Management;

/// A desktop that names its session and its token.
pub(super) struct Desktop {
    pub(super) session_id: String,
    token: Secret,
    address: IpAddr,
}

impl Desktop {
    /// Reads who calls; `wrong` is what the call answers to a text that is no token.
    pub(super) async fn admit(
        node: &Node,
        address: IpAddr,
        headers: &HeaderMap,
        body: &Members,
        wrong: impl Fn() -> Fault,
    ) -> Result<Self, Fault> {
        let session_id = body.required("sessionID")?;
        let token = body.required("desktopSessionToken")?;
        admit_page(node, headers, body)?;
        let shaped_id = shaped(session_id, &SESSION_ID_CHARS, &wrong);
        let shaped_token = shaped(token, &TOKEN_CHARS, &wrong);
        let (Ok(session_id), Ok(token)) = (shaped_id, shaped_token) else {
            take(node, address).await?;
            return Err(wrong());
        };
        Ok(Self { session_id, token: Secret::new(token), address })
    }

    /// Its running session. Who shows its token has an allowance of its own, whatever others do from the
    /// same address.
    pub(super) async fn session(&self, node: &Arc<Node>) -> Result<Arc<Handle>, Fault> {
        let id = session_key(&self.session_id, &node.keys.hash);
        if let Some(handle) = node.registry.find(id).filter(|h| self.is_its(node, h)) {
            self.take_own(node, id).await?;
            node.look_again(&handle).await.map_err(|_| Fault::store())?;
            return if handle.has_ended() { Err(Fault::no_session()) } else { Ok(handle) };
        }
        let taken = take(node, self.address).await;
        if taken.is_err() && node.cluster.is_none() {
            return Err(taken.err().unwrap_or_else(Fault::store));
        }
        let found = find(node, &self.session_id).await?;
        if let Some(handle) = found.as_ref().filter(|handle| self.is_its(node, handle)) {
            if taken.is_err() {
                // At another node it would be in memory, and would have had its own.
                self.take_own(node, id).await?;
            }
            return Ok(handle.clone());
        }
        taken?;
        Err(if found.is_some() { Fault::not_the_desktop() } else { Fault::no_session() })
    }

    async fn take_own(&self, node: &Node, id: belay_wire::SessionId) -> Result<(), Fault> {
        node.take_rate_of(CLASS, id).await.map_err(|delay| Fault::rate(CLASS, delay))
    }

    fn is_its(&self, node: &Node, handle: &Handle) -> bool {
        handle.session.lock().is_desktop(&self.token, &node.keys.hash)
    }
}

async fn take(node: &Node, address: IpAddr) -> Result<(), Fault> {
    node.take_rate(CLASS, address).await.map_err(|delay| Fault::rate(CLASS, delay))
}

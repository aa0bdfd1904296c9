//! What the calls have in common in which a desktop manages its session.

use std::{net::IpAddr, sync::Arc};

use axum::http::HeaderMap;
use belay_wire::{
    Secret,
    compat::{SESSION_ID_CHARS, TOKEN_CHARS},
};

use super::{Fault, admit, body::Members, find, shaped};
use crate::{
    node::{Node, RateClass},
    registry::Handle,
};

/// A desktop that names its session and its token.
pub(super) struct Desktop {
    pub(super) session_id: String,
    token: Secret,
}

impl Desktop {
    /// Reads who calls; `wrong` is what the call answers to a text that is no token.
    pub(super) fn admit(
        node: &Node,
        address: IpAddr,
        headers: &HeaderMap,
        body: &Members,
        wrong: impl Fn() -> Fault,
    ) -> Result<Self, Fault> {
        let session_id = body.required("sessionID")?;
        let token = body.required("desktopSessionToken")?;
        admit(node, RateClass::Management, address, headers, body)?;
        let session_id = shaped(session_id, &SESSION_ID_CHARS, &wrong)?;
        let token = Secret::new(shaped(token, &TOKEN_CHARS, &wrong)?);
        Ok(Self { session_id, token })
    }

    /// Its running session.
    pub(super) async fn session(&self, node: &Arc<Node>) -> Result<Arc<Handle>, Fault> {
        let handle = find(node, &self.session_id).await?.ok_or_else(Fault::no_session)?;
        let is_desktop = handle.session.lock().is_desktop(&self.token, &node.keys.hash);
        if is_desktop { Ok(handle) } else { Err(Fault::not_the_desktop()) }
    }
}

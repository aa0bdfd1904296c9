//! Who connects: the first frame of a socket, and whose token it holds.

use std::sync::Arc;

use belay_core::{
    session::{Attach, LeaseKey, desktop_hash},
    token::{Claims, Principal, TokenError},
};
use belay_wire::{
    ClientInfo, ConnectionId, Positions, Secret,
    compat::{Object, TOKEN_CHARS, is_token},
};

use super::{
    super::socket::{Incoming, Socket, Transport},
    Arrival, End, SHUTDOWN, end,
};
use crate::{entropy, http::compat::tell_refused, node::Node, registry::Handle};

/// Why a socket was not let in, for its client and for the numbers.
pub(super) struct Refusal {
    pub(super) end: End,
    pub(super) cause: &'static str,
}

const fn refuse(reason: &'static str, code: u16, cause: &'static str) -> Refusal {
    Refusal { end: end(reason, code), cause }
}

const fn expired(cause: &'static str) -> Refusal {
    refuse("session_expired", 1008, cause)
}

/// Waits for the token and finds whose it is.
pub(super) async fn authenticate<T: Transport>(
    node: &Arc<Node>,
    socket: &mut Socket<T>,
    arrival: &Arrival,
) -> Result<(Arc<Handle>, Attach), Refusal> {
    let token = match &arrival.token {
        Some(token) => token.clone(),
        None => first_token(node, socket).await?,
    };
    if !is_token(token.expose(), &TOKEN_CHARS) {
        return Err(refuse("auth_invalid", 4500, "invalid_auth_payload"));
    }
    let (handle, claims) = holder(node, &token).await?;
    if claims.principal != Principal::Host {
        let allowed = match &arrival.origin {
            Some(origin) => node.allowed.has(origin),
            None => node.allowed.has_none(),
        };
        if !allowed {
            tell_refused(arrival.origin.as_deref().unwrap_or("none"));
            return Err(refuse("origin_not_allowed", 4500, "mobile_origin_not_allowed"));
        }
    }
    let replaces = handle.session.lock().is_connected(claims.principal);
    let capacity = i64::try_from(node.config.connections_max).unwrap_or(i64::MAX);
    if node.metrics.active_websockets() >= capacity && !replaces {
        return Err(refuse("relay_over_capacity", 1013, "relay_over_capacity"));
    }
    let revoked_elsewhere = match claims.principal {
        Principal::Host => false,
        Principal::Member(member) => node.stores.revocations.contains(member),
    };
    let mut connection = [0; 16];
    entropy::fill(&mut connection);
    let connection = ConnectionId::from_bytes(connection);
    let text = || "compat".to_owned();
    let attach = Attach {
        connection,
        claims,
        client: ClientInfo {
            name: text(),
            version: text(),
            // Each socket is one instance: the newer one takes over.
            instance: connection.to_string(),
            attempt: 1,
        },
        resume: Positions::new(),
        base: Positions::new(),
        proof_valid: false,
        nonce_is_old: false,
        revoked_elsewhere,
        node: node.id.clone(),
        offer: false,
        compat: true,
        offered: None,
    };
    Ok((handle, attach))
}

async fn first_token<T: Transport>(
    node: &Arc<Node>,
    socket: &mut Socket<T>,
) -> Result<Secret, Refusal> {
    const CAUSE: &str = "invalid_auth_payload";
    let incoming = tokio::select! {
        incoming = socket.next() => incoming,
        () = tokio::time::sleep(node.config.auth_timeout) => {
            return Err(refuse("auth_timeout", 4500, "auth_timeout_or_missing_payload"));
        }
        () = node.stopping.cancelled() => {
            return Err(Refusal { end: SHUTDOWN, cause: "closed_before_auth" });
        }
    };
    let text = match incoming {
        Incoming::Text(text) => text,
        Incoming::Binary(_) => return Err(refuse("binary_not_supported", 1003, CAUSE)),
        Incoming::Malformed(_) => return Err(refuse("protocol_error", 1002, CAUSE)),
        Incoming::NotUtf8(_) => return Err(refuse("invalid_utf8", 1007, CAUSE)),
        Incoming::TooLarge => return Err(refuse("message_too_large", 1009, CAUSE)),
        Incoming::Gone(_) => {
            let cause = "auth_timeout_or_missing_payload";
            return Err(refuse("auth_required", 4500, cause));
        }
    };
    if serde_json::from_str::<serde::de::IgnoredAny>(text.as_str()).is_err() {
        return Err(refuse("invalid_json", 1003, CAUSE));
    }
    let object = Object::parse(text.as_str());
    let member = |name| object.as_ref().and_then(|o| o.text(name).ok().flatten());
    match (member("type").as_deref(), member("token")) {
        (Some("relay.auth"), Some(token)) => Ok(Secret::new(token)),
        _ => Err(refuse("auth_required", 4500, CAUSE)),
    }
}

/// Whose token it is. A device's names its session; a desktop's is looked up by its hash.
async fn holder(node: &Arc<Node>, token: &Secret) -> Result<(Arc<Handle>, Claims), Refusal> {
    let store = |_| refuse("store_unavailable", 1013, "store_unavailable");
    match node.keys.tokens.verify(token) {
        Ok(claims) if claims.principal != Principal::Host => {
            let handle = node.session(claims.session).await.map_err(store)?;
            let handle = handle.ok_or(expired("mobile_session_missing"))?;
            if handle.session.lock().record().compat.is_none() {
                // Of the other protocol, where a token is nothing without its key.
                return Err(refuse("auth_invalid", 4500, "invalid_auth_payload"));
            }
            Ok((handle, claims))
        }
        // Nothing is read for a token that no relay made.
        Ok(_) | Err(TokenError::Forged) => Err(expired("token_not_found")),
        Err(TokenError::UnknownKey) => Err(refuse("key_unavailable", 1013, "unknown_key")),
        Err(TokenError::Invalid) => {
            let key = LeaseKey::Desktop(desktop_hash(token, &node.keys.hash));
            let finding = node.stores.sessions.find_lease(key);
            let ids = node.observe(finding).await.map_err(store)?;
            let session = *ids.first().ok_or(expired("token_not_found"))?;
            let handle = node.session(session).await.map_err(store)?;
            let handle = handle.ok_or(expired("desktop_session_missing"))?;
            if !handle.session.lock().is_desktop(token, &node.keys.hash) {
                return Err(expired("token_not_found"));
            }
            let principal = Principal::Host;
            Ok((handle, Claims { session, principal, issued_at: 0, generation: 0, nonce: [0; 16] }))
        }
    }
}

//! From a fresh socket to an authenticated one: `hello`, `auth`, and the verdict.

use std::{sync::Arc, time::Duration};

use belay_core::{
    session::{Attach, OutFrame},
    token::{Principal, TokenError},
    verify_signature,
};
use belay_wire::{
    Auth, CloseCode, ConnectionId, Frame, Hello, LimitsView, UNAUTHENTICATED_BYTES_MAX, VERSIONS,
    proof::auth_transcript,
};

use super::socket::{Incoming, Socket, Transport};
use crate::{entropy, node::Node, registry::Handle};

/// Why a socket was not let in.
pub(super) struct Refusal {
    pub(super) code: CloseCode,
    pub(super) cause: &'static str,
}

const fn refuse(code: CloseCode, cause: &'static str) -> Refusal {
    Refusal { code, cause }
}

/// Reads `auth` and prepares the attach. What depends on the session's state is judged there.
pub(super) async fn handshake<T: Transport>(
    node: &Arc<Node>,
    socket: &mut Socket<T>,
    origin: &str,
) -> Result<(Arc<Handle>, Attach), Refusal> {
    let nonce = hello(node, socket).await?;
    let auth = read_auth(node, socket).await?;
    if !VERSIONS.contains(&auth.version.as_str()) {
        return Err(refuse(CloseCode::ProtocolError, "protocol_error"));
    }
    if auth.nonce != nonce {
        return Err(refuse(CloseCode::NotAuthenticated, "wrong_nonce"));
    }
    attach_of(node, auth, origin).await
}

async fn hello<T: Transport>(node: &Arc<Node>, socket: &mut Socket<T>) -> Result<String, Refusal> {
    let now = node.now();
    let nonce = node.keys.tokens.hello_nonce(&mut entropy::OsEntropy, now.unix_ms);
    let hello = Frame::from(Hello {
        nonce: nonce.clone(),
        versions: VERSIONS.iter().map(|v| (*v).to_owned()).collect(),
        limits: LimitsView {
            message_bytes: belay_wire::MESSAGE_BYTES_MAX,
            window_messages: belay_wire::WINDOW_MESSAGES_MAX,
            window_bytes: belay_wire::WINDOW_BYTES_MAX,
            log_messages: node.policy.log_messages,
            log_bytes: node.policy.log_bytes,
            log_age_ms: u64::try_from(node.policy.log_age.as_millis()).unwrap_or(u64::MAX),
        },
    });
    let written = socket.write(vec![OutFrame::Text(hello.encode().into())]).await;
    written.map_err(|_| refuse(CloseCode::ProtocolError, "closed_before_auth"))?;
    Ok(nonce)
}

async fn read_auth<T: Transport>(
    node: &Arc<Node>,
    socket: &mut Socket<T>,
) -> Result<Auth, Refusal> {
    let protocol_error = || refuse(CloseCode::ProtocolError, "protocol_error");
    let incoming = tokio::select! {
        incoming = socket.next() => incoming,
        () = tokio::time::sleep(node.config.auth_timeout) => {
            // Its network may have stalled: that is no reason to stop for good.
            return Err(refuse(CloseCode::Unavailable, "auth_timeout"));
        }
        () = node.stopping.cancelled() => {
            return Err(refuse(CloseCode::Unavailable, "closed_before_auth"));
        }
    };
    match incoming {
        Incoming::Text(text) if text.len() <= UNAUTHENTICATED_BYTES_MAX => {
            match belay_wire::decode(text.as_str()) {
                Ok(Frame::Auth(auth)) => Ok(auth),
                Ok(_) | Err(_) => Err(protocol_error()),
            }
        }
        Incoming::Gone(_) => Err(refuse(CloseCode::NotAuthenticated, "closed_before_auth")),
        Incoming::Text(_)
        | Incoming::Binary(_)
        | Incoming::Malformed(_)
        | Incoming::NotUtf8(_)
        | Incoming::TooLarge => Err(protocol_error()),
    }
}

async fn attach_of(
    node: &Arc<Node>,
    auth: Auth,
    origin: &str,
) -> Result<(Arc<Handle>, Attach), Refusal> {
    let claims = node.keys.tokens.verify(&auth.token).map_err(|error| match error {
        TokenError::Invalid | TokenError::Forged => {
            refuse(CloseCode::NotAuthenticated, "invalid_token")
        }
        TokenError::UnknownKey => refuse(CloseCode::Unavailable, "unknown_key"),
    })?;
    let handle = node
        .session(claims.session)
        .await
        .map_err(|_| refuse(CloseCode::Unavailable, "store_unavailable"))?
        .ok_or(refuse(CloseCode::UnknownDevice, "session_missing"))?;
    let key = handle.session.lock().key_of(claims.principal);
    let proof_valid = match (key, auth.proof) {
        (Some(key), Some(proof)) => {
            let principal = claims.principal.as_bytes();
            let transcript = auth_transcript(
                origin,
                claims.session,
                &principal,
                &auth.nonce,
                auth.token.expose(),
            );
            verify_signature(&key.sign, &transcript, &proof)
        }
        _ => false,
    };
    let revoked_elsewhere = match claims.principal {
        Principal::Host => false,
        Principal::Member(member) => node.stores.revocations.contains(member),
    };
    let mut connection = [0; 16];
    entropy::fill(&mut connection);
    let attach = Attach {
        connection: ConnectionId::from_bytes(connection),
        claims,
        client: auth.client,
        resume: auth.resume,
        base: auth.base,
        proof_valid,
        nonce_is_old: false,
        revoked_elsewhere,
        node: node.id.clone(),
        offer: false,
        compat: false,
        offered: None,
    };
    Ok((handle, attach))
}

/// How long a refused client should wait before it tries again.
pub(super) fn retry_delay(code: CloseCode) -> Duration {
    let spread = match code.verdict() {
        belay_wire::Verdict::Stop => return Duration::ZERO,
        belay_wire::Verdict::Reconnect | belay_wire::Verdict::Backoff => 1_000,
    };
    Duration::from_millis(250 + entropy::below(spread))
}

//! `/pair/start`: a desktop opens its session, or opens it once more.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{extract::State, http::HeaderMap};
use belay_core::{
    Session,
    ports::StoreError,
    session::{CompatRefresh, CompatStart, session_key},
};
use belay_wire::{
    Secret,
    compat::{SESSION_ID_CHARS, TOKEN_CHARS, parse_time},
};
use serde_json::json;
use url::Url;

use super::{
    Fault, admit,
    body::Members,
    find,
    pair::{Answer, renew, tally},
    shaped,
};
use crate::{
    http::{Peer, affinity::about},
    node::{Node, unix_ms},
};

/// How long a session stays without sockets and devices, in seconds: default and bounds.
const IDLE_SECS: u64 = 1_800;
const IDLE_BOUNDS: (u64, u64) = (60, 86_400);

/// A desktop opens a session.
pub(super) async fn start(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    headers: HeaderMap,
    body: Result<Members, Fault>,
) -> Answer {
    node.metrics.session_starts.inc();
    let answer = match wanted(&node, address, &headers, body).await {
        Ok(wanted) => open_or_renew(&node, wanted).await,
        Err(fault) => Err(fault),
    };
    tally(&node.metrics.session_start_failures, &node.metrics.session_start_successes, &answer);
    answer
}

/// What the body asks for.
async fn wanted(
    node: &Node,
    address: IpAddr,
    headers: &HeaderMap,
    body: Result<Members, Fault>,
) -> Result<CompatStart, Fault> {
    const KNOWN: &[&str] = &[
        "sessionID",
        "joinToken",
        "desktopSessionToken",
        "joinTokenExpiresAt",
        "idleTimeoutSeconds",
    ];
    let body = body?.only(KNOWN)?;
    let session_id = body.required("sessionID")?;
    let join_token = body.required("joinToken")?;
    let desktop_token = body.required("desktopSessionToken")?;
    let expires_at = body.required("joinTokenExpiresAt")?;
    let given_url = body.text("relayWebSocketURL")?;
    let idle = body.number("idleTimeoutSeconds")?.unwrap_or(IDLE_SECS);
    admit(node, address, headers, &body).await?;
    let wrong = || {
        let text = "sessionID, joinToken, desktopSessionToken and joinTokenExpiresAt are required.";
        Fault::new(400, "invalid_pair_start", text)
    };
    let session_id = shaped(session_id, &SESSION_ID_CHARS, wrong)?;
    let join_token = Secret::new(shaped(join_token, &TOKEN_CHARS, wrong)?);
    let desktop_token = Secret::new(shaped(desktop_token, &TOKEN_CHARS, wrong)?);
    let join_expires_at = parse_time(&expires_at).ok_or_else(wrong)?;
    if join_expires_at <= unix_ms() {
        return Err(Fault::expired());
    }
    let idle_secs = idle.clamp(IDLE_BOUNDS.0, IDLE_BOUNDS.1);
    let ws_url = given_url.as_deref().and_then(websocket_url);
    let ws_url = ws_url.unwrap_or_else(|| derived_url(node));
    Ok(CompatStart { session_id, desktop_token, join_token, join_expires_at, ws_url, idle_secs })
}

async fn open_or_renew(node: &Arc<Node>, wanted: CompatStart) -> Answer {
    let answer = |used: usize| {
        about(
            session_key(&wanted.session_id, &node.keys.hash),
            json!({
                "accepted": true,
                "sessionID": wanted.session_id,
                "wsURL": wanted.ws_url,
                "usedDevices": used,
                "allowedDevices": node.policy.devices_max,
            }),
        )
    };
    let there = match find(node, &wanted.session_id).await? {
        None if open(node, wanted.clone()).await? => return Ok(answer(0)),
        // Another call has just opened it.
        None => find(node, &wanted.session_id).await?.ok_or_else(Fault::store)?,
        Some(there) => there,
    };
    if !there.session.lock().is_desktop(&wanted.desktop_token, &node.keys.hash) {
        let text = "This session is in use by another desktop.";
        return Err(Fault::new(409, "session_already_active", text));
    }
    let refresh = CompatRefresh {
        join_token: wanted.join_token.clone(),
        join_expires_at: wanted.join_expires_at,
        ws_url: Some(wanted.ws_url.clone()),
        idle_secs: Some(wanted.idle_secs),
    };
    renew(node, &there, refresh).await?;
    let used = there.session.lock().record().active_devices().count();
    Ok(answer(used))
}

/// Stores a new session; `false`: one of its name is there already.
async fn open(node: &Arc<Node>, start: CompatStart) -> Result<bool, Fault> {
    let count = node.observe(node.stores.sessions.count()).await.map_err(|_| Fault::store())?;
    if count >= node.config.sessions_max {
        let text = "Relay holds as many sessions as it may.";
        return Err(Fault::new(503, "too_many_sessions", text).after(Duration::from_mins(1)));
    }
    let session = node.with_env(|env| Session::create_compat(start, env));
    let saving = node.stores.sessions.save(session.record().clone());
    match node.observe_write(saving).await {
        Ok(()) => {
            node.take_new(session).await;
            Ok(true)
        }
        Err(StoreError::Conflict) => Ok(false),
        Err(_) => Err(Fault::store()),
    }
}

/// An address that a desktop may name: `ws` or `wss`, without query and fragment.
fn websocket_url(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    if !matches!(url.scheme(), "ws" | "wss") || url.host_str().is_none() {
        return None;
    }
    if matches!(url.path(), "" | "/") {
        url.set_path("/ws");
    }
    url.set_query(None);
    url.set_fragment(None);
    Some(url.to_string())
}

/// The websocket address under which clients reach this relay.
fn derived_url(node: &Node) -> String {
    let base = node.config.public_urls.first().map_or("", String::as_str);
    // `http` becomes `ws`, `https` becomes `wss`.
    format!("ws{}/ws", base.trim_start_matches("http"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_websocket_addresses_are_taken_and_lose_query_and_fragment() {
        for (text, expected) in [
            ("wss://relay.example.org", Some("wss://relay.example.org/ws")),
            ("ws://relay.example.org:81/", Some("ws://relay.example.org:81/ws")),
            ("wss://relay.example.org/a/b?token=1#x", Some("wss://relay.example.org/a/b")),
            ("https://relay.example.org/ws", None),
            ("relay.example.org", None),
            ("", None),
        ] {
            assert_eq!(websocket_url(text).as_deref(), expected, "{text}");
        }
    }
}

//! `/pair/start`, `/pair/join`, `/pair/refresh`, `/pair/stop`.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::HeaderMap};
use belay_core::{
    Input, PairAnswer, Session,
    ports::StoreError,
    session::{CompatJoin, CompatRefresh, CompatStart, session_key},
};
use belay_wire::{
    Secret,
    compat::{SESSION_ID_CHARS, TOKEN_CHARS, parse_time},
};
use serde_json::{Value, json};
use url::Url;

use super::{Fault, admit, body::Members, desktop::Desktop, find, shaped};
use crate::{
    http::Peer,
    metrics::{Reasons, count},
    node::{Node, RateClass, unix_ms},
    registry::Handle,
};

/// How long a session stays without sockets and devices, in seconds: default and bounds.
const IDLE_SECS: u64 = 1_800;
const IDLE_BOUNDS: (u64, u64) = (60, 86_400);

type Answer = Result<Json<Value>, Fault>;

/// Counts how a call ended under its reason.
fn tally(
    failures: &Reasons,
    successes: &prometheus_client::metrics::counter::Counter,
    answer: &Answer,
) {
    match answer {
        Ok(_) => {
            successes.inc();
        }
        Err(fault) => count(failures, fault.error),
    }
}

/// A desktop opens a session.
pub(super) async fn start(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    headers: HeaderMap,
    body: Result<Members, Fault>,
) -> Answer {
    node.metrics.session_starts.inc();
    let answer = start_inner(&node, address, &headers, body).await;
    tally(&node.metrics.session_start_failures, &node.metrics.session_start_successes, &answer);
    answer
}

async fn start_inner(
    node: &Arc<Node>,
    address: std::net::IpAddr,
    headers: &HeaderMap,
    body: Result<Members, Fault>,
) -> Answer {
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
    admit(node, RateClass::Pairing, address, headers, &body)?;
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
    let answer = |used: usize| {
        let allowed = node.policy.devices_max;
        Json(json!({
            "accepted": true, "sessionID": session_id, "wsURL": ws_url, "usedDevices": used,
            "allowedDevices": allowed,
        }))
    };
    let opened = CompatStart {
        session_id: session_id.clone(),
        desktop_token: desktop_token.clone(),
        join_token: join_token.clone(),
        join_expires_at,
        ws_url: ws_url.clone(),
        idle_secs,
    };
    let there = match find(node, &session_id).await? {
        None if open(node, opened).await? => return Ok(answer(0)),
        // Another call has just opened it.
        None => find(node, &session_id).await?.ok_or_else(Fault::store)?,
        Some(there) => there,
    };
    if !there.session.lock().is_desktop(&desktop_token, &node.keys.hash) {
        let text = "This session is in use by another desktop.";
        return Err(Fault::new(409, "session_already_active", text));
    }
    let (ws_url, idle_secs) = (Some(ws_url.clone()), Some(idle_secs));
    let refresh = CompatRefresh { join_token, join_expires_at, ws_url, idle_secs };
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
            node.registry.add_new(session);
            Ok(true)
        }
        Err(StoreError::Conflict) => Ok(false),
        Err(_) => Err(Fault::store()),
    }
}

async fn renew(
    node: &Arc<Node>,
    handle: &Arc<Handle>,
    refresh: CompatRefresh,
) -> Result<(), Fault> {
    let (waiter, answer) = node.wait_unbounded(handle);
    let refresh = Box::new(refresh);
    node.drive_to_the_end(handle, Input::CompatRefresh { waiter: waiter.id, refresh });
    node.answered(answer).await?;
    Ok(())
}

/// A phone redeems the QR, and waits until its desktop decides.
pub(super) async fn join(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    headers: HeaderMap,
    body: Result<Members, Fault>,
) -> Answer {
    let joining = crate::http::pair::Joining::new(&node);
    let answer = join_inner(&node, address, &headers, body).await;
    joining.ended(answer.as_ref().err().map(|fault| fault.error));
    answer
}

async fn join_inner(
    node: &Arc<Node>,
    address: std::net::IpAddr,
    headers: &HeaderMap,
    body: Result<Members, Fault>,
) -> Answer {
    let body = body?.only(&["sessionID", "joinToken", "deviceName"])?;
    let session_id = body.required("sessionID")?;
    let join_token = body.required("joinToken")?;
    let device_name = body.text("deviceName")?;
    admit(node, RateClass::Pairing, address, headers, &body)?;
    let wrong = || Fault::new(400, "invalid_pair_join", "sessionID and joinToken are required.");
    let session_id = shaped(session_id, &SESSION_ID_CHARS, wrong)?;
    let join_token = Secret::new(shaped(join_token, &TOKEN_CHARS, wrong)?);
    if node.waiters() >= node.config.pair_waiters_max {
        return Err(Fault::waiters());
    }
    let handle = find(node, &session_id).await?.ok_or_else(Fault::no_session)?;
    let (waiter, answer) = node.wait(&handle).ok_or_else(Fault::waiters)?;
    let join = CompatJoin { join_token, device_name, address: address.to_canonical().to_string() };
    let input = Input::CompatJoin { waiter: waiter.id, join: Box::new(join) };
    node.drive_to_the_end(&handle, input);
    let PairAnswer::Joined(joined) = node.answered(answer).await? else {
        return Err(Fault::store());
    };
    let session = handle.session.lock();
    let ws_url = session.record().compat.as_ref().map(|c| c.ws_url.clone());
    Ok(Json(json!({
        "accepted": true,
        "sessionID": session_id,
        "deviceID": joined.device,
        "deviceSessionToken": joined.token.expose(),
        "wsURL": ws_url,
    })))
}

/// A desktop makes a new join token, also for one more device.
pub(super) async fn refresh(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    headers: HeaderMap,
    body: Result<Members, Fault>,
) -> Answer {
    node.metrics.code_refreshes.inc();
    let answer = refresh_inner(&node, address, &headers, body).await;
    tally(&node.metrics.code_refresh_failures, &node.metrics.code_refresh_successes, &answer);
    answer
}

async fn refresh_inner(
    node: &Arc<Node>,
    address: std::net::IpAddr,
    headers: &HeaderMap,
    body: Result<Members, Fault>,
) -> Answer {
    let known = ["sessionID", "joinToken", "joinTokenExpiresAt", "desktopSessionToken"];
    let body = body?.only(&known)?;
    let join_token = body.required("joinToken")?;
    let expires_at = body.required("joinTokenExpiresAt")?;
    let wrong = || {
        let text = "sessionID, joinToken, joinTokenExpiresAt and desktopSessionToken are required.";
        Fault::new(400, "invalid_pair_refresh", text)
    };
    let desktop = Desktop::admit(node, address, headers, &body, wrong)?;
    let join_token = Secret::new(shaped(join_token, &TOKEN_CHARS, wrong)?);
    let join_expires_at = parse_time(&expires_at).ok_or_else(wrong)?;
    if join_expires_at <= unix_ms() {
        return Err(Fault::expired());
    }
    let handle = desktop.session(node).await?;
    let refresh = CompatRefresh { join_token, join_expires_at, ws_url: None, idle_secs: None };
    renew(node, &handle, refresh).await?;
    let session = handle.session.lock();
    let ws_url = session.record().compat.as_ref().map(|c| c.ws_url.clone());
    let list = session.device_list(node.policy.devices_max);
    Ok(Json(json!({
        "accepted": true,
        "sessionID": desktop.session_id,
        "wsURL": ws_url,
        "usedDevices": list.used,
        "allowedDevices": list.allowed,
    })))
}

/// A desktop ends its session; one that is unknown is ended already.
pub(super) async fn stop(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    headers: HeaderMap,
    body: Result<Members, Fault>,
) -> Answer {
    let body = body?.only(&["sessionID", "desktopSessionToken"])?;
    let wrong = || {
        let text = "sessionID and desktopSessionToken are required.";
        Fault::new(400, "invalid_pair_stop", text)
    };
    let desktop = Desktop::admit(&node, address, &headers, &body, wrong)?;
    let answer = json!({ "accepted": true, "sessionID": desktop.session_id });
    match desktop.session(&node).await {
        Ok(_) => {}
        Err(fault) if fault.error == "session_not_found" => return Ok(Json(answer)),
        Err(fault) => return Err(fault),
    }
    let id = session_key(&desktop.session_id, &node.keys.hash);
    node.end_session(id, "stopped_by_desktop", false).await.map_err(|_| Fault::store())?;
    Ok(Json(answer))
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

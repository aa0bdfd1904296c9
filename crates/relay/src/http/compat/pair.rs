//! `/pair/join`, `/pair/refresh`, `/pair/stop`.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap};
use belay_core::{
    Input, PairAnswer,
    session::{CompatJoin, CompatRefresh, session_key},
};
use belay_wire::{
    Secret,
    compat::{SESSION_ID_CHARS, TOKEN_CHARS, parse_time},
};
use serde_json::{Value, json};

use super::{Fault, admit, body::Members, desktop::Desktop, find, shaped};
use crate::{
    http::{
        Peer,
        affinity::{About, about},
    },
    metrics::{Reasons, count},
    node::{Node, unix_ms},
    registry::Handle,
};

pub(super) type Answer = Result<About<Value>, Fault>;

/// Counts how a call ended under its reason.
pub(super) fn tally(
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

pub(super) async fn renew(
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
    admit(node, address, headers, &body).await?;
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
    Ok(about(
        handle.id,
        json!({
            "accepted": true,
            "sessionID": session_id,
            "deviceID": joined.device,
            "deviceSessionToken": joined.token.expose(),
            "wsURL": ws_url,
        }),
    ))
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
    let desktop = Desktop::admit(node, address, headers, &body, wrong).await?;
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
    Ok(about(
        handle.id,
        json!({
            "accepted": true,
            "sessionID": desktop.session_id,
            "wsURL": ws_url,
            "usedDevices": list.used,
            "allowedDevices": list.allowed,
        }),
    ))
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
    let desktop = Desktop::admit(&node, address, &headers, &body, wrong).await?;
    let answer = json!({ "accepted": true, "sessionID": desktop.session_id });
    let id = session_key(&desktop.session_id, &node.keys.hash);
    match desktop.session(&node).await {
        Ok(_) => {}
        Err(fault) if fault.error == "session_not_found" => return Ok(about(id, answer)),
        Err(fault) => return Err(fault),
    }
    node.end_session(id, "stopped_by_desktop", false).await.map_err(|_| Fault::store())?;
    Ok(about(id, answer))
}

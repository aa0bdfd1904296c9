//! The admin API: metrics, sessions, devices. Every call needs the bearer.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use belay_core::{Input, SessionRecord};
use belay_wire::{ConnectionId, DeviceListed, MemberId, SessionId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::{ApiError, bearer};
use crate::{node::Node, registry::Handle};

/// Sessions that one call lists.
const LIST_MAX: usize = 1_000;

/// Sessions that are read at once.
const LOADS_MAX: usize = 64;

/// Ended connections that one call lists.
const CLOSED_LISTED_MAX: usize = 100;

/// What only gives numbers.
const NUMBERS: [&str; 3] = ["/metrics", "/api/v1/esp32/metrics", "/admin/drain/status"];

/// Routes behind the bearer.
pub(super) fn routes(node: &Arc<Node>) -> Router<Arc<Node>> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/esp32/metrics", get(small_metrics))
        .merge(super::drain::routes())
        .route("/admin/connections/closed", get(closed))
        .route("/admin/connections/{connection}/why", get(why))
        .route("/admin/sessions", get(sessions))
        .route("/admin/sessions/{session}/devices", get(devices))
        .route("/admin/sessions/{session}/devices/{device}", delete(revoke))
        .layer(middleware::from_fn_with_state(node.clone(), authorise))
}

async fn authorise(
    State(node): State<Arc<Node>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let given = bearer(request.headers()).unwrap_or_default();
    let right: bool = given.as_bytes().ct_eq(node.admin_token.as_bytes()).into();
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    // These are read every few seconds; that it may is no news.
    if right && NUMBERS.contains(&&*path) {
        tracing::debug!(target: "audit", %method, %path, allowed = right, "admin call");
    } else {
        tracing::info!(target: "audit", %method, %path, allowed = right, "admin call");
    }
    if !right {
        return Err(ApiError::unauthorized(
            "expected `Authorization: Bearer` with ADMIN_TOKEN, or with what stands in \
             <data-dir>/admin-token",
        ));
    }
    Ok(next.run(request).await)
}

async fn metrics(State(node): State<Arc<Node>>) -> Response {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    node.take_stock().await;
    ([(header::CONTENT_TYPE, TYPE)], node.metrics.prometheus()).into_response()
}

async fn small_metrics(State(node): State<Arc<Node>>) -> Json<Value> {
    node.take_stock().await;
    Json(node.metrics.small(node.stores.log.damaged()))
}

/// The connections that ended last, newest first.
async fn closed(State(node): State<Arc<Node>>) -> Json<Value> {
    let closed = node.history.newest(CLOSED_LISTED_MAX).into_iter().map(|closed| {
        let time = belay_wire::compat::format_time(closed.ended_at);
        json!({ "endedTime": time, "closed": closed })
    });
    Json(json!({ "closed": closed.collect::<Vec<_>>() }))
}

/// Why a connection ended, in words, or that it is open.
async fn why(
    State(node): State<Arc<Node>>,
    Path(connection): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let wanted =
        "expected the id of a connection, as the log and `/admin/connections/closed` name it";
    let id: ConnectionId = connection.parse().map_err(|_| ApiError::invalid(wanted.to_owned()))?;
    if let Some(closed) = node.history.find(id) {
        return Ok(Json(json!({ "text": closed.explain(), "closed": closed })));
    }
    for handle in node.registry.all() {
        let session = handle.session.lock();
        let Some((_, client)) = session.who(id) else { continue };
        let (behind, name) = (session.lag(id), &client.name);
        let text = format!(
            "Connection {id} ({name} {}) of session {} is open; {behind} stored records wait to be sent to it.",
            client.version, handle.id,
        );
        return Ok(Json(json!({ "text": text })));
    }
    Err(ApiError::not_found(if node.cluster.is_some() {
        "no such connection: it never authenticated here, or 10,000 others ended since; each relay knows its own \
         only, so ask the others, too"
    } else {
        "no such connection: it never authenticated here, or 10,000 others ended since"
    }))
}

async fn sessions(State(node): State<Arc<Node>>) -> Result<Json<Value>, ApiError> {
    let listing = node.stores.sessions.list(None, LIST_MAX);
    let ids = node.observe(listing).await.map_err(|_| ApiError::store_unavailable())?;
    let mut rows = Vec::new();
    for some in ids.chunks(LOADS_MAX) {
        for record in join_all(some.iter().map(|id| node.load(*id))).await {
            let record = record.map_err(|_| ApiError::store_unavailable())?;
            rows.extend(record.map(|record| row(&record, node.policy.devices_max)));
        }
    }
    Ok(Json(json!({ "sessions": rows })))
}

/// What is stored of a session; nothing has to come into memory for it.
fn row(record: &SessionRecord, allowed: usize) -> Value {
    let compat = record.compat.as_ref();
    json!({
        "session": record.id,
        "protocol": if compat.is_some() { "compat" } else { "belay.v1" },
        "sessionID": compat.map(|c| &c.session_id),
        "host": record.host.name,
        "createdAt": record.created_at,
        "devices": record.active_devices().count(),
        "allowed": allowed,
    })
}

async fn devices(
    State(node): State<Arc<Node>>,
    Path(session): Path<String>,
) -> Result<Json<DeviceListed>, ApiError> {
    let handle = existing(&node, &session).await?;
    let list = handle.session.lock().device_list(node.policy.devices_max);
    Ok(Json(list))
}

async fn revoke(
    State(node): State<Arc<Node>>,
    Path((session, device)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let handle = existing(&node, &session).await?;
    let unknown = || ApiError::not_found("no such device in this session");
    let member: MemberId = device.parse().map_err(|_| unknown())?;
    if handle.session.lock().record().device(member).is_none() {
        return Err(unknown());
    }
    let _ = node.drive_to_the_end(&handle, Input::Revoke { member }).await;
    let stored =
        handle.session.lock().record().device(member).is_some_and(|d| d.revoked_at.is_some());
    if !stored {
        return Err(ApiError::store_unavailable());
    }
    let durable = node.stores.revocations.contains(member);
    Ok((StatusCode::OK, Json(json!({ "revoked": member, "durable": durable }))))
}

async fn existing(node: &Arc<Node>, session: &str) -> Result<Arc<Handle>, ApiError> {
    let unknown = || ApiError::not_found("no such session");
    let id = session.parse().map_err(|_| unknown())?;
    load(node, id).await?.ok_or_else(unknown)
}

async fn load(node: &Arc<Node>, id: SessionId) -> Result<Option<Arc<Handle>>, ApiError> {
    node.session(id).await.map_err(|_| ApiError::store_unavailable())
}

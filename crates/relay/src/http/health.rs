//! Is it alive, is it ready, what does it count.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use crate::{
    COMMIT, VERSION,
    node::{Node, unix_ms},
};

/// `GET /livez`: the process answers.
pub(super) async fn livez() -> Json<Value> {
    Json(json!({ "ok": true }))
}

/// `GET /readyz`: new connections can be served.
pub(super) async fn readyz(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    let (ok, why) = readiness(&node);
    (status(ok), Json(json!({ "ok": ok, "reason": why })))
}

/// `GET /healthz`, for anybody: no details.
pub(super) async fn healthz(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    let (ok, why) = readiness(&node);
    let body = json!({
        "ok": ok,
        "reason": why,
        "version": VERSION,
        "commit": COMMIT,
        "sessions": node.metrics.sessions.get(),
        "activeWebSockets": node.metrics.active_websockets(),
        "pendingJoinWaiters": node.metrics.pair_waiters.get(),
        "now": unix_ms(),
    });
    (status(ok), Json(body))
}

/// `GET /healthz` of the admin listener: with the state of what the node stands on.
pub(super) async fn healthz_details(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    let checked = node.observe(node.stores.sessions.check()).await;
    let (ok, why) = readiness(&node);
    let body = json!({
        "ok": ok,
        "reason": why,
        "version": VERSION,
        "commit": COMMIT,
        "node": node.id,
        "instance": node.config.instance,
        "region": node.config.region,
        "store": {
            "url": node.config.store.split(':').next(),
            "ok": checked.is_ok(),
            "error": checked.err().map(|e| e.to_string()),
        },
        "metrics": node.metrics.json(unix_ms()),
    });
    (status(ok), Json(body))
}

/// `GET /metricsz`: numbers only.
pub(super) async fn metricsz(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(node.metrics.json(unix_ms()))
}

fn readiness(node: &Node) -> (bool, Option<&'static str>) {
    if node.stopping.is_cancelled() {
        (false, Some("stopping"))
    } else if !node.store_ok.load(Ordering::Acquire) {
        (false, Some("store_unavailable"))
    } else {
        (true, None)
    }
}

const fn status(ok: bool) -> StatusCode {
    if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

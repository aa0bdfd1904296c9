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
        "busSubscriptions": 0,
        "crossInstanceBusEnabled": false,
        "redisPersistenceEnabled": false,
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
        "metrics": numbers(&node),
    });
    (status(ok), Json(body))
}

/// `GET /metricsz`: numbers only.
pub(super) async fn metricsz(State(node): State<Arc<Node>>) -> Json<Value> {
    Json(numbers(&node))
}

/// The numbers of the registry, and those that are counted where they are asked for.
fn numbers(node: &Node) -> Value {
    let mut numbers = node.metrics.json(unix_ms());
    let now = tokio::time::Instant::now().into_std();
    let (mut with_phone, mut device_tokens, mut commands, mut snapshots) = (0, 0, 0, 0);
    for handle in node.registry.all() {
        let session = handle.session.lock();
        let devices = session.record().active_devices().count();
        device_tokens += devices;
        with_phone += usize::from(session.connected_devices() > 0);
        let (of_commands, of_snapshots) = session.budgets(now);
        commands += of_commands;
        snapshots += of_snapshots;
    }
    if let Some(members) = numbers.as_object_mut() {
        for (name, value) in [
            ("sessionsWithMobile", json!(with_phone)),
            ("deviceTokens", json!(device_tokens)),
            ("rateLimitBuckets", json!(node.rates_kept())),
            ("commandRateLimitBuckets", json!(commands)),
            ("snapshotRateLimitBuckets", json!(snapshots)),
            // One node: nothing is shared with others.
            ("busSubscriptions", json!(0)),
            ("crossInstanceBusEnabled", json!(false)),
            ("redisPersistenceEnabled", json!(false)),
        ] {
            members.insert(name.to_owned(), value);
        }
    }
    numbers
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

//! `/admin/drain`: an operator sends the clients of this node away before it stops.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;

use super::{ApiError, body::JsonBody};
use crate::{
    drain::{Status, WINDOW_SECS_MAX},
    node::Node,
    serve::plain_name,
};

/// Longest reason of a drain, in bytes.
const REASON_BYTES_MAX: usize = 256;
/// Time that clients get if nobody says.
const WINDOW_SECS: u64 = 60;

pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/admin/drain/start", post(start))
        .route("/admin/drain/status", get(status))
        .route("/admin/drain/complete", post(complete))
        .route("/admin/drain/cancel", post(cancel))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    reason: String,
    #[serde(default)]
    max_session_age_seconds: Option<u64>,
    /// Where clients should go instead.
    #[serde(default)]
    endpoint: Option<String>,
    /// The `--instance` of another node that is to drain.
    #[serde(default)]
    node: Option<String>,
}

async fn start(
    State(node): State<Arc<Node>>,
    body: Result<JsonBody<Start>, ApiError>,
) -> Result<(StatusCode, Json<Status>), ApiError> {
    let Start { reason, max_session_age_seconds, endpoint, node: other } = body?.0;
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
        let text = format!("reason: expected 1 to {REASON_BYTES_MAX} bytes of text");
        return Err(ApiError::invalid(text));
    }
    let secs = max_session_age_seconds.unwrap_or(WINDOW_SECS);
    if !(1..=WINDOW_SECS_MAX).contains(&secs) {
        let text =
            format!("max_session_age_seconds: expected 1 to {WINDOW_SECS_MAX}, found {secs}");
        return Err(ApiError::invalid(text));
    }
    if endpoint.as_deref().is_some_and(|url| !url.starts_with("http")) {
        return Err(ApiError::invalid("endpoint: expected an http or https address".to_owned()));
    }
    if let Some(instance) =
        other.filter(|name| plain_name(name) != plain_name(&node.config.instance))
    {
        if let Err(names) = node.ask_to_drain(&instance, reason, secs, endpoint).await {
            let text =
                format!("no node of the name {instance} lives; there are {}", names.join(", "));
            return Err(ApiError::not_found(&text));
        }
        tracing::warn!(target: "audit", instance, seconds = secs, "drain start, at another node");
        return Ok((StatusCode::ACCEPTED, Json(node.drain_status())));
    }
    let sockets = node.metrics.active_websockets();
    tracing::warn!(target: "audit", reason, seconds = secs, sockets, "drain start");
    let began = node.drain.start("admin", reason, Duration::from_secs(secs), endpoint, sockets);
    if began {
        node.drain.keep(sockets);
    }
    Ok((StatusCode::ACCEPTED, Json(node.drain_status())))
}

async fn status(State(node): State<Arc<Node>>) -> Json<Status> {
    Json(node.drain_status())
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Then {
    /// Take clients again.
    Resume,
    /// End the process.
    #[default]
    Exit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete {
    #[serde(default)]
    then: Then,
    #[serde(default)]
    force: bool,
}

async fn complete(
    State(node): State<Arc<Node>>,
    body: Result<JsonBody<Complete>, ApiError>,
) -> Result<Json<Status>, ApiError> {
    let Complete { then, force } = body?.0;
    let status = node.drain_status();
    if status.started_at.is_none() {
        return Err(ApiError::conflict(
            "not_draining",
            "this node does not drain; start that first",
        ));
    }
    if status.sockets_now > 0 && !force {
        let text = "clients are still connected: wait until none is, or use force";
        return Err(ApiError::conflict("sockets_open", text));
    }
    match then {
        Then::Resume => {
            node.drain.keep(status.sockets_now);
            node.drain.end();
        }
        Then::Exit => node.exit.cancel(),
    }
    tracing::warn!(exit = then == Then::Exit, force, "drain completed");
    Ok(Json(status))
}

async fn cancel(State(node): State<Arc<Node>>) -> Result<Json<Status>, ApiError> {
    node.drain.keep(node.metrics.active_websockets());
    if !node.drain.end() {
        return Err(ApiError::conflict("not_draining", "this node does not drain"));
    }
    tracing::warn!("drain cancelled");
    Ok(Json(node.drain_status()))
}

impl Node {
    pub(super) fn drain_status(&self) -> Status {
        self.drain.status(self.metrics.active_websockets())
    }
}

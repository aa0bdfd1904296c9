//! `/admin/drain`: an operator sends the clients of this node, or of another one, away before it stops.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    ApiError,
    body::{JsonBody, JsonOrNothing},
};
use crate::{
    config::INSTANCE_MAX,
    drain::WINDOW_SECS_MAX,
    node::{NoDrain, Node},
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
) -> Result<(StatusCode, Json<Value>), ApiError> {
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
    if let Some(instance) = other_than(&node, other)? {
        let asked = node.ask_to_drain(&instance, reason, secs, endpoint).await;
        let status = asked.map_err(|why| untold(&instance, why))?;
        return Ok((StatusCode::ACCEPTED, Json(status)));
    }
    node.begin_drain("admin", &reason, Duration::from_secs(secs), endpoint);
    Ok((StatusCode::ACCEPTED, Json(node.drain_status())))
}

/// Which node is meant; none: the one that is asked.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    node: Option<String>,
}

async fn status(
    State(node): State<Arc<Node>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(which) = which.map_err(|error| ApiError::invalid(error.body_text()))?;
    match other_than(&node, which.node)? {
        None => Ok(Json(node.drain_status())),
        Some(name) => node.drain_of(&name).await.map(Json).map_err(|why| untold(&name, why)),
    }
}

/// The name of another node, if one is named.
fn other_than(node: &Node, name: Option<String>) -> Result<Option<String>, ApiError> {
    let fits = |name: &String| (1..=INSTANCE_MAX).contains(&name.chars().count());
    if !name.as_ref().is_none_or(fits) {
        return Err(ApiError::invalid(format!("node: expected 1 to {INSTANCE_MAX} characters")));
    }
    Ok(name.filter(|name| !node.is_called(name)))
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
) -> Result<Json<Value>, ApiError> {
    let Complete { then, force } = body?.0;
    let status = node.drain_status();
    if status["state"] == "active" {
        return Err(ApiError::conflict(
            "not_draining",
            "this node does not drain; start that first",
        ));
    }
    if status["state"] != "drained" && !force {
        let text = "clients are still connected: wait until none is, or use force";
        return Err(ApiError::conflict("sockets_open", text));
    }
    match then {
        Then::Resume => {
            node.end_drain("admin");
        }
        Then::Exit => node.exit.cancel(),
    }
    tracing::warn!(exit = then == Then::Exit, force, "drain completed");
    Ok(Json(status))
}

async fn cancel(
    State(node): State<Arc<Node>>,
    body: Result<JsonOrNothing<Which>, ApiError>,
) -> Result<Json<Value>, ApiError> {
    let named = body?.0.node;
    let is_named = named.is_some();
    if let Some(name) = other_than(&node, named)? {
        return node.ask_to_resume(&name).await.map(Json).map_err(|why| untold(&name, why));
    }
    if !node.end_drain("admin") && !is_named {
        return Err(ApiError::conflict("not_draining", "this node does not drain"));
    }
    Ok(Json(node.drain_status()))
}

/// Why another node did not say.
fn untold(instance: &str, why: NoDrain) -> ApiError {
    match why {
        NoDrain::Unknown(names) => {
            let there = names.join(", ");
            ApiError::not_found(format!(
                "no node of the name \"{instance}\" lives; there are {there}"
            ))
        }
        NoDrain::Deaf(why) => ApiError::no_answer(format!(
            "no other node is heard here ({why}), so {instance} did not confirm; look at its own admin \
             listener, or ask again when the bus is back"
        )),
        NoDrain::Silent { lives } => ApiError::no_answer(if lives {
            format!(
                "{instance} lives and did not say how it stands: it hangs, the two do not hear each other \
                 (cluster.faults in /healthz says more), or it is of an earlier version, which does what \
                 it is asked without a word; look at its own admin listener before you stop it"
            )
        } else {
            format!(
                "no node of the name \"{instance}\" is heard, and nobody knows who lives while the store \
                 is away; ask it at its own admin listener"
            )
        }),
    }
}

//! The HTTP calls of desktops and web clients in the field.

mod answer;
mod body;
mod cors;
mod desktop;
mod devices;
mod pair;
mod start;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use belay_core::session::session_key;
use belay_wire::compat::is_token;

use crate::{
    node::{Node, RateClass},
    registry::Handle,
};
use answer::Fault;
use body::Members;

pub(crate) use cors::Allowed;
pub(super) use cors::preflight;

/// Routes of the compat protocol.
pub(super) fn routes(node: &Arc<Node>) -> Router<Arc<Node>> {
    Router::new()
        .route("/pair/start", post(start::start).options(cors::preflight))
        .route("/pair/join", post(pair::join).options(cors::preflight))
        .route("/pair/refresh", post(pair::refresh).options(cors::preflight))
        .route("/pair/stop", post(pair::stop).options(cors::preflight))
        .route("/devices/list", post(devices::list).options(cors::preflight))
        .route("/devices/revoke", post(devices::revoke).options(cors::preflight))
        .method_not_allowed_fallback(answer::wrong_method)
        .layer(middleware::from_fn_with_state(node.clone(), unless_draining))
        .layer(middleware::from_fn_with_state(node.clone(), mark))
}

/// Answers carry what a browser of an allowed origin needs to read them.
pub(super) async fn mark(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let origin = origin_of(request.headers());
    let mut response = next.run(request).await;
    node.allowed.mark(origin.as_deref(), response.headers_mut());
    response
}

/// A relay that stops takes no calls.
async fn unless_draining(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    if node.stopping.is_cancelled() || node.drain.is_on() {
        node.refuse_upgrade();
        return Fault::draining().into_response();
    }
    next.run(request).await
}

/// The `Origin` of a request; text that is none is an origin that nobody allows.
pub(crate) fn origin_of(headers: &HeaderMap) -> Option<String> {
    headers.get(header::ORIGIN).map(|v| v.to_str().unwrap_or("null").to_owned())
}

/// Version, origin and allowance of a pairing call. Native clients send no origin, pages one that is
/// allowed.
async fn admit(
    node: &Node,
    address: IpAddr,
    headers: &HeaderMap,
    body: &Members,
) -> Result<(), Fault> {
    admit_page(node, headers, body)?;
    let class = RateClass::Pairing;
    node.take_rate(class, address).await.map_err(|delay| Fault::rate(class, delay))
}

/// Version and origin alone.
fn admit_page(node: &Node, headers: &HeaderMap, body: &Members) -> Result<(), Fault> {
    body.schema()?;
    if let Some(origin) = origin_of(headers).filter(|origin| !node.allowed.has(origin)) {
        tell_refused(&origin);
        return Err(Fault::origin());
    }
    Ok(())
}

/// Without this line an operator sees nothing: the browser keeps the answer from its page.
pub(crate) fn tell_refused(origin: &str) {
    let origin: String = origin.chars().take(100).collect();
    tracing::info!(?origin, "a page is refused: its origin is not in ALLOWED_ORIGINS");
}

/// A session by the id that its desktop made.
async fn find(node: &Arc<Node>, session_id: &str) -> Result<Option<Arc<Handle>>, Fault> {
    let id = session_key(session_id, &node.keys.hash);
    node.session(id).await.map_err(|_| Fault::store())
}

/// A token of the body in its form, or the endpoint's own error.
fn shaped(
    text: String,
    range: &std::ops::RangeInclusive<usize>,
    fault: impl Fn() -> Fault,
) -> Result<String, Fault> {
    if is_token(&text, range) { Ok(text) } else { Err(fault()) }
}

//! HTTP: routes of both listeners, errors, and what handlers take from a request.

mod admin;
pub(crate) mod affinity;
mod body;
pub(crate) mod compat;
mod drain;
mod error;
mod health;
mod page;
mod pair;
mod session;

use std::{net::IpAddr, sync::Arc};

pub(crate) use axum::Router;
use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};

pub(crate) use error::ApiError;

use crate::{metrics::Request as RequestLabels, node::Node, ws};

/// The client's address, put into each request by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| ApiError::internal("no peer address"))
    }
}

/// Routes that anybody may reach.
pub(crate) fn public(node: &Arc<Node>) -> Router {
    let pairing = Router::new()
        .route("/v1/sessions", post(session::create))
        .route("/v1/sessions/{session}/code", post(session::code))
        .route("/v1/pair", post(pair::start))
        .route("/v1/pair/{request}", post(pair::reveal))
        .layer(middleware::from_fn_with_state(node.clone(), own_origin_only));
    let mut router = Router::new()
        .merge(pairing)
        .merge(compat::routes(node))
        .merge(reads(node))
        .fallback(page::serve);
    if node.config.admin_on_public {
        router = router.merge(admin::routes(node));
    }
    router = router.layer(middleware::from_fn_with_state(node.clone(), affinity::hint));
    finish(router, node)
}

/// What is asked with GET; pages of allowed origins may read the numbers.
fn reads(node: &Arc<Node>) -> Router<Arc<Node>> {
    Router::new()
        .route("/healthz", get(health::healthz).options(compat::preflight))
        .route("/metricsz", get(health::metricsz).options(compat::preflight))
        .layer(middleware::from_fn_with_state(node.clone(), compat::mark))
        .route("/ws", get(ws::upgrade))
        .route("/health", get(health::healthz))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .method_not_allowed_fallback(error::use_get)
}

/// Routes of the admin listener; all but health need the bearer.
pub(crate) fn admin(node: &Arc<Node>) -> Router {
    let router = Router::new()
        .merge(admin::routes(node))
        .route("/healthz", get(health::healthz_details))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .fallback(error::not_found);
    finish(router, node)
}

fn finish(router: Router<Arc<Node>>, node: &Arc<Node>) -> Router {
    router.layer(middleware::from_fn_with_state(node.clone(), account)).with_state(node.clone())
}

/// Counts each request and adds the headers that every answer carries.
async fn account(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let endpoint = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("page".into(), |path| path.as_str().to_owned().into());
    let method = method_label(request.method().as_str()).into();
    let started = tokio::time::Instant::now();
    let mut response = next.run(request).await;
    node.metrics.request_seconds.observe(started.elapsed().as_secs_f64());
    let status = response.status().as_u16();
    node.metrics.requests.get_or_create(&RequestLabels { endpoint, method, status }).inc();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn method_label(method: &str) -> &'static str {
    const KNOWN: &[&str] = &["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT"];
    KNOWN.iter().find(|known| **known == method).copied().unwrap_or("other")
}

/// Refuses calls of pages from other origins, and of host names that are not ours.
async fn own_origin_only(
    State(node): State<Arc<Node>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    request_origin(&node, request.headers())?;
    if node.stopping.is_cancelled() || node.drain.is_on() {
        node.refuse_upgrade();
        return Err(ApiError::draining());
    }
    Ok(next.run(request).await)
}

/// The origin that a request is bound to.
pub(crate) fn request_origin(node: &Node, headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name| headers.get(name).map(|v: &HeaderValue| v.to_str().unwrap_or("null"));
    let (origin, host) = (text(header::ORIGIN), text(header::HOST));
    node.origins.of_request(origin, host).ok_or_else(ApiError::forbidden_origin)
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

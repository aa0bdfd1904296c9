//! `GET /ws`: from an HTTP request to a websocket (RFC 6455, section 4.2).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use belay_wire::SUBPROTOCOL;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{connection, guard::Unauthenticated, socket::Socket};
use crate::{
    http::{ApiError, Peer},
    metrics::count,
    node::Node,
};

/// Upgrades a request and starts the task that owns the socket.
pub(crate) async fn upgrade(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    request: Request,
) -> Result<Response, ApiError> {
    if request.uri().query().is_some() {
        return Err(ApiError::invalid(
            "/ws takes no query string: credentials go in the first frame only",
        ));
    }
    let key = check_headers(request.headers())?;
    let origin = own_origin(&node, request.headers())?;
    if node.stopping.is_cancelled() {
        return Err(ApiError::draining());
    }
    let Some(place) = Unauthenticated::take(&node, address) else {
        count(&node.metrics.auth_failures, "over_capacity");
        return Err(ApiError::over_capacity());
    };
    node.metrics.connections.inc();
    let upgrading = hyper::upgrade::on(request);
    let shared = node.clone();
    node.tasks.spawn(async move {
        if let Ok(upgraded) = upgrading.await {
            let socket = Socket::new(TokioIo::new(upgraded)).await;
            connection::run(shared, socket, origin, place).await;
        }
    });
    Ok((
        StatusCode::SWITCHING_PROTOCOLS,
        [
            (header::CONNECTION, "Upgrade".to_owned()),
            (header::UPGRADE, "websocket".to_owned()),
            (header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes())),
            (header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL.to_owned()),
        ],
    )
        .into_response())
}

/// The origin that the client's proof is bound to.
fn own_origin(node: &Node, headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name| headers.get(name).map(|v: &header::HeaderValue| v.to_str().unwrap_or("null"));
    let (origin, host) = (text(header::ORIGIN), text(header::HOST));
    node.origins.of_request(origin, host).ok_or_else(|| {
        count(&node.metrics.auth_failures, "origin_not_allowed");
        ApiError::forbidden_origin()
    })
}

/// Checks the handshake headers and gives the key.
fn check_headers(headers: &HeaderMap) -> Result<String, ApiError> {
    let one = |name: header::HeaderName| -> Result<&str, ApiError> {
        let mut values = headers.get_all(&name).iter();
        let value = values.next().and_then(|v| v.to_str().ok());
        match (value, values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(ApiError::invalid(format!("expected exactly one {name} header"))),
        }
    };
    let has = |text: &str, word: &str| text.split(',').any(|t| t.trim().eq_ignore_ascii_case(word));
    if !has(one(header::UPGRADE)?, "websocket") || !has(one(header::CONNECTION)?, "upgrade") {
        return Err(ApiError::invalid("/ws expects a websocket upgrade"));
    }
    if one(header::SEC_WEBSOCKET_VERSION)? != "13" {
        return Err(ApiError::invalid("expected Sec-WebSocket-Version 13"));
    }
    if headers.contains_key(header::TRANSFER_ENCODING)
        || headers.contains_key(header::CONTENT_LENGTH)
    {
        return Err(ApiError::invalid("an upgrade request has no body"));
    }
    if !has(one(header::SEC_WEBSOCKET_PROTOCOL)?, SUBPROTOCOL) {
        return Err(ApiError::invalid(format!("this relay speaks the subprotocol {SUBPROTOCOL}")));
    }
    Ok(one(header::SEC_WEBSOCKET_KEY)?.to_owned())
}

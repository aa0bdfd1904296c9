//! `GET /ws`: from an HTTP request to a websocket (RFC 6455, section 4.2).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use belay_wire::{SUBPROTOCOL, Secret};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    compat::{self, Arrival},
    connection,
    guard::Unauthenticated,
    socket::Socket,
};
use crate::{
    http::{ApiError, Peer, compat::origin_of},
    metrics::count,
    node::Node,
};

/// Upgrades a request and starts the task that owns the socket.
pub(crate) async fn upgrade(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    request: Request,
) -> Result<Response, ApiError> {
    let key = check_headers(request.headers())?;
    let speaks = protocol(&node, &request)?;
    if node.stopping.is_cancelled() || node.drain.is_on() {
        node.refuse_upgrade();
        return Err(ApiError::draining());
    }
    let Some(place) = Unauthenticated::take(&node, address) else {
        node.metrics.auth_attempts.inc();
        count(&node.metrics.auth_failures, "over_capacity");
        return Err(ApiError::over_capacity());
    };
    node.metrics.connections.inc();
    let upgrading = hyper::upgrade::on(request);
    let shared = node.clone();
    let v1 = matches!(speaks, Speaks::V1 { .. });
    node.tasks.spawn(async move {
        let Ok(upgraded) = upgrading.await else {
            return count(&shared.metrics.auth_failures, "closed_before_auth");
        };
        let stream = TokioIo::new(upgraded);
        match speaks {
            Speaks::V1 { origin } => {
                let socket = Socket::new(stream);
                connection::run(shared, socket, origin, place).await;
            }
            Speaks::Compat(arrival) => {
                let limit = shared.config.ws_message_bytes_max;
                let socket = Socket::with_limit(stream, limit);
                compat::run(shared, socket, arrival, place).await;
            }
        }
    });
    let mut response = (
        StatusCode::SWITCHING_PROTOCOLS,
        [
            (header::CONNECTION, "Upgrade".to_owned()),
            (header::UPGRADE, "websocket".to_owned()),
            (header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes())),
        ],
    )
        .into_response();
    if v1 {
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    Ok(response)
}

/// What a client speaks.
enum Speaks {
    V1 { origin: String },
    Compat(Arrival),
}

/// Who names the subprotocol speaks belay.v1; who names none is in the field already.
fn protocol(node: &Node, request: &Request) -> Result<Speaks, ApiError> {
    let headers = request.headers();
    let query = request.uri().query();
    let refused = || {
        Err(ApiError::invalid("/ws takes no query string: credentials go in the first frame only"))
    };
    if let Some(named) = headers.get(header::SEC_WEBSOCKET_PROTOCOL) {
        let has = named.to_str().is_ok_and(|n| has(n, SUBPROTOCOL));
        if !has || headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().count() > 1 {
            let text = format!("this relay speaks the subprotocol {SUBPROTOCOL}");
            return Err(ApiError::invalid(text));
        }
        if query.is_some() {
            return refused();
        }
        return Ok(Speaks::V1 { origin: own_origin(node, headers)? });
    }
    let token = match query {
        None => None,
        Some(query) if node.config.legacy_query_token => {
            let pairs = url::form_urlencoded::parse(query.as_bytes());
            let token = pairs.into_iter().find(|(name, _)| name == "token");
            token.map(|(_, token)| Secret::new(token))
        }
        Some(_) => return refused(),
    };
    Ok(Speaks::Compat(Arrival { origin: origin_of(headers), token }))
}

fn has(text: &str, word: &str) -> bool {
    text.split(',').any(|t| t.trim().eq_ignore_ascii_case(word))
}

/// The origin that the client's proof is bound to.
fn own_origin(node: &Node, headers: &HeaderMap) -> Result<String, ApiError> {
    let host = headers.get(header::HOST).map(|v| v.to_str().unwrap_or("null"));
    node.origins.of_request(origin_of(headers).as_deref(), host).ok_or_else(|| {
        node.metrics.auth_attempts.inc();
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
    Ok(one(header::SEC_WEBSOCKET_KEY)?.to_owned())
}

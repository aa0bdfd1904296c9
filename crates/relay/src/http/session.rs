//! Making sessions and pairing codes.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use belay_core::{Input, PairAnswer, Session, token::Principal, verify_signature};
use belay_wire::{
    Bytes64, Secret, SessionId,
    pair::{CodeMade, CreateSession, SessionCreated, check_name},
    proof::http_transcript,
};

use super::{
    ApiError, Peer,
    affinity::{About, about},
    bearer,
    body::JsonBody,
    request_origin,
};
use crate::{
    metrics::count,
    node::{CallError, Node, RateClass, unix_ms},
    registry::Handle,
};

/// Header with `<unix ms>.<signature>` over the call.
const PROOF_HEADER: &str = "belay-proof";
/// How far the clock of a host may be off when it signs a call.
const PROOF_SKEW_MS: u64 = 60_000;

/// `POST /v1/sessions`.
pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    body: Result<JsonBody<CreateSession>, ApiError>,
) -> Result<(StatusCode, About<SessionCreated>), ApiError> {
    node.metrics.session_starts.inc();
    let result = create_inner(&node, address, body).await;
    match &result {
        Ok(_) => {
            node.metrics.session_start_successes.inc();
        }
        Err(error) => count(&node.metrics.session_start_failures, error.name),
    }
    result.map(|created| (StatusCode::CREATED, about(created.session, created)))
}

async fn create_inner(
    node: &Arc<Node>,
    address: std::net::IpAddr,
    body: Result<JsonBody<CreateSession>, ApiError>,
) -> Result<SessionCreated, ApiError> {
    node.take_rate(RateClass::Pairing, address).await.map_err(ApiError::rate_limited)?;
    let host = body?.0.host;
    check_name("host.name", &host.name).map_err(ApiError::invalid)?;
    check_name("host.platform", &host.platform).map_err(ApiError::invalid)?;
    let count = node.observe(node.stores.sessions.count()).await;
    if count.map_err(|_| ApiError::store_unavailable())? >= node.config.sessions_max {
        return Err(ApiError::too_many_sessions());
    }
    let (session, created) = node.with_env(|env| Session::create(host, env));
    let saving = node.stores.sessions.save(session.record().clone());
    node.observe_write(saving).await.map_err(|_| ApiError::store_unavailable())?;
    node.take_new(session).await;
    Ok(created)
}

/// `POST /v1/sessions/{session}/code`.
pub(super) async fn code(
    State(node): State<Arc<Node>>,
    Path(session): Path<String>,
    headers: HeaderMap,
) -> Result<About<CodeMade>, ApiError> {
    node.metrics.code_refreshes.inc();
    let result = code_inner(&node, &session, &headers).await;
    match &result {
        Ok(_) => {
            node.metrics.code_refresh_successes.inc();
        }
        Err(error) => count(&node.metrics.code_refresh_failures, error.name),
    }
    result
}

async fn code_inner(
    node: &Arc<Node>,
    session: &str,
    headers: &HeaderMap,
) -> Result<About<CodeMade>, ApiError> {
    let id = session.parse().map_err(|_| ApiError::not_found("no such session"))?;
    let handle = authenticate_host(node, id, headers).await?;
    let (waiter, answer) = node.wait(&handle).ok_or_else(ApiError::over_capacity)?;
    node.drive_to_the_end(&handle, Input::NewCode { waiter: waiter.id });
    match node.answered(answer).await {
        Ok(PairAnswer::Code(made)) => Ok(about(id, made)),
        Ok(_) => Err(ApiError::internal("no code was answered")),
        Err(error) => Err(error.into()),
    }
}

/// The session whose host signed this call with its registered key.
async fn authenticate_host(
    node: &Arc<Node>,
    id: SessionId,
    headers: &HeaderMap,
) -> Result<Arc<Handle>, ApiError> {
    let refused = || ApiError::unauthorized("expected the host's token and its signature");
    let token = Secret::new(bearer(headers).ok_or_else(refused)?);
    let claims = node.keys.tokens.verify(&token).map_err(|_| refused())?;
    if claims.session != id || claims.principal != Principal::Host {
        return Err(refused());
    }
    let handle = node
        .session(id)
        .await
        .map_err(|_| ApiError::from(CallError::Store))?
        .ok_or_else(refused)?;
    let proof = headers.get(PROOF_HEADER).and_then(|v| v.to_str().ok()).ok_or_else(refused)?;
    let (at, signature) = proof.split_once('.').ok_or_else(refused)?;
    let at: u64 = at.parse().map_err(|_| refused())?;
    let signature: Bytes64 = signature.parse().map_err(|_| refused())?;
    let origin = request_origin(node, headers)?;
    let call = format!("POST /v1/sessions/{id}/code");
    let transcript = http_transcript(&origin, id, &call, at, token.expose());
    let key = handle.session.lock().record().host.key.ok_or_else(refused)?;
    if at.abs_diff(unix_ms()) > PROOF_SKEW_MS
        || !verify_signature(&key.sign, &transcript, &signature)
    {
        return Err(refused());
    }
    Ok(handle)
}

//! The phone's two calls: redeem a link or code, then open the commitment and wait.

use std::{net::IpAddr, sync::Arc};

use axum::extract::{Path, State};
use belay_core::{Input, PairAnswer, PairError, session::LeaseKey};
use belay_wire::{
    RequestId,
    pair::{PairStarted, Paired, RevealPair, StartPair, check_name},
};

use super::{
    ApiError, Peer,
    affinity::{About, about},
    body::JsonBody,
};
use crate::{
    metrics::count,
    node::{CallError, Node, RateClass},
    registry::Handle,
};

/// Counts a call that was neither answered nor refused: its phone hung up.
pub(super) struct Joining {
    node: Arc<Node>,
    ended: bool,
}

impl Joining {
    pub(super) fn new(node: &Arc<Node>) -> Self {
        node.metrics.pair_joins.inc();
        Self { node: node.clone(), ended: false }
    }

    /// The call is answered: with a device, or with an error of this name.
    pub(super) fn ended(mut self, error: Option<&'static str>) {
        self.ended = true;
        match error {
            None => {
                self.node.metrics.pair_join_successes.inc();
            }
            Some(name) => count(&self.node.metrics.pair_join_failures, name),
        }
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        if !self.ended {
            count(&self.node.metrics.pair_join_failures, "hung_up");
        }
    }
}

/// `POST /v1/pair`.
pub(super) async fn start(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    body: Result<JsonBody<StartPair>, ApiError>,
) -> Result<About<PairStarted>, ApiError> {
    let result = start_inner(&node, address, body).await;
    if let Err(error) = &result {
        node.metrics.pair_joins.inc();
        count(&node.metrics.pair_join_failures, error.name);
    }
    result
}

async fn start_inner(
    node: &Arc<Node>,
    address: IpAddr,
    body: Result<JsonBody<StartPair>, ApiError>,
) -> Result<About<PairStarted>, ApiError> {
    node.take_rate(RateClass::Pairing, address).await.map_err(ApiError::rate_limited)?;
    let start = body?.0;
    check_name("device.name", &start.device.name).map_err(ApiError::invalid)?;
    check_name("device.platform", &start.device.platform).map_err(ApiError::invalid)?;
    let handles = find_lease(node, &start).await?;
    // A link that names no lease was good once; a code may never have been.
    let nothing = match start.code {
        Some(_) => PairError::CodeWrong,
        None => PairError::CodeExpired,
    };
    let mut last = Err(ApiError::from(CallError::Pair(nothing)));
    for handle in handles {
        last = start_in(node, &handle, start.clone(), address).await;
        // A typed code may share its first characters with another session's.
        let wrong = matches!(&last, Err(error) if error.name == "code_wrong");
        if !wrong {
            break;
        }
    }
    last
}

async fn start_in(
    node: &Arc<Node>,
    handle: &Arc<Handle>,
    start: StartPair,
    address: IpAddr,
) -> Result<About<PairStarted>, ApiError> {
    let (waiter, answer) = node.wait(handle).ok_or_else(ApiError::over_capacity)?;
    let (waiter_id, address) = (waiter.id, address.to_canonical().to_string());
    let input = Input::StartPair { waiter: waiter_id, start: Box::new(start), address };
    node.drive_to_the_end(handle, input);
    match node.answered(answer).await {
        Ok(PairAnswer::Started(started)) => Ok(about(handle.id, started)),
        Ok(_) => Err(ApiError::internal("pairing was not started")),
        Err(error) => Err(error.into()),
    }
}

async fn find_lease(node: &Arc<Node>, start: &StartPair) -> Result<Vec<Arc<Handle>>, ApiError> {
    let key = match (&start.rendezvous, &start.code) {
        (Some(rendezvous), None) => LeaseKey::rendezvous(*rendezvous, &node.keys.hash),
        (None, Some(code)) => LeaseKey::code(code, &node.keys.hash).ok_or_else(|| {
            ApiError::invalid("a pairing code has 8 letters and digits, as the desktop shows it")
        })?,
        _ => return Err(ApiError::invalid("expected exactly one of rendezvous and code")),
    };
    let finding = node.stores.sessions.find_lease(key);
    let ids = node.observe(finding).await.map_err(|_| ApiError::store_unavailable())?;
    let mut handles = Vec::new();
    for id in ids {
        let session = node.session(id).await.map_err(|_| ApiError::store_unavailable())?;
        handles.extend(session);
    }
    Ok(handles)
}

/// `POST /v1/pair/{request}`.
pub(super) async fn reveal(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    Path(request): Path<String>,
    body: Result<JsonBody<RevealPair>, ApiError>,
) -> Result<About<Paired>, ApiError> {
    let joining = Joining::new(&node);
    let result = reveal_inner(&node, address, &request, body).await;
    joining.ended(result.as_ref().err().map(|error| error.name));
    result
}

async fn reveal_inner(
    node: &Arc<Node>,
    address: IpAddr,
    request: &str,
    body: Result<JsonBody<RevealPair>, ApiError>,
) -> Result<About<Paired>, ApiError> {
    node.take_rate(RateClass::Pairing, address).await.map_err(ApiError::rate_limited)?;
    let unknown = || ApiError::from(CallError::Pair(PairError::RequestUnknown));
    let request: RequestId = request.parse().map_err(|_| unknown())?;
    let reveal = Box::new(body?.0);
    let finding = node.stores.sessions.find_lease(LeaseKey::Request(request));
    let ids = node.observe(finding).await.map_err(|_| ApiError::store_unavailable())?;
    let session = *ids.first().ok_or_else(unknown)?;
    let session = node.session(session).await.map_err(|_| ApiError::store_unavailable())?;
    let handle = session.ok_or_else(unknown)?;
    let (waiter, answer) = node.wait(&handle).ok_or_else(ApiError::over_capacity)?;
    let input = Input::RevealPair { waiter: waiter.id, request, reveal };
    node.drive_to_the_end(&handle, input);
    match node.answered(answer).await {
        Ok(PairAnswer::Paired(paired)) => Ok(about(handle.id, paired)),
        Ok(_) => Err(ApiError::internal("pairing was not answered")),
        Err(error) => Err(error.into()),
    }
}

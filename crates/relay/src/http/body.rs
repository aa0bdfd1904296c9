//! JSON bodies with a bound on size and time, and errors that name the member.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
};
use belay_wire::depth_exceeds;
use serde::de::DeserializeOwned;

use super::ApiError;

/// Largest body: pairing bodies have a few hundred bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Deepest nesting: pairing bodies have two levels.
const BODY_DEPTH_MAX: usize = 16;

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

/// A JSON body that may be left out.
#[derive(Debug)]
pub(super) struct JsonOrNothing<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let text = read(request).await?;
        if text.trim().is_empty() {
            return Err(ApiError::invalid("the body is empty; send a JSON object"));
        }
        parse(&text).map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonOrNothing<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let text = read(request).await?;
        if text.trim().is_empty() { Ok(Self(T::default())) } else { parse(&text).map(Self) }
    }
}

async fn read(request: Request) -> Result<String, ApiError> {
    let reading = to_bytes(request.into_body(), BODY_BYTES_MAX);
    let bytes = tokio::time::timeout(BODY_TIMEOUT, reading)
        .await
        .map_err(|_| ApiError::too_slow())?
        .map_err(|_| ApiError::too_large(BODY_BYTES_MAX))?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::invalid("the body is not UTF-8"))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    if depth_exceeds(text, BODY_DEPTH_MAX) {
        return Err(ApiError::invalid("the body nests too deeply"));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|e| ApiError::invalid(format!("the body is not as expected: {e}")))?;
    json.end().map_err(|e| ApiError::invalid(format!("the body goes on too long: {e}")))?;
    Ok(value)
}

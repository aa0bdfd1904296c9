//! Errors of the HTTP API: a stable name, a text for a person, and a private cause that stays here.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use belay_core::PairError;
use belay_wire::pair::ApiErrorBody;

use crate::node::CallError;

/// An error of a call.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// Stable name; also the reason label of metrics.
    pub(crate) name: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

impl ApiError {
    fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self { status, name, message: message.into(), retry_after: None }
    }

    fn after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Something in the request is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        let text = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", text)
    }

    pub(crate) fn too_slow() -> Self {
        let text = "the body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", text)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// What is asked does not fit what is.
    pub(crate) fn conflict(name: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, name, message)
    }

    /// Another node does not answer.
    pub(crate) fn no_answer(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "no_answer", message)
    }

    pub(crate) fn forbidden_origin() -> Self {
        let text = "this address is not one that the relay answers as; open the link that the \
                    desktop shows, or add the address with --public-url";
        Self::new(StatusCode::FORBIDDEN, "origin_not_allowed", text)
    }

    pub(crate) fn rate_limited(delay: Duration) -> Self {
        let text = "too many pairing calls from this address; wait a little";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", text).after(delay)
    }

    pub(crate) fn over_capacity() -> Self {
        let text = "the relay holds as many connections as it may; try again shortly";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "over_capacity", text)
            .after(Duration::from_secs(1))
    }

    pub(crate) fn too_many_sessions() -> Self {
        let text = "the relay holds as many sessions as it may; ask its operator";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_sessions", text)
    }

    pub(crate) fn draining() -> Self {
        let text = "the relay is restarting; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", text).after(Duration::from_secs(1))
    }

    pub(crate) fn store_unavailable() -> Self {
        let text = "the relay cannot reach its store now; try again in a moment";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", text)
            .after(Duration::from_secs(1))
    }

    /// A fault of ours; the cause is logged, not told.
    pub(crate) fn internal(cause: &str) -> Self {
        tracing::error!(cause, "internal error");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the relay has a fault; see its log",
        )
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Store => Self::store_unavailable(),
            CallError::Stopping => Self::draining(),
            CallError::Pair(error) => {
                Self::new(pair_status(error), error.label(), error.to_string())
            }
        }
    }
}

fn pair_status(error: PairError) -> StatusCode {
    match error {
        PairError::CodeExpired | PairError::CodeBurnt | PairError::RequestUnknown => {
            StatusCode::GONE
        }
        PairError::CodeWrong | PairError::Rejected | PairError::Mismatch => StatusCode::FORBIDDEN,
        PairError::CodeUsed
        | PairError::HostOffline
        | PairError::DeviceLimit { .. }
        | PairError::JoinInProgress { .. }
        | PairError::HostLeft
        | PairError::Conflict => StatusCode::CONFLICT,
        PairError::ApprovalExpired => StatusCode::REQUEST_TIMEOUT,
        PairError::TooManyWaiters => StatusCode::TOO_MANY_REQUESTS,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let retry_after_ms =
            self.retry_after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let body =
            ApiErrorBody { error: self.name.to_owned(), message: self.message, retry_after_ms };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let value = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}

/// The answer where there is nothing.
pub(super) async fn not_found() -> ApiError {
    ApiError::not_found("there is nothing at this address")
}

/// The answer to another method than GET where there is only that.
pub(super) async fn use_get() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "use GET")
}

//! Errors in the words that clients in the field know.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use belay_core::PairError;
use belay_wire::compat::format_time;
use serde_json::{Map, Value};

use crate::node::{CallError, RateClass};

/// An error of a call: status, stable name, text for a person, and further members.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    pub(super) error: &'static str,
    message: String,
    retry_after: Option<Duration>,
    more: Map<String, Value>,
}

impl Fault {
    pub(super) fn new(status: u16, error: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            error,
            message: message.into(),
            retry_after: None,
            more: Map::new(),
        }
    }

    pub(super) fn after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    pub(super) fn body(status: u16, message: impl Into<String>) -> Self {
        Self::new(status, "invalid_request", message)
    }

    pub(super) fn origin() -> Self {
        Self::new(403, "origin_not_allowed", "Origin is not allowed.")
    }

    pub(super) fn rate(class: RateClass, delay: Duration) -> Self {
        let text = match class {
            RateClass::Pairing => "Too many pairing attempts. Try again in a minute.",
            RateClass::Management => "Too many relay management requests. Try again in a minute.",
        };
        Self::new(429, "rate_limited", text).after(delay)
    }

    pub(super) fn schema() -> Self {
        let text = "Only schemaVersion 1 and 2 are supported.";
        Self::new(400, "unsupported_schema_version", text)
    }

    pub(super) fn no_session() -> Self {
        Self::new(404, "session_not_found", "Remote session not found.")
    }

    pub(super) fn not_the_desktop() -> Self {
        Self::new(403, "invalid_desktop_session_token", "Desktop session token is invalid.")
    }

    pub(super) fn expired() -> Self {
        Self::new(400, "expired_join_token", "joinTokenExpiresAt must be in the future.")
    }

    pub(super) fn store() -> Self {
        let text = "Relay cannot reach its store. Retry shortly.";
        Self::new(503, "store_unavailable", text).after(Duration::from_secs(1))
    }

    pub(super) fn draining() -> Self {
        let text = "Relay is restarting. Retry shortly.";
        Self::new(503, "draining", text).after(Duration::from_secs(1))
    }

    pub(super) fn waiters() -> Self {
        let text = "Relay is handling too many pending pairing approvals. Retry shortly.";
        Self::new(503, "pairing_backpressure", text).after(Duration::from_secs(1))
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Store => Self::store(),
            CallError::Stopping => Self::draining(),
            CallError::Pair(error) => of_pairing(error),
        }
    }
}

fn of_pairing(error: PairError) -> Fault {
    match error {
        PairError::CodeWrong | PairError::CodeBurnt | PairError::Mismatch => {
            Fault::new(403, "invalid_join_token", "Join token is invalid.")
        }
        PairError::CodeExpired => Fault::new(410, "join_token_expired", "Join token has expired."),
        PairError::CodeUsed => {
            let text = "Join token has already been redeemed. Start a new session from desktop.";
            Fault::new(409, "join_token_already_used", text)
        }
        PairError::HostOffline => {
            let text =
                "Desktop is not connected to relay. Re-open Remote Control on desktop and retry.";
            Fault::new(409, "desktop_not_connected", text)
        }
        PairError::HostLeft => {
            let text = "Desktop disconnected before pairing could be approved.";
            Fault::new(409, "desktop_not_connected", text)
        }
        PairError::DeviceLimit { used, allowed } => {
            let text = format!("This session allows at most {allowed} connected devices.");
            let mut fault = Fault::new(409, "device_cap_reached", text);
            fault.more.insert("used".to_owned(), used.into());
            fault.more.insert("allowed".to_owned(), allowed.into());
            fault
        }
        PairError::JoinInProgress { request, expires_at } => {
            let text = "A pairing approval request is already pending on desktop.";
            let mut fault = Fault::new(409, "pair_request_in_progress", text);
            fault.more.insert("requestID".to_owned(), request.to_string().into());
            fault.more.insert("expiresAt".to_owned(), format_time(expires_at).into());
            fault
        }
        PairError::Rejected => {
            Fault::new(403, "pair_request_denied", "Desktop denied this pairing request.")
        }
        PairError::ApprovalExpired | PairError::RequestUnknown | PairError::Conflict => {
            Fault::new(408, "pair_request_timed_out", "Desktop pairing approval timed out.")
        }
        PairError::TooManyWaiters => Fault::waiters(),
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body.insert("error".to_owned(), self.error.into());
        body.insert("message".to_owned(), self.message.into());
        let mut response = (self.status, Json(body)).into_response();
        if let Some(delay) = self.retry_after {
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A known path with another method.
pub(super) async fn wrong_method() -> Fault {
    Fault::new(405, "method_not_allowed", "Use POST.")
}

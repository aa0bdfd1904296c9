//! Bodies: what is wrong with one is named, and `null` is the same as absent.

use std::{sync::Arc, time::Duration};

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    http::header,
};
use belay_wire::compat::{Object, SCHEMA_VERSIONS};

use super::Fault;
use crate::node::Node;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Members that every call may carry.
const EVERYWHERE: [&str; 2] = ["relayWebSocketURL", "schemaVersion"];

/// The members of a body.
#[derive(Debug)]
pub(super) struct Members(Object);

impl FromRequest<Arc<Node>> for Members {
    type Rejection = Fault;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self, Fault> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let is_json = kind.is_some_and(|kind| {
            kind.split(';')
                .next()
                .is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json"))
        });
        let limit = node.config.json_bytes_max;
        let reading = to_bytes(request.into_body(), limit);
        let bytes = tokio::time::timeout(BODY_TIMEOUT, reading)
            .await
            .map_err(|_| Fault::body(408, "The body did not arrive in time."))?
            .map_err(|_| Fault::body(413, format!("The body has more than {limit} bytes.")))?;
        if !is_json {
            return Err(Fault::body(415, "Content-Type must be application/json."));
        }
        let text =
            std::str::from_utf8(&bytes).map_err(|_| Fault::body(400, "The body is not UTF-8."))?;
        if text.trim().is_empty() {
            return Err(Fault::body(400, "The body is empty; send a JSON object."));
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            return Err(Fault::body(400, format!("Invalid JSON body: {error}.")));
        }
        let object = Object::parse(text).ok_or_else(|| {
            Fault::body(422, "The body must be one JSON object without repeated members.")
        })?;
        Ok(Self(object))
    }
}

impl Members {
    /// Checks that there is no member but these.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Fault> {
        let all: Vec<&str> = known.iter().copied().chain(EVERYWHERE).collect();
        match self.0.unknown(&all) {
            Some(name) => Err(Fault::body(422, format!("Unknown field {name}."))),
            None => Ok(self),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        self.0.text(name).map_err(|_| Fault::body(422, format!("{name} must be text.")))
    }

    pub(super) fn required(&self, name: &str) -> Result<String, Fault> {
        self.text(name)?.ok_or_else(|| Fault::body(422, format!("{name} is required.")))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Fault> {
        let wrong = |_| Fault::body(422, format!("{name} must be a whole number."));
        self.0.number(name).map_err(wrong)
    }

    /// Checks the version that a client says it speaks.
    pub(super) fn schema(&self) -> Result<(), Fault> {
        match self.number("schemaVersion")? {
            Some(version) if !SCHEMA_VERSIONS.contains(&version) => Err(Fault::schema()),
            _ => Ok(()),
        }
    }
}

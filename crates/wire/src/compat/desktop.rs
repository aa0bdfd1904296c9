//! What a desktop sends.

use super::Object;
use crate::{JSON_DEPTH_MAX, RawJson, depth_exceeds};

/// A text frame of a desktop.
#[derive(Debug, Clone, PartialEq)]
pub enum FromDesktop {
    /// It decides about a phone that waits.
    PairDecision { session_id: Option<String>, request_id: String, approved: bool },
    /// It authenticates a second time: the token must not be passed on.
    Auth,
    /// Anything else goes to its phones as it came.
    Forward { session_id: Option<String>, envelope: RawJson },
    /// Not JSON.
    Malformed,
}

impl FromDesktop {
    /// Reads a frame.
    pub fn parse(text: &str) -> Self {
        if depth_exceeds(text, JSON_DEPTH_MAX) {
            return Self::Malformed;
        }
        let Ok(envelope) = serde_json::from_str::<RawJson>(text) else { return Self::Malformed };
        let Some(object) = Object::parse(text) else {
            return Self::Forward { session_id: None, envelope };
        };
        let session_id = object.text("sessionID").ok().flatten();
        match object.text("type").ok().flatten().as_deref() {
            Some("relay.auth") => Self::Auth,
            Some("relay.pair_decision") => Self::PairDecision {
                session_id,
                request_id: object.text("requestID").ok().flatten().unwrap_or_default(),
                approved: object.get("approved").is_some_and(|v| v.text() == "true"),
            },
            _ => Self::Forward { session_id, envelope },
        }
    }
}

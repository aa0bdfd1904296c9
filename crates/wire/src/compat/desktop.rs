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
    /// Not JSON, or an object with a member twice: two readers could take different ones, and one of
    /// them a token.
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
            let is_object = envelope.text().starts_with('{');
            return if is_object {
                Self::Malformed
            } else {
                Self::Forward { session_id: None, envelope }
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_authentication_is_never_passed_on_however_it_is_written() {
        for text in [
            r#"{"type":"relay.auth","token":"x"}"#,
            r#" {"token":"x", "type" : "relay.\u0061uth"}"#,
        ] {
            assert_eq!(FromDesktop::parse(text), FromDesktop::Auth, "{text}");
        }
        for text in [
            r#"{"type":"relay.auth","token":"x","token":"y"}"#,
            r#"{"type":"x","type":"relay.auth","token":"y"}"#,
            " {\"type\":\"relay.auth\",\"type\":\"x\"}",
            "{",
        ] {
            assert_eq!(FromDesktop::parse(text), FromDesktop::Malformed, "{text}");
        }
    }

    #[test]
    fn other_json_goes_to_the_phones_as_it_came() {
        for text in ["[1, 2]", "7", r#"{"a" : 1.50}"#] {
            let FromDesktop::Forward { session_id: None, envelope } = FromDesktop::parse(text)
            else {
                panic!("{text} is passed on")
            };
            assert_eq!(envelope.text(), text);
        }
    }
}

//! Bodies of the pairing and session endpoints.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::{
    Bytes32, Bytes64, MemberId, NAME_BYTES_MAX, PublicKey, RendezvousId, RequestId, Secret,
    SessionId,
};

/// What a phone or browser says of itself when it pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct DeviceInfo {
    pub name: String,
    pub platform: String,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostInfo {
    pub name: String,
    pub platform: String,
    pub public_key: PublicKey,
}

/// Checks a name that people will read on another screen: 1 to [`NAME_BYTES_MAX`] bytes, no
/// control characters (they could rewrite a terminal line).
///
/// # Errors
/// What to do about it, in words.
pub fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err(format!("{what} is empty; give a name that people will recognise"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("{what} is longer than {NAME_BYTES_MAX} bytes; shorten it"));
    }
    if name.chars().any(is_hidden) {
        return Err(format!("{what} contains control or direction characters; remove them"));
    }
    Ok(())
}

/// A character that is not drawn, or that moves or reorders others.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `POST /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct CreateSession {
    pub host: HostInfo,
}

/// The answer to [`CreateSession`].
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct SessionCreated {
    pub session: SessionId,
    pub host_token: Secret,
    pub rendezvous: RendezvousId,
    pub code: Secret,
    /// Unix milliseconds.
    pub expires_at: u64,
}

/// The answer to `POST /v1/sessions/{id}/code`.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct CodeMade {
    pub rendezvous: RendezvousId,
    pub code: Secret,
    /// Unix milliseconds.
    pub expires_at: u64,
}

/// `POST /v1/pair`: names a join lease by `rendezvous` (QR) or `code` (typed), exactly one.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
#[ts(optional_fields)]
pub struct StartPair {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendezvous: Option<RendezvousId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Secret>,
    pub device: DeviceInfo,
    /// Hash over both halves of the phone's key and its opening.
    pub commit: Bytes32,
}

/// The answer to [`StartPair`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PairStarted {
    pub request: RequestId,
    pub host_name: String,
    pub host_public_key: PublicKey,
    pub host_nonce: Bytes32,
    /// The lease's own id, an input of the comparison code.
    pub rendezvous: RendezvousId,
    /// Unix milliseconds.
    pub expires_at: u64,
}

/// `POST /v1/pair/{request}`: opens the commitment and waits for the desktop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevealPair {
    pub public_key: PublicKey,
    pub opening: Bytes32,
}

/// The answer to [`RevealPair`] once the desktop approved.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Paired {
    pub session: SessionId,
    pub member: MemberId,
    pub token: Secret,
    /// The host's signature over request, key hash and expiry: the phone checks that its own key
    /// was approved.
    pub signature: Bytes64,
    /// Unix milliseconds; part of what was signed.
    pub approval_expires_at: u64,
}

/// How a pairing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PairOutcome {
    Paired,
    Rejected,
    Expired,
    /// A second key came within the wait: both are denied.
    Conflict,
    /// What the phone opened is not what it had committed to.
    Mismatch,
    /// The session holds its limit of devices.
    DeviceLimit,
    /// The desktop's connection ended before it decided.
    HostGone,
}

/// Body of every HTTP error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct ApiErrorBody {
    /// A stable name.
    pub error: String,
    /// What happened and what to do, for a person.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_deceive_a_reader_are_refused() {
        assert!(check_name("name", "Ana's phone 📱").is_ok());
        for bad in ["", "  ", "a\u{1b}[2Jb", "abc\u{202e}def", "x\ny", &"x".repeat(129)] {
            assert!(check_name("name", bad).is_err(), "{bad:?}");
        }
    }
}

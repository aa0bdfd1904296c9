//! How a request fails, and what the broker answers.

use serde::{Deserialize, de::DeserializeOwned};

/// How a request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CallError {
    /// Nothing was sent.
    #[error("there is no connection to NATS")]
    Away,
    /// Nobody is there to do it.
    #[error("nobody answers for it: no leader, or no such stream")]
    Nobody,
    /// Nothing was sent: it cannot be.
    #[error("the message is too large for the NATS server")]
    TooLarge,
    /// It was sent, perhaps.
    #[error("NATS did not answer in time")]
    Late,
    /// It was sent, perhaps.
    #[error("the connection to NATS was lost")]
    Lost,
    /// The answer says no.
    #[error("NATS refused: {description} ({code})")]
    Refused { code: u64, description: String },
    /// The answer cannot be read.
    #[error("the answer of NATS cannot be read: {0}")]
    Garbled(String),
    /// A relay of a newer version wrote what is there.
    #[error("a newer version of belay wrote it (format {0}): update this relay")]
    Newer(u8),
}

impl CallError {
    /// Tells whether the same request to another replica fails, too.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Nobody | Self::Refused { .. } | Self::Garbled(_))
    }

    /// Tells whether the stream that was asked is not there.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Nobody | Self::Refused { code: codes::STREAM_NOT_FOUND, .. })
    }
}

/// Codes of refusals.
pub(super) mod codes {
    pub(in super::super) const NO_PEERS: u64 = 10_005;
    pub(in super::super) const NO_MESSAGE: u64 = 10_037;
    pub(in super::super) const NOT_FOR_ACCOUNT: u64 = 10_039;
    pub(in super::super) const NAME_EXISTS: u64 = 10_058;
    pub(in super::super) const STREAM_NOT_FOUND: u64 = 10_059;
    pub(in super::super) const OTHER_STREAM: u64 = 10_060;
    pub(in super::super) const OVERLAP: u64 = 10_065;
    pub(in super::super) const OTHER_SEQUENCE: u64 = 10_071;
    pub(in super::super) const REPLICAS: u64 = 10_074;
    pub(in super::super) const NOT_ENABLED: u64 = 10_076;
    /// Of another entry of the subject it is not known yet whether it will be stored.
    pub(in super::super) const IN_FLIGHT: u64 = 10_164;
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Reads an answer that may be a refusal.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CallError> {
    #[derive(Deserialize)]
    struct Error {
        error: Refusal,
    }
    if let Ok(Error { error }) = serde_json::from_slice(payload) {
        let Refusal { err_code: code, description } = error;
        return Err(CallError::Refused { code, description });
    }
    serde_json::from_slice(payload).map_err(|e| CallError::Garbled(e.to_string()))
}

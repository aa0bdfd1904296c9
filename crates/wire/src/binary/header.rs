//! The JSON headers of binary frames: what a text frame says beside its payload.

use serde::{Deserialize, Serialize};

use crate::{From, Seq};

/// The header of a binary durable message. A writer may leave it out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MsgHeader {
    /// Volatile messages of this key that came before are outdated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Bits that the application gives a meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<u32>,
    /// Its former names, oldest first, at most [`crate::FORMER_NAMES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<crate::Position>,
    /// When the relay stored it, Unix milliseconds; set by the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// Who wrote it; set by the relay, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<From>,
}

/// The header of a binary volatile message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolHeader {
    /// The last durable number of the channel's epoch when the message was made.
    pub after: Seq,
    /// What it is the newest value of, at most [`crate::KEY_BYTES_MAX`] bytes.
    pub key: String,
}

macro_rules! header {
    ($($name:ident),+) => {$(
        impl $name {
            /// Reads a header; `None` if it is not one.
            pub fn decode(text: &str) -> Option<Self> {
                serde_json::from_str(text).ok()
            }

            /// The header as JSON text.
            pub fn encode(&self) -> String {
                serde_json::to_string(self).unwrap_or_default()
            }
        }
    )+};
}
header!(MsgHeader, VolHeader);

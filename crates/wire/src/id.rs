//! Identifiers: 128 random bits, written as 22 characters of base64url without padding.
//!
//! An id holds bytes, not text, so nothing that was parsed as one can carry a separator into a
//! storage key, a bus subject or a log line.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ts_rs::TS;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of 22 base64url characters")]
pub struct IdError;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, TS)]
        #[ts(type = "string")]
        pub struct $name([u8; 16]);

        impl $name {
            /// Makes an id from 16 bytes, which the caller draws at random.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes of this id.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&BASE64URL.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                decode(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) fn decode<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    if text.len() != (N * 4).div_ceil(3) {
        return Err(IdError);
    }
    let mut bytes = [0; N];
    match BASE64URL.decode_slice(text, &mut bytes) {
        Ok(n) if n == N => Ok(bytes),
        _ => Err(IdError),
    }
}

id! {
    /// One host and the members that may talk with it.
    SessionId
}
id! {
    /// A participant of a session that is not its host; for a paired device also its device id.
    /// Made new by every pairing and never used again.
    MemberId
}
id! {
    /// One websocket, from its upgrade to its end.
    ConnectionId
}
id! {
    /// One attempt of a phone to pair.
    RequestId
}
id! {
    /// The one-time address of a join lease, carried by the QR.
    RendezvousId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_round_trips_through_its_text() {
        let id = SessionId::from_bytes(*b"0123456789abcdef");

        let text = id.to_string();

        assert_eq!(text.len(), 22);
        assert_eq!(text.parse::<SessionId>(), Ok(id));
    }

    #[test]
    fn texts_of_wrong_length_alphabet_or_spare_bits_are_refused() {
        for text in [
            "",
            "abc",
            "MDEyMzQ1Njc4OWFiY2RlZg==",
            "*DEyMzQ1Njc4OWFiY2RlZg",
            "MDEyMzQ1Njc4OWFiY2RlZh",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(IdError), "{text}");
        }
    }
}

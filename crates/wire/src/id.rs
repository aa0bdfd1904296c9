//! Identifiers: 128 random bits, written as 22 characters of base64url without padding.
//!
//! An id holds bytes, not text, so nothing that was parsed as one can carry a separator into a
//! storage key, a bus subject or a log line.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};

/// Why a text is not an id, key, hash or signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {chars} base64url characters without padding")]
pub struct IdError {
    /// How many characters the bytes have as text.
    pub chars: usize,
}

pub(crate) fn decode<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let chars = (N * 4).div_ceil(3);
    let mut bytes = [0; N];
    match BASE64URL.decode_slice(text, &mut bytes) {
        Ok(n) if n == N && text.len() == chars => Ok(bytes),
        _ => Err(IdError { chars }),
    }
}

/// A newtype of bytes that is base64url in text and JSON.
macro_rules! base64url {
    ($(#[$meta:meta])* $visibility:vis $name:ident, $len:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ts_rs::TS)]
        #[ts(type = "string")]
        pub struct $name($visibility [u8; $len]);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use base64::Engine as _;
                f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::id::decode(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use base64url;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        base64url! { $(#[$meta])* pub(self) $name, 16 }

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
    };
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
            assert_eq!(text.parse::<SessionId>(), Err(IdError { chars: 22 }), "{text}");
        }
    }
}

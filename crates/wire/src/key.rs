//! Fixed-size byte strings of keys, hashes and signatures, in base64url without padding.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ts_rs::TS;

use crate::id::decode;

macro_rules! fixed {
    ($(#[$meta:meta])* $name:ident, $len:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, TS)]
        #[ts(type = "string")]
        pub struct $name(pub [u8; $len]);

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
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                decode(text).map(Self).map_err(|_| {
                    format!("expected {} bytes in base64url without padding", $len)
                })
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

fixed! {
    /// 32 bytes: a commitment, an opening, a nonce, or one half of a public key.
    Bytes32, 32
}
fixed! {
    /// 64 bytes: an Ed25519 signature (RFC 8032).
    Bytes64, 64
}
fixed! {
    /// SHA-256 over both halves of a [`PublicKey`]; what the QR pins.
    KeyHash, 32
}

/// The public key of a host or device: one half to sign, one to agree on secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    /// Ed25519 public key (RFC 8032).
    pub sign: Bytes32,
    /// X25519 public key (RFC 7748); end-to-end encryption starts from it.
    pub agree: Bytes32,
}

//! Fixed-size byte strings of keys, hashes and signatures, in base64url without padding.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::id::base64url;

base64url! {
    /// 32 bytes: a commitment, an opening, a nonce, or one half of a public key.
    pub Bytes32, 32
}
base64url! {
    /// 64 bytes: an Ed25519 signature (RFC 8032).
    pub Bytes64, 64
}
base64url! {
    /// SHA-256 over both halves of a [`PublicKey`]; what the QR pins.
    pub KeyHash, 32
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

//! Keyed hashes, constant-time comparison and signatures.

use belay_wire::{Bytes32, Bytes64, proof::Transcript};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// HMAC-SHA-256 (RFC 2104).
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A keyed hash of a secret, as it stands in a store. Compared in constant time only.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(into = "Bytes32", from = "Bytes32")]
pub struct SecretHash(pub [u8; 32]);

impl From<SecretHash> for Bytes32 {
    fn from(hash: SecretHash) -> Self {
        Self(hash.0)
    }
}

impl From<Bytes32> for SecretHash {
    fn from(bytes: Bytes32) -> Self {
        Self(bytes.0)
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other)
    }
}

impl Eq for SecretHash {}

impl SecretHash {
    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The key under which secrets are hashed before they are stored; it is not in the store.
#[derive(Clone)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// Takes a key of 32 random bytes.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes a secret for one purpose.
    pub fn hash(&self, purpose: &str, secret: &[u8]) -> SecretHash {
        SecretHash(hmac(&self.0, &[purpose.as_bytes(), &[0], secret]))
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// Checks an Ed25519 signature (RFC 8032, strict: no small-order keys).
pub fn verify_signature(key: &Bytes32, transcript: &Transcript, signature: &Bytes64) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&key.0) else { return false };
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(transcript.as_bytes(), &signature).is_ok()
}

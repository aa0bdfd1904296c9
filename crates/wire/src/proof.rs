//! What is hashed and signed: commitments, comparison codes, proofs and approvals.
//!
//! Each transcript starts with its own label and holds every part with its length, so no two
//! different inputs give the same bytes and no signature serves for another purpose.

use sha2::{Digest, Sha256};

use crate::{Bytes32, KeyHash, PublicKey, RendezvousId, RequestId, SessionId};

/// Bytes to hash or sign: a label and length-prefixed parts.
#[derive(Debug, Clone)]
pub struct Transcript(Vec<u8>);

impl Transcript {
    /// Starts a transcript for one purpose.
    pub fn new(label: &str) -> Self {
        Self(Vec::with_capacity(256)).part(label.as_bytes())
    }

    /// Adds one part.
    #[must_use]
    pub fn part(mut self, bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// The bytes to sign.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// SHA-256 of the bytes.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

/// SHA-256 over both halves of a key; what the QR pins.
pub fn key_hash(key: &PublicKey) -> KeyHash {
    KeyHash(Transcript::new("belay.v1/key").part(&key.sign.0).part(&key.agree.0).hash())
}

/// The phone's commitment to its key and opening.
pub fn commitment(key: &PublicKey, opening: &Bytes32) -> Bytes32 {
    let transcript = Transcript::new("belay.v1/commit");
    Bytes32(transcript.part(&key_hash(key).0).part(&opening.0).hash())
}

/// What both ends know when they compute the comparison code.
#[derive(Debug, Clone, Copy)]
pub struct Comparison<'a> {
    /// The host's public key.
    pub host: &'a PublicKey,
    /// The phone's public key.
    pub phone: &'a PublicKey,
    /// The join lease.
    pub rendezvous: RendezvousId,
    /// The host's nonce, sent after the commitment.
    pub host_nonce: &'a Bytes32,
    /// The phone's opening.
    pub opening: &'a Bytes32,
    /// The one-time secret of the QR; empty when the code was typed.
    pub secret: &'a [u8],
}

impl Comparison<'_> {
    /// Six decimal digits, equal on both screens unless somebody sits in between.
    pub fn code(&self) -> String {
        let hash = Transcript::new("belay.v1/compare")
            .part(&key_hash(self.host).0)
            .part(&key_hash(self.phone).0)
            .part(self.rendezvous.as_bytes())
            .part(&self.host_nonce.0)
            .part(&self.opening.0)
            .part(self.secret)
            .hash();
        let number = hash[..8].iter().fold(0_u64, |n, b| (n << 8) | u64::from(*b));
        format!("{:06}", number % 1_000_000)
    }
}

/// What `auth.proof` signs: this token, on this connection, of this relay.
pub fn auth_transcript(
    origin: &str,
    session: SessionId,
    principal: &[u8; 16],
    nonce: &str,
    token: &str,
) -> Transcript {
    Transcript::new("belay.v1/auth")
        .part(origin.as_bytes())
        .part(session.as_bytes())
        .part(principal)
        .part(nonce.as_bytes())
        .part(&Sha256::digest(token.as_bytes()))
}

/// What the `Belay-Proof` header of a host's HTTP call signs.
pub fn http_transcript(
    origin: &str,
    session: SessionId,
    method_and_path: &str,
    unix_ms: u64,
    token: &str,
) -> Transcript {
    Transcript::new("belay.v1/http")
        .part(origin.as_bytes())
        .part(session.as_bytes())
        .part(method_and_path.as_bytes())
        .part(&unix_ms.to_be_bytes())
        .part(&Sha256::digest(token.as_bytes()))
}

/// What `pair.decision` signs: one request, one key, until one time.
pub fn decision_transcript(
    request: RequestId,
    approved: bool,
    key: &KeyHash,
    expires_at: u64,
) -> Transcript {
    Transcript::new("belay.v1/decision")
        .part(request.as_bytes())
        .part(&[u8::from(approved)])
        .part(&key.0)
        .part(&expires_at.to_be_bytes())
}

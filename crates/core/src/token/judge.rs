//! The verdict table for presented tokens.

use std::time::Duration;

use crate::{
    TokenState,
    crypto::{HashKey, SecretHash},
    env::millis,
};

/// What is known about a token when it is judged. Its MAC was verified.
#[derive(Debug, Clone, Copy)]
pub struct Presented {
    pub generation: u64,
    pub nonce: [u8; 16],
    /// The principal registered a key.
    pub has_key: bool,
    /// A valid signature by that key came with it.
    pub proof_valid: bool,
    /// The nonce of the `auth` was issued longer ago than the auth timeout.
    pub nonce_is_old: bool,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Serve; offer a successor if rotation is due. Nothing is written.
    Current,
    /// Serve and make this generation the current one. `ahead` proves that the store went back.
    Commit { ahead: bool },
    /// Serve and offer a successor: the client restored an older copy of its own key.
    ClientWentBack,
    /// Refuse without punishment: no valid proof.
    ProofMissing,
    /// Refuse without punishment: a late frame of the former token.
    Stale,
    /// Two holders of one token: revoke and alert.
    Stolen,
}

/// Judges a token against the stored state, in store time `now_ms`.
pub fn judge(
    presented: &Presented,
    stored: &TokenState,
    hash_key: &HashKey,
    now_ms: u64,
    stale_grace: Duration,
) -> Judgement {
    if presented.has_key && !presented.proof_valid {
        return Judgement::ProofMissing;
    }
    let (g, current) = (presented.generation, stored.generation);
    let same_nonce = token_hash(hash_key, &presented.nonce).matches(&stored.nonce);
    if g > current {
        return Judgement::Commit { ahead: g > current + 1 };
    }
    if g == current && same_nonce {
        return Judgement::Current;
    }
    if presented.has_key {
        return Judgement::ClientWentBack;
    }
    if g == current {
        return Judgement::Stolen;
    }
    let young = now_ms.saturating_sub(stored.committed_at) <= millis(stale_grace);
    if (g + 1 == current && young) || presented.nonce_is_old {
        return Judgement::Stale;
    }
    Judgement::Stolen
}

/// What to do about a token of the compat protocol, whose devices have no key and are never punished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompatJudgement {
    /// Serve: it is of the current generation, or the former one within its grace.
    Serve,
    /// Serve and make this generation the current one. `ahead` proves that the store went back.
    Commit { ahead: bool },
    /// Superseded too long ago.
    Expired,
}

/// Judges the generation of a token whose MAC was verified, in store time `now_ms`. All offers of one
/// generation are equal: whichever reached the phone lets it in.
pub fn judge_compat(
    generation: u64,
    stored: &TokenState,
    now_ms: u64,
    grace: Duration,
) -> CompatJudgement {
    let current = stored.generation;
    if generation > current {
        return CompatJudgement::Commit { ahead: generation > current + 1 };
    }
    let in_grace = now_ms.saturating_sub(stored.committed_at) < millis(grace);
    if generation == current || (generation + 1 == current && in_grace) {
        return CompatJudgement::Serve;
    }
    CompatJudgement::Expired
}

/// The stored form of a token's nonce.
pub(crate) fn token_hash(hash_key: &HashKey, nonce: &[u8; 16]) -> SecretHash {
    hash_key.hash("token", nonce)
}

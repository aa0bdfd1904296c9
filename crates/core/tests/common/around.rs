//! What a session needs around it in a test: time, keys and numbers that are the same in each run.

use std::time::{Duration, Instant};

use belay_core::{
    Entropy, Env, HashKey, Now, Policy,
    session::Attach,
    token::{Claims, TokenKeys},
};
use belay_wire::{Bytes32, ClientInfo, ConnectionId, Positions, PublicKey};

/// Counts instead of drawing.
struct Counting(u64);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = self.0.to_be_bytes()[3];
        }
    }
}

pub(crate) struct Around {
    entropy: Counting,
    pub(crate) keys: TokenKeys,
    pub(crate) hash_key: HashKey,
    pub(crate) policy: Policy,
    pub(crate) now: Now,
}

impl Around {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    pub(crate) fn new() -> Self {
        Self {
            entropy: Counting(7),
            keys: TokenKeys::new([(1, [1; 32])]).expect("there is a key"),
            hash_key: HashKey::new([2; 32]),
            policy: Policy::default(),
            now: Now { mono: Instant::now(), unix_ms: 1_700_000_000_000 },
        }
    }

    pub(crate) fn env(&mut self) -> Env<'_> {
        Env {
            now: self.now,
            entropy: &mut self.entropy,
            keys: &self.keys,
            hash_key: &self.hash_key,
            policy: &self.policy,
        }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.unix_ms += u64::try_from(time.as_millis()).expect("short");
    }
}

/// Some key.
pub(crate) fn key_of(n: u8) -> PublicKey {
    PublicKey { sign: Bytes32([n; 32]), agree: Bytes32([n; 32]) }
}

/// A connection with a valid proof that has read nothing yet.
pub(crate) fn attach(connection: ConnectionId, claims: Claims, attempt: u64) -> Attach {
    let text = || "test".to_owned();
    Attach {
        connection,
        claims,
        client: ClientInfo { name: text(), version: text(), instance: text(), attempt },
        resume: Positions::new(),
        base: Positions::new(),
        proof_valid: true,
        nonce_is_old: false,
        revoked_elsewhere: false,
        node: text(),
        offer: false,
        compat: false,
        offered: None,
    }
}

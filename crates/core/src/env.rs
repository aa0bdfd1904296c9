//! What a state machine is given with each input: time, randomness, keys and policy.

use std::time::{Duration, Instant};

use belay_wire as wire;

use crate::{HashKey, token::TokenKeys};

/// One reading of both clocks. Intervals use `mono`; what is stored or told uses `unix_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic.
    pub mono: Instant,
    /// Milliseconds since 1970 UTC.
    pub unix_ms: u64,
}

impl Now {
    /// The Unix time `after` from now, in milliseconds.
    pub fn unix_after(&self, after: Duration) -> u64 {
        self.unix_ms.saturating_add(millis(after))
    }
}

/// A duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A source of random bytes fit for keys.
pub trait Entropy {
    /// Fills `bytes` with random bytes.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// `N` random bytes.
pub(crate) fn draw<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// What the operator decides about sessions.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Paired devices per session.
    pub devices_max: usize,
    /// How long a pairing code lives.
    pub code_ttl: Duration,
    /// How long a phone waits for approval.
    pub approval_ttl: Duration,
    /// How long the host may take to answer a commitment.
    pub nonce_timeout: Duration,
    /// Age of a token at which a successor is offered.
    pub rotation_after: Duration,
    /// Age up to which the former token is called stale rather than stolen.
    pub stale_grace: Duration,
    /// How long a socket may stay unauthenticated.
    pub auth_timeout: Duration,
    /// Longest time between two pings.
    pub heartbeat: Duration,
    /// Wrong typed codes before a code burns.
    pub code_tries: u32,
    /// How long a full flow window may go without acknowledgement.
    pub slow_consumer_after: Duration,
    /// How long a command waits for its host.
    pub command_ttl: Duration,
    /// How long a message is kept.
    pub log_age: Duration,
    /// Messages kept per channel.
    pub log_messages: usize,
    /// Bytes kept per channel.
    pub log_bytes: usize,
    /// Durable messages per second of a member, and its burst.
    pub member_rate: (u32, u32),
    /// Durable messages per second of a host, and its burst.
    pub host_rate: (u32, u32),
    /// What applies to sessions of the compat protocol alone.
    pub compat: CompatPolicy,
}

/// What the operator decides about sessions of the compat protocol.
#[derive(Debug, Clone)]
pub struct CompatPolicy {
    /// How long a former token is served after its successor was used.
    pub rotation_grace: Duration,
    /// Commands per minute of a device, and of all devices of a session.
    pub commands_per_minute: u32,
    pub session_commands_per_minute: u32,
    /// Snapshot requests per minute of a device.
    pub snapshots_per_minute: u32,
    /// Messages that one socket may lag behind.
    pub outbound_queue: usize,
    /// Bytes of the text of one command.
    pub command_text_bytes: usize,
}

impl Default for CompatPolicy {
    fn default() -> Self {
        Self {
            rotation_grace: Duration::from_secs(30),
            commands_per_minute: 240,
            session_commands_per_minute: 480,
            snapshots_per_minute: 60,
            outbound_queue: 256,
            command_text_bytes: 16_384,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            devices_max: wire::DEVICES_DEFAULT,
            code_ttl: wire::CODE_TTL,
            approval_ttl: wire::APPROVAL_TTL,
            nonce_timeout: Duration::from_secs(10),
            rotation_after: Duration::from_mins(15),
            stale_grace: Duration::from_mins(1),
            auth_timeout: wire::AUTH_TIMEOUT,
            heartbeat: wire::HEARTBEAT,
            code_tries: 5,
            slow_consumer_after: Duration::from_secs(30),
            command_ttl: wire::COMMAND_TTL,
            log_age: wire::LOG_AGE_MAX,
            log_messages: wire::LOG_MESSAGES_MAX,
            log_bytes: wire::LOG_BYTES_MAX,
            member_rate: (50, 200),
            host_rate: (2_000, 4_000),
            compat: CompatPolicy::default(),
        }
    }
}

/// Everything a state machine may use besides its own state.
pub struct Env<'a> {
    /// When the input happens.
    pub now: Now,
    /// Random bytes.
    pub entropy: &'a mut dyn Entropy,
    /// Keys that sign tokens.
    pub keys: &'a TokenKeys,
    /// Key under which secrets are hashed for the store.
    pub hash_key: &'a HashKey,
    /// What the operator decided.
    pub policy: &'a Policy,
}

impl std::fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("now", &self.now).finish_non_exhaustive()
    }
}

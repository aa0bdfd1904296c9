//! What an operator says about the broker, and what can be wrong with it.

use std::{fmt, path::PathBuf, time::Duration};

use belay_wire::Secret;

/// Bytes of a published message that the broker must accept: an entry of the largest records, with room.
pub(super) const MAX_PAYLOAD_MIN: usize = 2 * 1024 * 1024;
/// Length of a prefix or of a node's name.
const NAME_MAX: usize = 64;
/// Streams are few: each costs the broker a folder, and with replicas a group that votes.
const SHARDS_MAX: u16 = 256;
/// The broker keeps no more copies than this.
const REPLICAS_MAX: usize = 5;
/// A shorter secret can be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// What a stream retains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Entries of one `down` channel; the oldest leave.
    pub down_entries: u32,
    /// Entries of one `up` channel; more are refused until its host has applied some.
    pub up_entries: u32,
    /// Bytes of one stream, above which appends are refused. The broker may reserve them: the sum over
    /// all streams must fit. `None`: as much as the broker has.
    pub stream_bytes: Option<u64>,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { down_entries: 1_024, up_entries: 264, stream_bytes: None }
    }
}

/// How to use a broker.
#[derive(Clone)]
pub struct NatsOptions {
    /// `nats://a,b,c` or `tls://...`, with `user:password@` or `token@` if the broker wants one.
    pub url: String,
    /// A credentials file (JWT and seed) instead.
    pub credentials: Option<PathBuf>,
    /// Certificates (PEM) of those who sign for the servers, if they are not among those of the system.
    pub ca: Option<PathBuf>,
    /// First part of all subjects and, in capitals, of all streams: lower-case letters, digits, `-`, `_`.
    pub prefix: String,
    /// This life of the node: another one after each start.
    pub node: String,
    /// Signs what nodes tell each other; the same at all nodes, at least 16 bytes.
    pub hmac_secret: Secret,
    /// Copies of each stream: 1, 3 or 5. What an acknowledged append survives depends on it and on the
    /// broker's `sync_interval`, which clients cannot see: a broker syncs its files every 2 minutes unless
    /// it is told otherwise. A killed process loses nothing, a machine without power may lose what its
    /// broker had not synced; with three copies on three machines that takes two of them at once.
    pub replicas: usize,
    /// Streams of each direction. All nodes must say the same, and it cannot be changed later.
    pub shards: u16,
    pub limits: StreamLimits,
    /// Older frames of other nodes are refused.
    pub replay_window: Duration,
    /// Frames from further in the future are refused.
    pub clock_skew: Duration,
    /// Time between two looks at the streams; each is jittered by a fifth.
    pub look_every: Duration,
}

impl NatsOptions {
    /// The usual options.
    pub fn new(url: impl Into<String>, node: impl Into<String>, hmac_secret: Secret) -> Self {
        Self {
            url: url.into(),
            credentials: None,
            ca: None,
            prefix: "belay".to_owned(),
            node: node.into(),
            hmac_secret,
            replicas: 1,
            shards: 4,
            limits: StreamLimits::default(),
            replay_window: Duration::from_mins(2),
            clock_skew: Duration::from_secs(30),
            look_every: Duration::from_mins(1),
        }
    }

    pub(super) fn check(&self) -> Result<(), NatsError> {
        let wrong = |what: &str| Err(NatsError::Options(what.to_owned()));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let prefix = self.prefix.as_bytes();
        if prefix.is_empty() || prefix.len() > NAME_MAX || !prefix.iter().copied().all(plain) {
            return wrong("the prefix must be 1 to 64 lower-case letters, digits, - or _");
        }
        let node = self.node.as_bytes();
        let known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if node.is_empty() || node.len() > NAME_MAX || !node.iter().copied().all(known) {
            return wrong("the node must be 1 to 64 letters, digits, - or _");
        }
        if self.shards == 0 || self.shards > SHARDS_MAX {
            return wrong("there must be 1 to 256 shards");
        }
        if self.replicas == 0 || self.replicas > REPLICAS_MAX {
            return wrong("there must be 1 to 5 replicas");
        }
        if self.limits.down_entries == 0 || self.limits.up_entries == 0 {
            return wrong("a channel must hold at least one entry");
        }
        if self.hmac_secret.expose().len() < SECRET_BYTES_MIN {
            return wrong("the secret that signs frames must have at least 16 bytes");
        }
        Ok(())
    }
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("NatsOptions")
            .field("prefix", &self.prefix)
            .field("node", &self.node)
            .field("replicas", &self.replicas)
            .field("shards", &self.shards)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Why the broker cannot be used. No text holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NatsError {
    /// What was configured makes no sense.
    #[error("{0}")]
    Options(String),
    /// It is not an address.
    #[error("not an address of NATS servers: {0}; expected nats://host:port,... or tls://host,...")]
    Url(&'static str),
    /// The credentials file cannot be read.
    #[error("{path}: {reason}")]
    Credentials { path: String, reason: String },
    /// Nobody answered.
    #[error(
        "NATS at {servers} cannot be reached: {reason}; check that it runs and that --bus names it"
    )]
    Unreachable { servers: String, reason: String },
    /// The broker does not know who we are.
    #[error(
        "NATS at {servers} refuses the user, password, token or credentials; check the URL of --bus, or \
         --bus-credentials"
    )]
    Unauthorized { servers: String },
    /// It is too old.
    #[error("NATS {found} is too old: 2.10 or newer is needed")]
    Version { found: String },
    /// It takes only small messages.
    #[error(
        "NATS accepts messages of {found} bytes at most: set max_payload to {MAX_PAYLOAD_MIN} or more \
         in the configuration of every server"
    )]
    Payload { found: usize },
    /// It stores nothing.
    #[error("NATS has JetStream not enabled (for this account): {0}")]
    NoJetStream(String),
    /// There are fewer servers than copies are wanted.
    #[error("NATS cannot keep {wanted} replicas of a stream: {reason}")]
    Replicas { wanted: usize, reason: String },
    /// Another number of shards was chosen before.
    #[error(
        "the streams of prefix {prefix} were made with {found} shards, not {wanted}: give --bus-shards {found}, as \
         all nodes have it"
    )]
    Shards { prefix: String, found: String, wanted: u16 },
    /// Something else has our subjects.
    #[error("the stream {stream} takes the subjects {subjects}: use another prefix, or remove it")]
    Taken { stream: String, subjects: String },
    /// Streams were not made or read in time.
    #[error("stream of {subjects}: {reason}")]
    Stream { subjects: String, reason: String },
}

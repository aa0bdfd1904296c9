//! Names of keys. What scripts touch together shares a hash tag in braces, so it lies in one slot.

use belay_core::session::LeaseKey;
use belay_wire::{Bytes32, SessionId};

use super::RedisError;

/// The longest prefix: it stands in every key.
const PREFIX_MAX: usize = 64;

/// Names keys under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// Takes a prefix.
    ///
    /// # Errors
    /// [`RedisError::Prefix`]; braces in it would be a hash tag of their own.
    pub(super) fn new(prefix: &str) -> Result<Self, RedisError> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        if prefix.is_empty() || prefix.len() > PREFIX_MAX || !prefix.bytes().all(fits) {
            return Err(RedisError::Prefix(prefix.chars().take(PREFIX_MAX).collect()));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    fn of(&self, session: SessionId, what: &str) -> String {
        format!("{}:{{{session}}}:{what}", self.prefix)
    }

    pub(super) fn record(&self, session: SessionId) -> String {
        self.of(session, "record")
    }

    /// `<record version> <seats version>`
    pub(super) fn version(&self, session: SessionId) -> String {
        self.of(session, "version")
    }

    pub(super) fn seats(&self, session: SessionId) -> String {
        self.of(session, "seats")
    }

    /// That the session was removed.
    pub(super) fn removed(&self, session: SessionId) -> String {
        self.of(session, "removed")
    }

    /// All keys of a session, in the order of the scripts.
    pub(super) fn session(&self, id: SessionId) -> Vec<String> {
        vec![self.record(id), self.version(id), self.seats(id), self.removed(id)]
    }

    /// What leads to the sessions that a lease key could mean.
    pub(super) fn index(&self, key: &LeaseKey) -> String {
        let prefix = &self.prefix;
        match key {
            LeaseKey::Desktop(hash) => format!("{prefix}:desktop:{}", Bytes32::from(*hash)),
            LeaseKey::Rendezvous(hash) => format!("{prefix}:rendezvous:{}", Bytes32::from(*hash)),
            LeaseKey::Request(id) => format!("{prefix}:request:{id}"),
            LeaseKey::Code { prefix: start, .. } => {
                format!("{prefix}:code:{}", String::from_utf8_lossy(start))
            }
        }
    }

    /// All sessions by the time they were made.
    pub(super) fn sessions(&self) -> String {
        format!("{}:sessions", self.prefix)
    }

    /// How many devices there are in all sessions.
    pub(super) fn devices(&self) -> String {
        format!("{}:devices", self.prefix)
    }

    /// Lives of nodes by the end of their leases.
    pub(super) fn nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// Holder and fencing number of a lease.
    pub(super) fn lease(&self, name: &str) -> Vec<String> {
        ["holder", "fence"].map(|what| format!("{}:{{lease-{name}}}:{what}", self.prefix)).to_vec()
    }

    /// At which node an affinity key is.
    pub(super) fn sticky(&self, key: &str) -> String {
        format!("{}:sticky:affinity:{key}", self.prefix)
    }

    pub(super) fn limit(&self, key: &str) -> String {
        format!("{}:limit:{key}", self.prefix)
    }

    /// What a node writes to see that it can.
    pub(super) fn check(&self) -> String {
        format!("{}:check", self.prefix)
    }
}

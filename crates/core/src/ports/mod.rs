//! What core needs from outside, as small object-safe traits; `belay-adapters` implements them.

mod cluster;
#[cfg(feature = "contract")]
pub mod contract;
mod log;

use std::{fmt::Debug, future::Future, pin::Pin};

use belay_wire::{MemberId, SessionId};

use crate::{SessionRecord, session::LeaseKey};

pub use cluster::{
    ALL_NODES, Alive, Bus, BusEvent, BusFrame, BusListener, Leases, Limits, Presence, Seat, Version,
};
pub use log::{
    AppendError, ChannelId, Entry, Listener, Loaded, LogAnswer, LogEvent, LogUnavailable,
    MessageLog, Tail,
};

/// The answer of a port. Work that must keep its order (saves of one session) is queued when the
/// method is called, not when the future is first polled.
pub type Answer<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'static>>;

/// Why a store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another version is stored: load it and decide again.
    #[error("session was changed by somebody else")]
    Conflict,
    /// The store cannot be reached or written now; nothing was done, or it is unknown.
    #[error("store is not available: {0}")]
    Unavailable(String),
    /// What is stored cannot be read.
    #[error("store is damaged: {0}")]
    Damaged(String),
    /// A newer version wrote it, in a format that this one does not know. It is left as it is.
    #[error(
        "session was written by a newer version of belay (format {found}, this one knows {known}); \
         run that version on this node, too"
    )]
    Newer { found: u64, known: u64 },
}

impl StoreError {
    /// The label of metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Unavailable(_) => "unavailable",
            Self::Damaged(_) => "damaged",
            Self::Newer { .. } => "newer",
        }
    }
}

/// Sessions with their devices, token states and join leases.
pub trait SessionStore: Send + Sync + Debug {
    /// Stores a new session or the next version of one: what `record.replaces()` says must be what is
    /// stored (0 for a new one), else [`StoreError::Conflict`] and nothing changes.
    fn save(&self, record: SessionRecord) -> Answer<()>;

    /// Reads a session.
    fn load(&self, id: SessionId) -> Answer<Option<SessionRecord>>;

    /// The sessions that this key could mean: one for a rendezvous, a desktop's token or a pair request,
    /// all with the prefix for a typed code. Expired ones may be among them.
    fn find_lease(&self, key: LeaseKey) -> Answer<Vec<SessionId>>;

    /// All sessions, oldest first, after `after`, at most `limit`.
    fn list(&self, after: Option<SessionId>, limit: usize) -> Answer<Vec<SessionId>>;

    /// How many sessions there are.
    fn count(&self) -> Answer<usize>;

    /// How many devices are paired in all of them.
    fn count_devices(&self) -> Answer<usize>;

    /// Forgets a session.
    fn remove(&self, id: SessionId) -> Answer<()>;

    /// Tells whether a session that is not there was removed, a day ago at most; else the store lost it. The
    /// default is for a store of one node, which nobody else removes from.
    fn was_removed(&self, _: SessionId) -> Answer<bool> {
        Box::pin(std::future::ready(Ok(true)))
    }

    /// What is stored of these sessions now, in their order; the default is for a store of one node.
    fn versions(&self, ids: Vec<SessionId>) -> Answer<Vec<Version>> {
        Box::pin(std::future::ready(Ok(vec![Version::default(); ids.len()])))
    }

    /// Reads and writes something: an error means that new authentications cannot be served.
    fn check(&self) -> Answer<()>;
}

/// The second place of revocations: a set that only grows, apart from the store, because a store
/// can be rolled back.
pub trait Revocations: Send + Sync + Debug {
    /// Adds a device; done when it would survive a crash.
    fn add(&self, member: MemberId) -> Answer<()>;

    /// Tells whether a device was ever revoked.
    fn contains(&self, member: MemberId) -> bool;

    /// How many are known: it grows when there is something new.
    fn count(&self) -> usize;
}

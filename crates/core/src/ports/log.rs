//! The port of the messages plane: one totally ordered log per channel, appended by compare-and-set.

use std::{fmt, fmt::Debug, future::Future, pin::Pin, sync::Arc};

use belay_wire::{Channel, SessionId};

use crate::delivery::Record;

/// A channel of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId {
    pub session: SessionId,
    pub channel: Channel,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.channel)
    }
}

/// The end of a channel's log. Offsets are given again when a log is lost or goes back, so two tails
/// are the same only if their incarnations are, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tail {
    /// Drawn when the log that holds the channel was made.
    pub incarnation: u64,
    /// Offset of the last entry; 0 if there is none.
    pub offset: u64,
}

/// What one append stored: all of its records, or none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Grows from entry to entry of a channel, not always by one.
    pub offset: u64,
    pub records: Vec<Record>,
}

/// A channel as it is stored: a suffix of all that was appended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Loaded {
    pub tail: Tail,
    /// The retained entries, oldest first. The first of an `up` channel is its bookmark: what the host
    /// has applied. The last is the tail.
    pub entries: Vec<Entry>,
}

/// How an append failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Another entry is last; nothing was stored.
    #[error("the log ends elsewhere")]
    Conflict,
    /// Nothing was stored, and for now nothing can be.
    #[error("nothing was stored: {0}")]
    Refused(String),
    /// It may or may not be stored, now or later.
    #[error("whether it was stored is not known: {0}")]
    Unknown(String),
}

impl AppendError {
    /// The label of metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Refused(_) => "refused",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Why a log was not read or purged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log cannot be reached: {0}")]
pub struct LogUnavailable(pub String);

/// The answer of the log. Appends are queued when the method is called.
pub type LogAnswer<T, E = LogUnavailable> =
    Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'static>>;

/// What a log tells the node without being asked.
#[derive(Debug, Clone)]
pub enum LogEvent {
    /// An entry was stored, here or by another node, right after `previous`.
    Stored { id: ChannelId, previous: u64, tail: Tail, entry: Entry },
    /// A log ends here, as far as was found without its entries: if another end is known, read it.
    Tail { id: ChannelId, tail: Tail },
    /// Entries may have been missed: compare all tails.
    Doubt,
}

/// Takes what a log tells; must not block.
pub type Listener = Arc<dyn Fn(LogEvent) + Send + Sync>;

/// Channel logs.
pub trait MessageLog: Send + Sync + Debug {
    /// Appends one entry if the channel's log ends at `expected`. The answer `Ok` means that it will
    /// survive what the log promises to survive.
    fn append(
        &self,
        id: ChannelId,
        expected: Tail,
        records: Vec<Record>,
    ) -> LogAnswer<Tail, AppendError>;

    /// Reads tail and retained entries of a channel; an empty log has none.
    fn load(&self, id: ChannelId) -> LogAnswer<Loaded>;

    /// Tells entries from now on.
    fn subscribe(&self, listener: Listener);

    /// Entries of this session, by whichever node, are wanted from now on; asked before its logs are read.
    /// For a log of one node there is nothing to do.
    fn watch(&self, _session: SessionId) {}

    /// And not any more.
    fn unwatch(&self, _session: SessionId) {}

    /// Drops the entries before this offset, never the last one. For an `up` channel that moves the
    /// bookmark. A purge that a crash undoes is harmless: readers know what they applied.
    fn purge(&self, id: ChannelId, before: u64) -> LogAnswer<()>;

    /// Drops a channel whose member or session is gone; its name is never used again.
    fn forget(&self, id: ChannelId) -> LogAnswer<()>;

    /// Tells whether appends are possible now; an error: to no channel.
    fn check(&self) -> LogAnswer<()>;

    /// Tells whether appends to the channels of this session were possible when [`MessageLog::check`] asked
    /// last: a log of several streams may fail in part.
    fn takes(&self, _session: SessionId) -> bool {
        true
    }

    /// Why this log stores nothing more until the process starts again; what the disk holds is not known.
    fn broken(&self) -> Option<String> {
        None
    }

    /// Entries that were whole once and are not any more, as far as this process has met them. Who misses
    /// one is told so by what follows it.
    fn damaged(&self) -> u64 {
        0
    }
}

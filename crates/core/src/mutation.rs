//! Mistakes that can be switched on in tests: a simulation or model that does not find them proves
//! nothing. Without the feature `mutations` all of them are off for ever.

#[cfg(feature = "mutations")]
use std::sync::atomic::{AtomicU8, Ordering};

/// A mistake of a protocol like this one that somebody once made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutation {
    /// Readers get a record, and writers an acknowledgement, when it is given to the log.
    DeliverBeforeStored,
    /// An append whose outcome is not known counts as stored.
    AcknowledgeUnknown,
    /// What is retained counts as all there ever was.
    BaseFromOldest,
    /// An epoch that was closed may be announced again.
    ReopenClosedEpoch,
    /// A position counts in whatever epoch is open.
    PositionWithoutEpoch,
    /// Commands leave a full log before the host applied them.
    EvictUnapplied,
    /// A position in a former epoch counts as one before the open one.
    ResumeWithoutChain,
    /// A token that is offered is the current one at once.
    CommitAtOffer,
    /// A device is offered the same successor again.
    SameSuccessor,
    /// A revoked device stands in one place only.
    OneTombstone,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::DeliverBeforeStored,
        Self::AcknowledgeUnknown,
        Self::BaseFromOldest,
        Self::ReopenClosedEpoch,
        Self::PositionWithoutEpoch,
        Self::EvictUnapplied,
        Self::ResumeWithoutChain,
        Self::CommitAtOffer,
        Self::SameSuccessor,
        Self::OneTombstone,
    ];

    /// Those of delivery; the others are of tokens.
    pub fn of_delivery() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().take(7)
    }

    /// Those of tokens.
    pub fn of_tokens() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().skip(7)
    }

    /// Tells whether it is switched on here.
    #[cfg(feature = "mutations")]
    pub(crate) fn is_on(self) -> bool {
        ON.get().map_or_else(|| EVERYWHERE.load(Ordering::Relaxed) == self.code(), |on| on == self)
    }

    /// 0 stands for none.
    #[cfg(feature = "mutations")]
    const fn code(self) -> u8 {
        self as u8 + 1
    }

    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "the other build asks it")]
    pub(crate) const fn is_on(self) -> bool {
        false
    }
}

#[cfg(feature = "mutations")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// One that is on in all threads that have none of their own.
#[cfg(feature = "mutations")]
static EVERYWHERE: AtomicU8 = AtomicU8::new(0);

/// Switches one mistake on in this thread, or all off.
#[cfg(feature = "mutations")]
pub fn mutate(mutation: Option<Mutation>) {
    ON.set(mutation);
}

/// Switches one mistake on for the whole process, or all off: a checker has threads of its own.
#[cfg(feature = "mutations")]
pub fn mutate_everywhere(mutation: Option<Mutation>) {
    EVERYWHERE.store(mutation.map_or(0, Mutation::code), Ordering::Relaxed);
}

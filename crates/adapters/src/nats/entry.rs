//! Stored entries and their headers.

use std::collections::HashSet;

use async_nats::HeaderMap;
use belay_core::delivery::Record;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::record;

/// The header by which an append says which entry it follows; it is stored with the entry.
pub(super) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// Unreadable entries that are told apart: more are counted each time they are met.
const MET_MAX: usize = 1_024;

/// Why a stored entry cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum EntryError {
    /// Another version of this program wrote it.
    #[error("its version is {0}")]
    Version(u8),
    #[error("it is damaged")]
    Damaged,
}

/// Reads the records of an entry.
pub(super) fn decode(data: Bytes) -> Result<Vec<Record>, EntryError> {
    match data.first() {
        Some(&record::VERSION) => record::decode(data).ok_or(EntryError::Damaged),
        Some(&other) => Err(EntryError::Version(other)),
        None => Err(EntryError::Damaged),
    }
}

impl EntryError {
    /// The format of a newer version, of an entry that follows another as those of relays do: what comes after
    /// it makes no sense to this version.
    pub(super) fn newer(self, previous: Option<u64>) -> Option<u8> {
        match self {
            Self::Version(version) if version > record::VERSION => previous.map(|_| version),
            Self::Version(_) | Self::Damaged => None,
        }
    }
}

/// A number in a header.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get_last(name)?.as_str().parse().ok()
}

/// Which entry follows which.
pub(super) struct Chain;

impl Chain {
    /// The entry before one, from its headers as they are stored.
    pub(super) fn previous(headers: &str) -> Option<u64> {
        let line = headers.lines().find_map(|line| line.strip_prefix(EXPECTED))?;
        line.strip_prefix(':')?.trim().parse().ok()
    }
}

/// The entries that could not be read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    state: Mutex<Met>,
}

#[derive(Debug, Default)]
struct Met {
    known: HashSet<(u64, u64)>,
    version: u64,
    damaged: u64,
}

impl Unreadable {
    /// One was met, perhaps again.
    pub(super) fn count(&self, incarnation: u64, sequence: u64, error: EntryError) {
        let mut state = self.state.lock();
        if state.known.len() < MET_MAX && !state.known.insert((incarnation, sequence)) {
            return;
        }
        match error {
            EntryError::Version(_) => state.version += 1,
            EntryError::Damaged => state.damaged += 1,
        }
    }

    pub(super) fn total(&self) -> u64 {
        let state = self.state.lock();
        state.version + state.damaged
    }

    pub(super) fn by_reason(&self) -> Vec<(&'static str, u64)> {
        let state = self.state.lock();
        vec![("version", state.version), ("damaged", state.damaged)]
    }
}

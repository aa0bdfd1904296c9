//! What a node holds of a channel's log: the retained records, shared by all readers.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use belay_wire::{Epoch, Position, Seq};

use super::record::{Chain, Record, RecordKind};
use crate::{Mutation, Now};

/// Records that are no messages (`void`, `skip`, `epoch`) kept beside the messages.
pub(super) const NOTES_MAX: usize = 64;

/// Bounds of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogLimits {
    pub messages: usize,
    pub bytes: usize,
    pub age: Duration,
    /// Records leave only when the one reader applied them; a full log refuses.
    pub keep_unapplied: bool,
}

/// A record and where it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Slot {
    record: Record,
    offset: u64,
    stored_at: Instant,
}

/// The retained window of a channel, as far as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ring {
    slots: VecDeque<Slot>,
    /// Absolute index of `slots[0]`; grows with every eviction.
    first: u64,
    messages: usize,
    bytes: usize,
    /// Open epoch and its last number; `None` before the first writer.
    head: Option<Position>,
    chain: Chain,
    /// The last record that left by its age.
    expired: Option<Position>,
    /// Where this log began.
    origin: Option<Position>,
    /// What lies before this was lost by the log itself.
    broken: Option<Position>,
    limits: LogLimits,
}

impl Ring {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            messages: 0,
            bytes: 0,
            head: None,
            chain: Chain::default(),
            expired: None,
            origin: None,
            broken: None,
            limits,
        }
    }

    /// Open epoch and last stored number.
    pub fn head(&self) -> Option<Position> {
        self.head
    }

    /// Absolute index after the last record.
    pub fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Absolute index of the oldest record.
    pub fn start(&self) -> u64 {
        self.first
    }

    /// The record at an absolute index.
    pub fn record(&self, index: u64) -> Option<&Record> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.slots.get(at).map(|slot| &slot.record)
    }

    /// Bytes retained.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records retained.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Messages retained.
    pub fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn limits(&self) -> &LogLimits {
        &self.limits
    }

    /// The offset of the oldest record that is retained.
    pub(super) fn first_offset(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.offset)
    }

    /// Offset and record of the last one.
    pub(super) fn last(&self) -> Option<(u64, &Record)> {
        self.slots.back().map(|slot| (slot.offset, &slot.record))
    }

    /// The stored message of this name, if it is still here.
    pub(super) fn find(&self, position: Position) -> Option<&Record> {
        let records = self.slots.iter().rev().map(|slot| &slot.record);
        records.into_iter().find(|r| r.position == position && r.is_message())
    }

    /// The position before the oldest record that is retained.
    pub fn before_oldest(&self) -> Option<Position> {
        self.slots.front().map_or(self.head, |oldest| Some(oldest.record.before()))
    }

    /// Tells whether nothing lies between a position and the oldest retained record.
    pub fn reaches(&self, position: Position) -> bool {
        if Mutation::BaseFromOldest.is_on() {
            return true;
        }
        let Some(oldest) = self.before_oldest() else { return true };
        if oldest.epoch == position.epoch {
            return position.seq >= oldest.seq;
        }
        self.follows(Some(position))
            || self.slots.iter().any(|s| s.record.position.epoch == position.epoch)
    }

    /// Tells whether the oldest retained record opens the epoch that follows a position.
    pub(super) fn follows(&self, position: Option<Position>) -> bool {
        let front = self.slots.front().map(|slot| &slot.record.kind);
        matches!(front, Some(RecordKind::Epoch { prev }) if Some(*prev) == position)
    }

    /// Tells whether all that its writer ever sent is retained.
    pub(super) fn is_whole(&self) -> bool {
        let oldest = self.before_oldest();
        oldest.is_some_and(|oldest| oldest.seq == Seq::ZERO) && self.origin == oldest
    }

    /// Why what lies before the oldest record is not here.
    pub(super) fn reason(&self, oldest: Position) -> &'static str {
        if self.broken == Some(oldest) || self.origin == Some(oldest) {
            "log_lost"
        } else if self.expired == Some(oldest) {
            "expired"
        } else if self.limits.keep_unapplied {
            // It left because the host had applied it.
            "host_state_lost"
        } else {
            "evicted"
        }
    }

    /// The number at which an epoch ended, or stands.
    pub fn last_of(&self, epoch: Epoch) -> Option<Seq> {
        let open = self.head.filter(|head| head.epoch == epoch);
        open.or_else(|| self.chain.find(epoch).map(|(_, at)| at)).map(|p| p.seq)
    }

    pub(super) fn is_closed(&self, epoch: Epoch) -> bool {
        self.chain.find(epoch).is_some()
    }

    /// Tells whether epoch `a` was opened after epoch `b`, both being known.
    pub(super) fn is_later_epoch(&self, a: Epoch, b: Epoch) -> bool {
        let rank = |epoch| {
            if self.head.is_some_and(|head| head.epoch == epoch) {
                return Some(self.chain.len());
            }
            self.chain.find(epoch).map(|(rank, _)| rank)
        };
        matches!((rank(a), rank(b)), (Some(a), Some(b)) if a > b)
    }

    /// A record is stored.
    pub(super) fn push(&mut self, record: Record, offset: u64, now: Now) {
        if let RecordKind::Epoch { prev } = record.kind {
            self.chain.close(prev);
        }
        if matches!(record.kind, RecordKind::Start) {
            self.origin = Some(record.position);
        }
        self.head = Some(record.position);
        self.bytes += record.bytes.len();
        self.messages += usize::from(record.is_message());
        // Its age counts from when it was stored, on a clock that does not jump.
        let age = Duration::from_millis(now.unix_ms.saturating_sub(record.at));
        let stored_at = now.mono.checked_sub(age).unwrap_or(now.mono);
        self.slots.push_back(Slot { record, offset, stored_at });
        if !self.limits.keep_unapplied || Mutation::EvictUnapplied.is_on() {
            while self.messages > self.limits.messages
                || (self.bytes > self.limits.bytes && self.slots.len() > 1)
            {
                self.evict();
            }
        }
    }

    fn evict(&mut self) -> Option<u64> {
        let Slot { record, offset, .. } = self.slots.pop_front()?;
        self.first += 1;
        self.bytes -= record.bytes.len();
        self.messages -= usize::from(record.is_message());
        Some(offset)
    }

    /// The last of the records that are older than the bound.
    pub(super) fn overdue(&self, now: Instant) -> Option<Position> {
        let overdue = self.slots.iter().take_while(|slot| self.is_old(slot, now));
        overdue.last().map(|slot| slot.record.position)
    }

    fn is_old(&self, slot: &Slot, now: Instant) -> bool {
        now.saturating_duration_since(slot.stored_at) > self.limits.age
    }

    /// Drops records older than the bound.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(front) = self.slots.front().filter(|slot| self.is_old(slot, now)) {
            self.expired = Some(front.record.position);
            self.evict();
        }
    }

    /// When the oldest record ages out.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.slots.front().map(|slot| slot.stored_at + self.limits.age)
    }

    /// Drops the records before this index.
    pub(super) fn drop_before(&mut self, index: u64) {
        while self.first < index && self.evict().is_some() {}
    }

    /// The one reader has applied everything up to here: it need not be kept. Gives the offset of the
    /// last record that left.
    pub(super) fn applied(&mut self, position: Position) -> Option<u64> {
        let mut last = None;
        while self.slots.front().is_some_and(|slot| self.is_at_or_before(&slot.record, position)) {
            last = self.evict();
        }
        last
    }

    fn is_at_or_before(&self, record: &Record, position: Position) -> bool {
        let Position { epoch, seq, .. } = record.position;
        if epoch == position.epoch {
            return seq <= position.seq;
        }
        self.is_closed(epoch) && self.head.is_some_and(|h| h.epoch == position.epoch)
    }

    /// The commands up to a position that are still here: from where to where, and how many.
    pub(super) fn up_to(&self, to: Position) -> Option<(Position, Position, usize)> {
        let before = |slot: &&Slot| self.is_at_or_before(&slot.record, to);
        let messages = self.slots.iter().take_while(before).filter(|s| s.record.is_message());
        let from = messages.clone().next()?.record.position;
        Some((from, to, messages.count()))
    }

    /// What left up to here did so by its age.
    pub(super) fn mark_expired(&mut self, to: Position) {
        self.expired = Some(to);
    }

    /// Tells whether this offset holds a record of this name.
    pub(super) fn holds(&self, offset: u64, position: Position) -> bool {
        let same = |slot: &Slot| slot.offset == offset && slot.record.position == position;
        self.slots.iter().rev().any(same)
    }

    /// Forgets all records but goes on with the absolute index, so that no cursor meets a stranger.
    pub(super) fn clear(&mut self) {
        let end = self.end();
        let limits = self.limits;
        *self = Self { first: end, ..Self::new(limits) };
    }

    /// What came before is lost.
    pub(super) fn mark_broken(&mut self) {
        self.broken = self.before_oldest();
    }
}

//! A node's view of one channel's log: what is stored, what waits to be stored, and what to ask the
//! port next. A record is shown to readers and acknowledged only once it is stored.

mod judge;
mod settle;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use belay_wire::{Channel, Epoch, NackReason, Position, Seq};

use super::{
    record::{Record, RecordKind},
    ring::{LogLimits, Ring},
};
use crate::{
    Mutation, Now,
    ports::{AppendError, Entry, Loaded, LogUnavailable, Tail},
};

/// Records of one append, unless it is an `up` channel, whose records are purged one by one.
const BATCH_RECORDS: usize = 64;
/// Bytes of one append; a larger record goes alone.
const BATCH_BYTES: usize = 256 * 1024;
/// Records that wait to be stored; beyond it the writer is told `busy`.
const QUEUE_RECORDS: usize = 256;
/// Bytes that wait to be stored; one larger record may wait alone.
const QUEUE_BYTES: usize = 1024 * 1024;
/// Time between two tries to read a log.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// It doubles with each failure, so many times: to 8 seconds.
const RETRY_DOUBLES: u32 = 4;
/// Reads in a row that may fail until it is trouble, and until others than its own clock do not have it tried again.
const READS_AT_ONCE: u32 = 3;
/// An append or load that takes longer counts as trouble that clients are told of.
const SLOW_AFTER: Duration = Duration::from_millis(700);
/// Records that leave a ring before the log is told to drop them.
const PURGE_STEP: u64 = 32;

/// A name that is stored or on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is the next one: [`Log::enqueue`] it.
    Next,
    /// It is stored.
    Stored,
    /// It waits to be stored.
    Queued,
}

/// A name that was not taken, with what to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Refused {
    pub reason: NackReason,
    pub expect: Seq,
}

/// What a log wants from its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    Load,
    Append {
        expected: Tail,
        records: Vec<Record>,
    },
    Purge {
        before: u64,
    },
    /// The channel is gone.
    Forget,
}

/// Commands that were given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Overdue {
    pub from: Position,
    pub to: Position,
    pub messages: usize,
}

/// What an answer of the port led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Sizes of the messages that are stored now.
    pub stored: Vec<usize>,
    /// Something else than messages is new, too.
    pub changed: bool,
    /// What the writer must send again, and why.
    pub nack: Option<(Epoch, Refused)>,
    /// Commands that will not reach the host.
    pub lost: Vec<Overdue>,
    /// The log shows that its one reader has applied this.
    pub applied: Option<Position>,
    /// Cursors must find their places anew.
    pub reset: bool,
    /// The log went back.
    pub went_back: bool,
    /// Records that do not follow each other were found: what lies before is lost.
    pub broken: bool,
    /// The log can be read for the first time.
    pub opened: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// The tail must be read before anything is appended.
    Unread,
    Loading {
        since: Instant,
    },
    Ready,
    Appending {
        since: Instant,
    },
    /// It could not be read.
    Away {
        again: Instant,
    },
}

/// One channel's log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Log {
    channel: Channel,
    ring: Ring,
    /// The tail that was last seen; `None` before the first load.
    tail: Option<Tail>,
    phase: Phase,
    /// Reads in a row that failed.
    unread: u32,
    /// Judged, in order, not known to be stored; the first `in_flight` are being appended.
    queue: VecDeque<Record>,
    in_flight: usize,
    queued_bytes: usize,
    /// Read the tail again when the append is answered.
    recheck: bool,
    /// The greatest offset that was heard of while the log was being read.
    heard: u64,
    /// Entries before this offset are to be purged, and were asked to be.
    purge: u64,
    purged: u64,
    /// Index of the oldest record when a purge was asked for last.
    purged_at: u64,
    /// It cannot be appended to, as far as is known: that it can be read says nothing of that.
    failing: bool,
    /// An answer is overdue.
    slow: bool,
}

impl Log {
    /// A log that was not read yet.
    pub fn new(channel: Channel, limits: LogLimits) -> Self {
        Self {
            channel,
            ring: Ring::new(limits),
            tail: None,
            phase: Phase::Unread,
            queue: VecDeque::new(),
            in_flight: 0,
            queued_bytes: 0,
            recheck: false,
            heard: 0,
            purge: 0,
            purged: 0,
            purged_at: 0,
            unread: 0,
            failing: false,
            slow: false,
        }
    }

    /// What is stored and retained.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Where it ends, as far as is known here.
    pub fn tail(&self) -> Option<Tail> {
        self.tail
    }

    /// Tells whether the log was read once, so that places in it can be told.
    pub fn is_open(&self) -> bool {
        self.tail.is_some()
    }

    /// Tells whether nothing waits to be stored.
    pub fn is_settled(&self) -> bool {
        self.queue.is_empty()
    }

    /// Tells whether storing does not work now, or takes too long. While nothing waits, a few reads in a row may
    /// fail or take long: that is how brokers choose a new leader.
    pub fn is_in_trouble(&self) -> bool {
        let waits = !self.is_open() || !self.is_settled();
        self.failing || (waits && (self.slow || self.unread > 0)) || self.unread > READS_AT_ONCE
    }

    /// It was found not to work.
    pub fn is_away(&mut self) {
        self.failing = true;
    }

    /// It was found to work again.
    pub fn works(&mut self) {
        // Of one that has something to append, the answer will tell.
        self.failing &= !self.queue.is_empty();
        // What cannot be read again and again waits for its time.
        if matches!(self.phase, Phase::Away { .. }) && self.unread < READS_AT_ONCE {
            self.phase = Phase::Unread;
        }
    }

    fn slow_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Loading { since } | Phase::Appending { since } => Some(since + SLOW_AFTER),
            Phase::Unread | Phase::Ready | Phase::Away { .. } => None,
        }
    }

    /// When [`Log::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let again = if let Phase::Away { again } = self.phase { Some(again) } else { None };
        // Once it is known to be slow, only the answer changes something.
        let slow = self.slow_at().filter(|_| !self.slow);
        let overdue = (!self.has_queued_expiry()).then(|| self.ring.expires_at()).flatten();
        again.into_iter().chain(slow).chain(overdue).min()
    }

    /// Time passed: what is too old leaves, what could not be read is tried again.
    pub fn tick(&mut self, now: Now) {
        if let Phase::Away { again } = self.phase
            && now.mono >= again
        {
            self.phase = Phase::Unread;
        }
        self.slow |= self.slow_at().is_some_and(|at| now.mono >= at);
        if !self.ring.limits().keep_unapplied {
            self.ring.expire(now.mono);
            self.mark_evicted(true);
        } else if let Some(to) = self.ring.overdue(now.mono)
            && matches!(self.phase, Phase::Ready)
            && !self.has_queued_expiry()
            && let Some(head) = self.projected()
        {
            self.put(Record::expired(to, head, now.unix_ms));
        }
    }

    fn has_queued_expiry(&self) -> bool {
        self.queue.iter().any(|r| matches!(r.kind, RecordKind::Expired { .. }))
    }

    /// What the port is to do now; ask until there is nothing.
    pub fn ask(&mut self, now: Now) -> Option<Ask> {
        if self.purge > self.purged {
            self.purged = self.purge;
            return Some(Ask::Purge { before: self.purge });
        }
        match self.phase {
            Phase::Unread => {
                self.phase = Phase::Loading { since: now.mono };
                self.heard = 0;
                Some(Ask::Load)
            }
            Phase::Ready if !self.queue.is_empty() => {
                let expected = self.tail?;
                let records = self.batch();
                self.in_flight = records.len();
                if Mutation::DeliverBeforeStored.is_on() {
                    self.pretend(&records, expected, now);
                }
                self.phase = Phase::Appending { since: now.mono };
                Some(Ask::Append { expected, records })
            }
            Phase::Loading { .. } | Phase::Ready | Phase::Appending { .. } | Phase::Away { .. } => {
                None
            }
        }
    }

    /// Shows records to readers that nobody stored.
    fn pretend(&mut self, records: &[Record], expected: Tail, now: Now) {
        let tail = Tail { offset: expected.offset + 1, ..expected };
        self.tail = Some(tail);
        for record in records {
            self.store(record.clone(), tail.offset, now, &mut Outcome::default());
        }
    }

    fn batch(&self) -> Vec<Record> {
        let mut bytes = 0;
        let alone = |r: &Record| matches!(r.kind, RecordKind::Start);
        let max = if self.ring.limits().keep_unapplied { 1 } else { BATCH_RECORDS };
        let fits = |(at, record): &(usize, &Record)| {
            bytes += record.bytes.len();
            *at == 0 || (bytes <= BATCH_BYTES && !alone(&self.queue[0]))
        };
        self.queue.iter().take(max).enumerate().take_while(fits).map(|(_, r)| r.clone()).collect()
    }

    /// The head once everything that waits is stored.
    pub fn projected(&self) -> Option<Position> {
        self.queue.back().map(|r| r.position).or(self.ring.head())
    }

    fn put(&mut self, record: Record) {
        self.queued_bytes += record.bytes.len();
        self.queue.push_back(record);
    }

    fn take_queue(&mut self) -> VecDeque<Record> {
        self.queued_bytes = 0;
        self.in_flight = 0;
        std::mem::take(&mut self.queue)
    }

    fn drop_front(&mut self) -> Option<Record> {
        let record = self.queue.pop_front()?;
        self.queued_bytes -= record.bytes.len();
        self.in_flight = self.in_flight.saturating_sub(1);
        Some(record)
    }

    /// The one reader has applied everything up to here. Tells whether that was new.
    pub fn applied(&mut self, position: Position) -> bool {
        let Some(offset) = self.ring.applied(position) else { return false };
        // The last one that was applied stays: it is bookmark, and tail if nothing follows.
        self.purge = self.purge.max(offset);
        true
    }

    /// The same, told by the node that purges them.
    pub fn applied_elsewhere(&mut self, position: Position) -> bool {
        let is_new = self.applied(position);
        self.purged = self.purged.max(self.purge);
        is_new
    }

    /// Drops the records before this index: no reader needs them.
    pub fn drop_before(&mut self, index: u64) {
        self.ring.drop_before(index);
        self.mark_evicted(false);
    }

    /// What left the ring is dropped from the log in steps.
    fn mark_evicted(&mut self, now: bool) {
        let evicted = self.ring.start() - self.purged_at;
        if self.ring.limits().keep_unapplied || evicted == 0 || (!now && evicted < PURGE_STEP) {
            return;
        }
        let tail = self.tail.map_or(0, |tail| tail.offset);
        self.purge = self.purge.max(self.ring.first_offset().unwrap_or(tail));
        self.purged_at = self.ring.start();
    }
}

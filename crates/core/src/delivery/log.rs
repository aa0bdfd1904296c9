//! One channel: a totally ordered log of records, of which a window is retained.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use belay_wire::{Epoch, EpochFrame, Frame, Msg, NackReason, Position, Seq, Skip, Void};
use bytes::Bytes;

/// How many closed epochs are remembered, with the number at which each ended.
const CHAIN_MAX: usize = 8;

/// Records that are no messages (`void`, `skip`, `epoch`) kept beside the messages.
const NOTES_MAX: usize = 64;

/// Bounds of a log.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    pub messages: usize,
    pub bytes: usize,
    pub age: Duration,
    /// Records leave only when the one reader applied them; a full log refuses.
    pub keep_unapplied: bool,
}

/// What a record is.
#[derive(Debug, Clone)]
pub enum RecordKind {
    /// A message as text; the payload is the last member, so its range follows from its length.
    Text { payload_len: usize },
    /// A message with a binary payload and its JSON header (`at`, `from`, `key`).
    Binary { header: String },
    /// `void` or `skip`: takes numbers without bringing a message.
    Note,
    /// The writer's new memory; `prev` is where the former epoch ended.
    Epoch { prev: Position },
}

/// One stored record; its frame is encoded once and shared by all readers.
#[derive(Debug, Clone)]
pub struct Record {
    pub position: Position,
    pub kind: RecordKind,
    /// The frame as text, or the payload of a binary message.
    pub bytes: Bytes,
    pub stored_at: Instant,
}

impl Record {
    /// The payload as the writer sent it.
    pub fn payload(&self) -> &[u8] {
        match self.kind {
            RecordKind::Text { payload_len } => {
                let end = self.bytes.len() - 1;
                &self.bytes[end - payload_len..end]
            }
            RecordKind::Binary { .. } | RecordKind::Note | RecordKind::Epoch { .. } => &self.bytes,
        }
    }

    /// The same, shared with the record.
    pub fn payload_bytes(&self) -> Bytes {
        self.bytes.slice_ref(self.payload())
    }

    fn is_message(&self) -> bool {
        matches!(self.kind, RecordKind::Text { .. } | RecordKind::Binary { .. })
    }
}

/// A name that is stored, now or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Stored by this call.
    Appended,
    /// It was there.
    Repeated,
}

/// A name that was not stored, with what to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub reason: NackReason,
    pub expect: Seq,
}

/// What left a log by its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    pub messages: usize,
    /// First and last position.
    pub range: Option<(Position, Position)>,
}

/// The retained window of a channel.
#[derive(Debug)]
pub struct Log {
    records: VecDeque<Record>,
    /// Absolute index of `records[0]`; grows with every eviction.
    first: u64,
    messages: usize,
    bytes: usize,
    /// Open epoch and its last number; `None` before the first writer.
    head: Option<Position>,
    closed: VecDeque<Position>,
    /// The last record that left by its age.
    expired: Option<Position>,
    limits: LogLimits,
}

impl Log {
    /// An empty log.
    pub fn new(limits: LogLimits) -> Self {
        Self {
            records: VecDeque::new(),
            first: 0,
            messages: 0,
            bytes: 0,
            head: None,
            closed: VecDeque::new(),
            expired: None,
            limits,
        }
    }

    /// Open epoch and last stored number.
    pub fn head(&self) -> Option<Position> {
        self.head
    }

    /// Absolute index after the last record.
    pub fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// Absolute index of the oldest record.
    pub fn start(&self) -> u64 {
        self.first
    }

    /// The record at an absolute index.
    pub fn record(&self, index: u64) -> Option<&Record> {
        self.records.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Bytes retained.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The position before the oldest record that is retained.
    pub fn before_oldest(&self) -> Option<Position> {
        self.records.front().map_or(self.head, |oldest| {
            let Position { epoch, seq, .. } = oldest.position;
            let is_epoch = matches!(oldest.kind, RecordKind::Epoch { .. });
            Some(Position::new(epoch, if is_epoch { seq } else { seq.previous() }))
        })
    }

    /// Tells whether nothing lies between a position and the oldest retained record.
    pub fn reaches(&self, position: Position) -> bool {
        let Some(oldest) = self.before_oldest() else { return true };
        if oldest.epoch == position.epoch {
            return position.seq >= oldest.seq;
        }
        self.follows(Some(position))
            || self.records.iter().any(|r| r.position.epoch == position.epoch)
    }

    /// Tells whether the oldest retained record opens the epoch that follows a position.
    pub(super) fn follows(&self, position: Option<Position>) -> bool {
        let front = self.records.front().map(|r| &r.kind);
        matches!(front, Some(RecordKind::Epoch { prev }) if Some(*prev) == position)
    }

    /// Why what lies before the oldest record is not here.
    pub(super) fn reason(&self, oldest: Position) -> &'static str {
        if self.first == 0 {
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
        open.or_else(|| self.closed.iter().rev().find(|p| p.epoch == epoch).copied()).map(|p| p.seq)
    }

    /// A writer announces the lowest number that it can still send. Returns the head after it.
    pub fn announce(
        &mut self,
        channel: belay_wire::Channel,
        base: Position,
        now: Instant,
    ) -> Position {
        let before = Position::new(base.epoch, base.seq.previous());
        match self.head {
            None => {
                self.head = Some(before);
                before
            }
            Some(head) if head.epoch == base.epoch => {
                if head.seq < before.seq {
                    self.skip(channel, before.seq, "log_lost", now);
                }
                self.head.unwrap_or(before)
            }
            // One that is not remembered may have been closed long ago.
            Some(head) if self.is_closed(base.epoch) || !base.fresh => head,
            Some(head) => {
                self.open_epoch(channel, head, base, now);
                before
            }
        }
    }

    /// Judges a name; `Ok(None)` means that it is the next one and may be appended. A `void` brings no
    /// payload: what is stored under its name stays.
    pub fn judge(
        &self,
        position: Position,
        payload: Option<&[u8]>,
    ) -> Result<Option<Accepted>, Refused> {
        let Some(head) = self.head else {
            return Err(Refused { reason: NackReason::Hole, expect: Seq::ZERO.next() });
        };
        let expect = head.seq.next();
        if position.epoch != head.epoch {
            return Err(Refused { reason: NackReason::EpochClosed, expect });
        }
        if position.seq > expect {
            return Err(Refused { reason: NackReason::Hole, expect });
        }
        if position.seq < expect {
            return self.judge_repeat(position, payload, expect);
        }
        if self.limits.keep_unapplied
            && (self.messages >= self.limits.messages
                || self.records.len() >= self.limits.messages + NOTES_MAX
                || self.bytes + payload.map_or(0, <[u8]>::len) > self.limits.bytes)
        {
            return Err(Refused { reason: NackReason::Full, expect });
        }
        Ok(None)
    }

    /// Tells whether a log that keeps what is not applied takes no further record.
    pub fn is_full(&self) -> bool {
        self.limits.keep_unapplied
            && (self.records.len() >= self.limits.messages + NOTES_MAX
                || self.bytes >= self.limits.bytes)
    }

    fn judge_repeat(
        &self,
        position: Position,
        payload: Option<&[u8]>,
        expect: Seq,
    ) -> Result<Option<Accepted>, Refused> {
        let held = self.records.iter().rev().find(|r| r.position == position && r.is_message());
        match held {
            Some(record) if payload.is_some_and(|payload| record.payload() != payload) => {
                Err(Refused { reason: NackReason::Conflict, expect })
            }
            _ => Ok(Some(Accepted::Repeated)),
        }
    }

    /// Appends the message that [`Log::judge`] found to be next.
    pub fn append(&mut self, msg: &Msg, now: Instant) {
        let text = Frame::encode_msg(msg);
        let kind = RecordKind::Text { payload_len: msg.p.text().len() };
        self.push(Record {
            position: Position::new(msg.epoch, msg.seq),
            kind,
            bytes: text.into(),
            stored_at: now,
        });
    }

    /// Appends a message with a binary payload.
    pub fn append_binary(
        &mut self,
        position: Position,
        header: String,
        payload: Bytes,
        now: Instant,
    ) {
        let kind = RecordKind::Binary { header };
        self.push(Record { position, kind, bytes: payload, stored_at: now });
    }

    /// The writer gave the next number up.
    pub fn void(&mut self, void: Void, now: Instant) {
        let position = Position::new(void.epoch, void.seq);
        let bytes = Frame::from(void).encode().into();
        self.push(Record { position, kind: RecordKind::Note, bytes, stored_at: now });
    }

    /// Everything up to `to` is gone.
    pub fn skip(&mut self, ch: belay_wire::Channel, to: Seq, reason: &str, now: Instant) {
        let Some(head) = self.head else { return };
        let frame = Skip { ch, epoch: head.epoch, to, reason: reason.to_owned() };
        self.push(Record {
            position: Position::new(head.epoch, to),
            kind: RecordKind::Note,
            bytes: Frame::from(frame).encode().into(),
            stored_at: now,
        });
    }

    fn open_epoch(
        &mut self,
        ch: belay_wire::Channel,
        head: Position,
        base: Position,
        now: Instant,
    ) {
        self.closed.push_back(head);
        if self.closed.len() > CHAIN_MAX {
            self.closed.pop_front();
        }
        let frame = EpochFrame {
            ch,
            new: base.epoch,
            base: base.seq,
            prev: Some(head.epoch),
            prev_last: Some(head.seq),
        };
        self.push(Record {
            position: Position::new(base.epoch, base.seq.previous()),
            kind: RecordKind::Epoch { prev: head },
            bytes: Frame::from(frame).encode().into(),
            stored_at: now,
        });
    }

    fn push(&mut self, record: Record) {
        self.head = Some(record.position);
        self.bytes += record.bytes.len();
        self.messages += usize::from(record.is_message());
        self.records.push_back(record);
        if !self.limits.keep_unapplied {
            while self.messages > self.limits.messages
                || (self.bytes > self.limits.bytes && self.records.len() > 1)
            {
                self.evict();
            }
        }
    }

    fn evict(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.first += 1;
            self.bytes -= record.bytes.len();
            self.messages -= usize::from(record.is_message());
        }
    }

    /// Drops records older than the bound; returns how many messages left, and from where to where.
    pub fn expire(&mut self, now: Instant) -> Expired {
        let before = self.messages;
        let first = self.records.front().map(|r| r.position);
        let mut last = None;
        while self
            .records
            .front()
            .is_some_and(|r| now.saturating_duration_since(r.stored_at) > self.limits.age)
        {
            last = self.records.front().map(|r| r.position);
            self.evict();
        }
        self.expired = last.or(self.expired);
        Expired { messages: before - self.messages, range: first.zip(last) }
    }

    /// When the oldest record ages out.
    pub fn expires_at(&self) -> Option<Instant> {
        self.records.front().map(|r| r.stored_at + self.limits.age)
    }

    /// Drops the records before this index.
    pub fn drop_before(&mut self, index: u64) {
        while self.first < index && !self.records.is_empty() {
            self.evict();
        }
    }

    /// The one reader has applied everything up to here: it need not be kept.
    pub fn applied(&mut self, position: Position) {
        while self.records.front().is_some_and(|r| {
            r.position.epoch == position.epoch && r.position.seq <= position.seq
                || r.position.epoch != position.epoch
                    && self.is_closed(r.position.epoch)
                    && self.head.is_some_and(|h| h.epoch == position.epoch)
        }) {
            self.evict();
        }
    }

    fn is_closed(&self, epoch: Epoch) -> bool {
        self.closed.iter().any(|p| p.epoch == epoch)
    }
}

impl Log {
    /// Tells whether epoch `a` was opened after epoch `b`, both being known.
    pub(super) fn is_later_epoch(&self, a: Epoch, b: Epoch) -> bool {
        let rank = |epoch| {
            if self.head.is_some_and(|head| head.epoch == epoch) {
                return Some(self.closed.len());
            }
            self.closed.iter().rposition(|p| p.epoch == epoch)
        };
        matches!((rank(a), rank(b)), (Some(a), Some(b)) if a > b)
    }
}

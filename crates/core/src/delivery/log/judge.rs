//! What a writer says, judged against what is stored and what waits.

use super::{
    Accepted, Log, Mutation, NackReason, Now, Phase, Position, QUEUE_BYTES, QUEUE_RECORDS, Record,
    Refused, Seq,
};
use crate::delivery::ring::NOTES_MAX;

impl Log {
    /// Judges a name. A `void` brings no payload: what is stored under its name stays.
    pub fn judge(&self, position: Position, payload: Option<&[u8]>) -> Result<Accepted, Refused> {
        let head = self.projected();
        let expect = head.map_or(Seq::ZERO, |head| head.seq).next();
        let refuse = |reason| Err(Refused { reason, expect });
        if !self.is_open() || matches!(self.phase, Phase::Away { .. }) {
            return if self.is_open() {
                refuse(NackReason::LogUnavailable)
            } else {
                Err(Refused { reason: NackReason::LogUnavailable, expect: position.seq })
            };
        }
        if head.is_some_and(|head| head.epoch != position.epoch) {
            return refuse(NackReason::EpochClosed);
        }
        if position.seq > expect {
            return refuse(NackReason::Hole);
        }
        // Nothing follows the greatest number: it is taken, too.
        if position.seq < expect || head.is_some_and(|head| position.seq <= head.seq) {
            return self.judge_repeat(position, payload, expect);
        }
        let len = payload.map_or(0, <[u8]>::len);
        let limits = self.ring.limits();
        if limits.keep_unapplied
            && !Mutation::EvictUnapplied.is_on()
            && (self.is_full()
                || self.messages() >= limits.messages
                || self.ring.bytes() + self.queued_bytes + len > limits.bytes)
        {
            return refuse(NackReason::Full);
        }
        if self.is_busy(len) { refuse(NackReason::Busy) } else { Ok(Accepted::Next) }
    }

    fn judge_repeat(
        &self,
        position: Position,
        payload: Option<&[u8]>,
        expect: Seq,
    ) -> Result<Accepted, Refused> {
        let waits = self.queue.iter().rev().find(|r| r.position == position && r.is_message());
        let held = waits.or_else(|| self.ring.find(position));
        if held.is_some_and(|held| payload.is_some_and(|payload| held.payload() != payload)) {
            return Err(Refused { reason: NackReason::Conflict, expect });
        }
        let is_stored =
            self.ring.head().is_some_and(|h| h.epoch == position.epoch && position.seq <= h.seq);
        Ok(if is_stored { Accepted::Stored } else { Accepted::Queued })
    }

    /// Messages that are kept or wait.
    fn messages(&self) -> usize {
        self.ring.messages() + self.queue.iter().filter(|r| r.is_message()).count()
    }

    /// Tells whether no record of any kind may wait any more.
    pub fn is_busy(&self, len: usize) -> bool {
        self.queue.len() >= QUEUE_RECORDS
            || (!self.queue.is_empty() && self.queued_bytes + len > QUEUE_BYTES)
    }

    /// Tells whether a log that keeps what is not applied takes no further record.
    pub fn is_full(&self) -> bool {
        let limits = self.ring.limits();
        limits.keep_unapplied
            && (self.ring.len() + self.queue.len() >= limits.messages + NOTES_MAX
                || self.ring.bytes() + self.queued_bytes >= limits.bytes)
    }

    /// Takes the record that [`Log::judge`] found to be next.
    pub fn enqueue(&mut self, record: Record) {
        if self.projected().is_none() {
            // The writer's first message: nothing came before it.
            let first = Position::new(record.position.epoch, record.position.seq);
            self.put(Record::start(first, record.at));
        }
        self.put(record);
    }

    /// Everything up to `to` is gone at the writer.
    pub fn skip(&mut self, to: Position, reason: &str, at: u64) {
        match self.projected() {
            None => {
                let base = Position::new(to.epoch, to.seq.next());
                self.put(Record::start(base, at));
            }
            Some(head) if head.epoch == to.epoch && head.seq < to.seq => {
                self.put(Record::skip(self.channel, to, reason, at));
            }
            Some(_) => {}
        }
    }

    /// A writer announces the lowest number that it can still send. Returns up to where nothing is
    /// missing that it could send; `None` while the log cannot be read.
    pub fn announce(&mut self, base: Position, now: Now) -> Option<Position> {
        if !self.is_open() {
            return None;
        }
        let before = Position::new(base.epoch, base.seq.previous());
        let Some(head) = self.projected() else {
            self.put(Record::start(base, now.unix_ms));
            return Some(before);
        };
        if self.is_busy(0) {
            return Some(head);
        }
        if head.epoch == base.epoch {
            self.skip(before, "log_lost", now.unix_ms);
            let stored = self.ring.head().filter(|stored| stored.epoch == base.epoch);
            return Some(stored.filter(|stored| stored.seq > before.seq).unwrap_or(before));
        }
        // An epoch that is not remembered may have been closed long ago.
        if (self.is_closed(base) || !base.fresh) && !Mutation::ReopenClosedEpoch.is_on() {
            return Some(head);
        }
        self.put(Record::epoch(self.channel, base, head, now.unix_ms));
        Some(before)
    }

    fn is_closed(&self, base: Position) -> bool {
        let left = |r: &Record| r.position.epoch == base.epoch;
        self.ring.is_closed(base.epoch)
            || self.ring.head().is_some_and(|h| h.epoch == base.epoch)
            || self.queue.iter().any(left)
    }
}

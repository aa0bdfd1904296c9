//! What the port answers, and what other nodes stored.

use super::{
    Accepted, AppendError, Entry, Loaded, Log, LogUnavailable, NackReason, Now, Outcome, Overdue,
    Phase, RETRY_AFTER, Record, RecordKind, Refused, Seq, Tail,
};

impl Log {
    /// An append was answered.
    pub fn on_appended(&mut self, answer: &Result<Tail, AppendError>, now: Now) -> Outcome {
        let mut outcome = Outcome::default();
        if !matches!(self.phase, Phase::Appending { .. }) {
            return outcome;
        }
        self.slow = false;
        self.failing = matches!(answer, Err(AppendError::Refused(_) | AppendError::Unknown(_)));
        match answer {
            Ok(tail) => {
                let tail = *tail;
                let stored_before = self.tail.is_some_and(|t| t.offset >= tail.offset);
                while self.in_flight > 0
                    && let Some(record) = self.drop_front()
                {
                    if !stored_before {
                        self.store(record, tail.offset, now, &mut outcome);
                    }
                }
                if !stored_before {
                    self.tail = Some(tail);
                }
                self.phase =
                    if std::mem::take(&mut self.recheck) { Phase::Unread } else { Phase::Ready };
            }
            Err(AppendError::Refused(_)) => {
                self.phase = Phase::Ready;
                self.refuse_queue(NackReason::LogUnavailable, &mut outcome);
            }
            Err(AppendError::Conflict | AppendError::Unknown(_)) => {
                // Nothing is acknowledged or delivered on a guess: the log says what is there.
                self.in_flight = 0;
                self.phase = Phase::Unread;
            }
        }
        self.mark_evicted(false);
        outcome
    }

    /// The log was read.
    pub fn on_loaded(&mut self, answer: Result<Loaded, LogUnavailable>, now: Now) -> Outcome {
        let mut outcome = Outcome::default();
        if !matches!(self.phase, Phase::Loading { .. }) {
            return outcome;
        }
        self.slow = false;
        self.failing = answer.is_err();
        self.recheck = false;
        let Ok(loaded) = answer else {
            self.phase = Phase::Away { again: now.mono + RETRY_AFTER };
            return outcome;
        };
        outcome.opened = self.tail.is_none();
        if outcome.opened || !self.continues(&loaded) {
            self.rebuild(loaded, now, &mut outcome);
        } else {
            let known = self.tail.map_or(0, |t| t.offset);
            self.tail = Some(loaded.tail);
            for entry in loaded.entries.into_iter().filter(|e| e.offset > known) {
                self.store_entry(entry, now, &mut outcome);
            }
        }
        let heard_more = self.heard > self.tail.map_or(0, |t| t.offset);
        self.phase = if heard_more { Phase::Unread } else { Phase::Ready };
        self.settle(&mut outcome);
        self.mark_evicted(false);
        outcome
    }

    /// Tells whether what was read goes on where the ring ends.
    fn continues(&self, loaded: &Loaded) -> bool {
        let Some(tail) = self.tail else { return false };
        if loaded.tail.incarnation != tail.incarnation || loaded.tail.offset < tail.offset {
            return false;
        }
        let Some((offset, last)) = self.ring.last() else {
            // All of it left the ring: only what comes after the tail is new.
            return tail.offset == 0 || loaded.entries.iter().any(|e| e.offset == tail.offset);
        };
        let same = |e: &Entry| {
            e.offset == offset && e.records.last().is_some_and(|r| r.position == last.position)
        };
        loaded.entries.iter().any(same)
    }

    /// Takes what was read instead of what was known.
    fn rebuild(&mut self, loaded: Loaded, now: Now, outcome: &mut Outcome) {
        outcome.reset = true;
        outcome.changed = true;
        let known = self.ring.head();
        self.ring.clear();
        (self.purge, self.purged, self.purged_at) = (0, 0, self.ring.start());
        self.tail = Some(loaded.tail);
        let bookmark = loaded.entries.first().and_then(|e| e.records.last()).map(|r| r.position);
        let mut found = Outcome::default();
        for entry in loaded.entries {
            self.store_entry(entry, now, &mut found);
        }
        if self.ring.limits().keep_unapplied
            && let Some(bookmark) = bookmark
        {
            self.ring.applied(bookmark);
        }
        if let Some(known) = known {
            let last = self.ring.last_of(known.epoch);
            outcome.went_back = last.is_none_or(|last| last < known.seq);
            let expect = last.map_or(Seq::ZERO, |last| last).next();
            let refused = Refused { reason: NackReason::LogLost, expect };
            outcome.nack = outcome.went_back.then_some((known.epoch, refused));
        }
    }

    fn store_entry(&mut self, entry: Entry, now: Now, outcome: &mut Outcome) {
        for record in entry.records {
            self.store(record, entry.offset, now, outcome);
        }
    }

    /// A record is stored: readers may have it.
    fn store(&mut self, record: Record, offset: u64, now: Now, outcome: &mut Outcome) {
        let breaks = self.ring.head().is_some_and(|head| !record.follows(head));
        if breaks {
            // What lies before the break cannot be told to be whole.
            self.ring.clear();
            outcome.reset = true;
            outcome.broken = true;
        }
        if record.is_message() {
            outcome.stored.push(record.payload().len());
        } else {
            outcome.changed = true;
        }
        let expired = if let RecordKind::Expired { to } = record.kind { Some(to) } else { None };
        let lost = expired.and_then(|to| self.ring.up_to(to));
        self.ring.push(record, offset, now);
        if breaks {
            self.ring.mark_broken();
        }
        if let Some(to) = expired {
            outcome.lost.extend(lost.map(|(from, to, messages)| Overdue { from, to, messages }));
            self.applied(to);
            self.ring.mark_expired(to);
        }
    }

    /// Another node, or this one, stored an entry.
    pub fn on_stored(&mut self, previous: u64, tail: Tail, entry: Entry, now: Now) -> Outcome {
        let mut outcome = Outcome::default();
        self.heard = self.heard.max(tail.offset);
        let Some(known) = self.tail.filter(|_| !matches!(self.phase, Phase::Loading { .. })) else {
            return outcome;
        };
        if tail.incarnation == known.incarnation && tail.offset <= known.offset {
            let name = entry.records.last().map(|r| r.position);
            let evicted = self.ring.first_offset().is_none_or(|first| tail.offset < first);
            if evicted || name.is_some_and(|name| self.ring.holds(tail.offset, name)) {
                return outcome;
            }
            self.doubt();
        } else if tail.incarnation == known.incarnation && previous == known.offset {
            self.tail = Some(tail);
            self.store_entry(entry, now, &mut outcome);
            if !matches!(self.phase, Phase::Appending { .. }) {
                self.settle(&mut outcome);
            }
        } else {
            self.doubt();
        }
        self.mark_evicted(false);
        outcome
    }

    /// Something may have been missed, or the log may have gone back: read it before the next append.
    pub fn doubt(&mut self) {
        match self.phase {
            Phase::Ready | Phase::Away { .. } => self.phase = Phase::Unread,
            Phase::Appending { .. } => self.recheck = true,
            Phase::Loading { .. } => self.heard = u64::MAX,
            Phase::Unread => {}
        }
    }

    /// Judges again what waits, after the log turned out to be another than was thought.
    fn settle(&mut self, outcome: &mut Outcome) {
        let mut refused = None;
        for record in self.take_queue() {
            if refused.is_some() {
                continue;
            }
            match self.judge_queued(&record) {
                Ok(true) => self.put(record),
                Ok(false) => outcome.changed = true,
                Err(refusal) => refused = Some((record.position.epoch, refusal)),
            }
        }
        outcome.nack = refused.or(outcome.nack.take());
    }

    /// `true`: it is still to be stored.
    fn judge_queued(&self, record: &Record) -> Result<bool, Refused> {
        let Some(head) = self.projected() else {
            let reason = NackReason::LogLost;
            let stays = matches!(record.kind, RecordKind::Start);
            return if stays {
                Ok(true)
            } else {
                Err(Refused { reason, expect: Seq::ZERO.next() })
            };
        };
        if record.follows(head) {
            return Ok(true);
        }
        let expect = head.seq.next();
        match record.kind {
            RecordKind::Expired { .. } => Ok(false),
            RecordKind::Start | RecordKind::Epoch { .. } | RecordKind::Note => {
                let at = record.position;
                let is_there = head.epoch == at.epoch && at.seq <= head.seq;
                let reason = NackReason::EpochClosed;
                if is_there { Ok(false) } else { Err(Refused { reason, expect }) }
            }
            RecordKind::Text { .. } | RecordKind::Binary { .. } => {
                let judged = self.judge(record.position, Some(record.payload()))?;
                Ok(judged == Accepted::Next)
            }
        }
    }

    /// Nothing that waits will be stored by this node: its writer keeps it.
    fn refuse_queue(&mut self, reason: NackReason, outcome: &mut Outcome) {
        let waiting = self.take_queue();
        let Some(first) = waiting.front() else { return };
        let expect = self.ring.head().map_or(Seq::ZERO, |head| head.seq).next();
        let expect = if self.ring.head().is_some_and(|h| h.epoch == first.position.epoch) {
            expect
        } else {
            first.before().seq.next()
        };
        outcome.nack = Some((first.position.epoch, Refused { reason, expect }));
    }
}

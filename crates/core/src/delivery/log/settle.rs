//! What the port answers, and what other nodes stored.

use super::{
    Accepted, AppendError, Entry, Epoch, Loaded, Log, LogUnavailable, Mutation, NackReason, Now,
    Outcome, Overdue, Phase, Position, RETRY_AFTER, RETRY_DOUBLES, Record, RecordKind, Refused,
    Seq, Tail,
};

impl Log {
    /// An append was answered.
    pub fn on_appended(&mut self, answer: &Result<Tail, AppendError>, now: Now) -> Outcome {
        let mut outcome = Outcome::default();
        if !matches!(self.phase, Phase::Appending { .. }) {
            return outcome;
        }
        let tail = self.tail.unwrap_or_default();
        let pretended = Ok(Tail { offset: tail.offset + 1, ..tail });
        let is_unknown = matches!(answer, Err(AppendError::Unknown(_)));
        let believes = is_unknown && Mutation::AcknowledgeUnknown.is_on();
        let answer = if believes { &pretended } else { answer };
        self.slow = false;
        let recheck = std::mem::take(&mut self.recheck);
        self.phase = if recheck { Phase::Unread } else { Phase::Ready };
        if !matches!(answer, Err(AppendError::Conflict)) {
            self.failing = answer.is_err();
        }
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
                // Others may have stored something since: what waits is not next any more.
                self.settle(&mut outcome);
            }
            Err(AppendError::Refused(_)) => {
                self.refuse_queue(&mut outcome);
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
        self.recheck = false;
        let Ok(loaded) = answer else {
            let pause = RETRY_AFTER * 2_u32.pow(self.unread.min(RETRY_DOUBLES));
            self.phase = Phase::Away { again: now.mono + pause };
            self.unread = self.unread.saturating_add(1);
            return outcome;
        };
        self.unread = 0;
        outcome.opened = self.tail.is_none();
        if outcome.opened || !self.continues(&loaded) {
            self.rebuild(loaded, now, &mut outcome);
        } else {
            let known = self.tail.map_or(0, |t| t.offset);
            self.tail = Some(loaded.tail);
            let bookmark = bookmark_of(&loaded);
            for entry in loaded.entries.into_iter().filter(|e| e.offset > known) {
                self.store_entry(entry, now, &mut outcome);
            }
            self.take_bookmark(bookmark, &mut outcome);
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
        let new = loaded.entries.iter().find(|e| e.offset > tail.offset);
        loaded.entries.iter().any(same) && new.is_none_or(|entry| self.is_next(entry))
    }

    /// Tells whether an entry goes on where the ring ends. One that does not was appended to a log that
    /// went back and came to the same offset again.
    fn is_next(&self, entry: &Entry) -> bool {
        let follows = |head| entry.records.first().is_some_and(|record| record.follows(head));
        self.ring.head().is_none_or(follows)
    }

    /// Takes what was read instead of what was known.
    fn rebuild(&mut self, loaded: Loaded, now: Now, outcome: &mut Outcome) {
        outcome.reset = true;
        outcome.changed = true;
        let known = self.ring.head();
        self.ring.clear();
        (self.purge, self.purged, self.purged_at) = (0, 0, self.ring.start());
        self.tail = Some(loaded.tail);
        let bookmark = bookmark_of(&loaded);
        let mut found = Outcome::default();
        for entry in loaded.entries {
            self.store_entry(entry, now, &mut found);
        }
        self.take_bookmark(bookmark, outcome);
        if let Some(known) = known {
            let last = self.ring.last_of(known.epoch);
            outcome.went_back = last.is_none_or(|last| last < known.seq);
            let expect = last.map_or(Seq::ZERO, |last| last).next();
            let refused = Refused { reason: NackReason::LogLost, expect };
            outcome.nack = outcome.went_back.then_some((known.epoch, refused));
        }
    }

    /// The first record of an `up` channel says what the host has applied, at whichever node.
    fn take_bookmark(&mut self, bookmark: Option<Position>, outcome: &mut Outcome) {
        let Some(bookmark) = bookmark.filter(|_| self.ring.limits().keep_unapplied) else { return };
        if self.ring.applied(bookmark).is_some() {
            outcome.applied = Some(bookmark);
        }
    }

    fn store_entry(&mut self, entry: Entry, now: Now, outcome: &mut Outcome) {
        for record in entry.records {
            self.store(record, entry.offset, now, outcome);
        }
    }

    /// A record is stored: readers may have it.
    pub(super) fn store(&mut self, record: Record, offset: u64, now: Now, outcome: &mut Outcome) {
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
        } else if tail.incarnation == known.incarnation
            && previous == known.offset
            && self.is_next(&entry)
        {
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

    /// Another node says that it ends here, as far as that one knows.
    pub fn on_hint(&mut self, tail: Tail) {
        self.heard = self.heard.max(tail.offset);
        let is_known =
            |known: Tail| known.incarnation == tail.incarnation && tail.offset <= known.offset;
        if !self.tail.is_some_and(is_known) {
            self.doubt();
        }
    }

    /// The log was found to end here.
    pub fn on_tail(&mut self, tail: Tail) {
        if self.tail != Some(tail) {
            self.doubt();
        }
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
        let mut refusal = None;
        let mut dropped = Vec::new();
        for record in self.take_queue() {
            if refusal.is_some() {
                dropped.push(record);
                continue;
            }
            match self.judge_queued(&record) {
                Ok(true) => self.put(record),
                Ok(false) => outcome.changed = true,
                Err(refused) => {
                    refusal = Some(refused);
                    dropped.push(record);
                }
            }
        }
        if let Some(refused) = refusal {
            outcome.nack = nack_of(&dropped, refused);
        }
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
    fn refuse_queue(&mut self, outcome: &mut Outcome) {
        let dropped = Vec::from(self.take_queue());
        let Some(first) = dropped.first() else { return };
        let expect = first.before().seq.next();
        outcome.nack = nack_of(&dropped, Refused { reason: NackReason::LogUnavailable, expect });
    }
}

/// What the writer is told of records that were dropped: it knows the newest epoch only.
fn nack_of(dropped: &[Record], first: Refused) -> Option<(Epoch, Refused)> {
    let epoch = dropped.last()?.position.epoch;
    let own = dropped.iter().find(|record| record.position.epoch == epoch)?;
    if dropped.first()?.position.epoch == epoch {
        return Some((epoch, first));
    }
    let expect = own.before().seq.next();
    Some((epoch, Refused { reason: NackReason::LogUnavailable, expect }))
}

fn bookmark_of(loaded: &Loaded) -> Option<Position> {
    loaded.entries.first().and_then(|entry| entry.records.last()).map(|record| record.position)
}

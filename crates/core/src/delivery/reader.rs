//! Where one reader stands in one log. A slow reader lags; it never owns a queue.

use belay_wire::{Channel, Gap, Position, Seq};

use super::{log::Log, record::Record, ring::Ring};
use crate::Mutation;

/// A reader's position.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    /// Absolute index of the next record to send.
    next: u64,
    /// What the reader said it has applied; compared once the log has a head.
    resume: Option<Position>,
    resolved: bool,
    /// Position of the last record sent, or that the reader resumed from.
    at: Option<Position>,
}

/// What to send next.
#[derive(Debug)]
pub enum Next<'a> {
    /// Nothing now.
    Wait,
    /// Something is gone for this reader; tell it, then go on.
    Gap(Gap),
    /// The next record.
    Record(&'a Record),
}

impl Cursor {
    /// A cursor of a reader that has applied `resume`, or says nothing.
    pub const fn new(resume: Option<Position>) -> Self {
        Self { next: 0, resume, resolved: false, at: resume }
    }

    /// A cursor of a reader that takes what comes from now on.
    pub fn at_end(ring: Option<&Ring>) -> Self {
        Self {
            next: ring.map_or(0, Ring::end),
            resume: None,
            resolved: true,
            at: ring.and_then(Ring::head),
        }
    }

    /// The log is another than it was: this place is to be found anew.
    pub fn reset(&mut self) {
        if self.resolved {
            // Who came before anything was written has no place to find.
            *self = Self { resolved: self.at.is_none(), ..Self::new(self.at) };
        }
    }

    /// Position of the last record sent.
    pub const fn at(&self) -> Option<Position> {
        self.at
    }

    /// Tells whether this reader has everything that is stored.
    pub fn is_at_head(&self, log: &Log) -> bool {
        let ring = log.ring();
        log.is_open() && (ring.head().is_none() || (self.resolved && self.next >= ring.end()))
    }

    /// Tells whether a position of its epoch lies beyond what this reader was sent.
    pub fn is_passed_by(&self, position: Position) -> bool {
        self.at.is_some_and(|at| at.epoch == position.epoch && at.seq < position.seq)
    }

    /// Tells whether this reader stands beyond a position of its epoch.
    pub fn is_ahead_of(&self, position: Position) -> bool {
        self.at.is_some_and(|at| at.epoch == position.epoch && at.seq > position.seq)
    }

    /// How many retained records this reader has not been sent.
    pub fn lag(&self, log: &Log) -> u64 {
        log.ring().end().saturating_sub(self.next.max(log.ring().start()))
    }

    /// Finds the reader's place, once the log has one. A gap is returned at most once.
    pub fn resolve(&mut self, channel: Channel, log: &Log) -> Option<Gap> {
        if !log.is_open() {
            return None;
        }
        let log = log.ring();
        let Some(head) = log.head() else {
            // Nothing was ever written: who says nothing reads all of what comes.
            self.resolved |= self.resume.is_none();
            return None;
        };
        if self.resolved {
            return self.find_eviction(channel, log);
        }
        self.resolved = true;
        let Some(mut resume) = self.resume else {
            return self.start_without_cursor(channel, log, head);
        };
        if Mutation::PositionWithoutEpoch.is_on() {
            resume.epoch = head.epoch;
        }
        if Mutation::ResumeWithoutChain.is_on() && resume.epoch != head.epoch {
            resume = Position::new(head.epoch, Seq::ZERO);
        }
        let oldest = log.before_oldest().unwrap_or(head);
        if log.last_of(resume.epoch).is_none() {
            self.next = log.start();
            self.at = Some(oldest);
            return Some(gap(channel, oldest, Seq::ZERO.next(), "unknown_cursor"));
        }
        self.next = (log.start()..log.end())
            .find(|i| log.record(*i).is_some_and(|r| is_after(r, resume, log)))
            .unwrap_or(log.end());
        if log.reaches(resume) {
            return None;
        }
        self.at = Some(oldest);
        let same = resume.epoch == oldest.epoch;
        let from = if same { resume.seq.next() } else { Seq::ZERO.next() };
        Some(gap(channel, oldest, from, log.reason(oldest)))
    }

    fn start_without_cursor(
        &mut self,
        channel: Channel,
        log: &Ring,
        head: Position,
    ) -> Option<Gap> {
        if channel == Channel::Down {
            self.next = log.end();
            self.at = Some(head);
            let gap = gap(channel, head, Seq::ZERO.next(), "unknown_cursor");
            let is_empty = log.is_whole() && log.messages() == 0;
            return (!is_empty).then_some(gap);
        }
        self.next = log.start();
        self.at = log.before_oldest();
        // What the host has applied of `up` is not missing; what left `down/<member>` is.
        let oldest = self.at.filter(|_| channel.is_written_by_host() && !log.is_whole())?;
        Some(gap(channel, oldest, Seq::ZERO.next(), "unknown_cursor"))
    }

    fn find_eviction(&mut self, channel: Channel, log: &Ring) -> Option<Gap> {
        // Who came before anything was written may meet a log of which the beginning is gone already.
        let has_begun = self.at.is_some() || !channel.is_written_by_host() || log.is_whole();
        if self.next >= log.start() && has_begun {
            return None;
        }
        if Mutation::BaseFromOldest.is_on() {
            self.next = log.start();
            self.at = log.before_oldest();
            return None;
        }
        self.next = log.start();
        let oldest = log.before_oldest()?;
        let at = self.at.replace(oldest);
        if at.is_none() && log.is_whole() {
            // It came before anything was written, and nothing that a message is was dropped since.
            return None;
        }
        let same_epoch = at.is_some_and(|at| at.epoch == oldest.epoch);
        let from = at.filter(|_| same_epoch).map_or(Seq::ZERO.next(), |at| at.seq.next());
        let misses = if same_epoch {
            from <= oldest.seq
        } else {
            // What was missed lies in a former epoch, unless the oldest record follows this place.
            !log.follows(at)
        };
        misses.then(|| gap(channel, oldest, from, log.reason(oldest)))
    }

    /// What to send next.
    pub fn next<'a>(&mut self, channel: Channel, log: &'a Log) -> Next<'a> {
        if let Some(gap) = self.resolve(channel, log) {
            return Next::Gap(gap);
        }
        if !self.resolved {
            return Next::Wait;
        }
        while let Some(record) = log.ring().record(self.next) {
            if record.is_told() {
                return Next::Record(record);
            }
            self.advance(record.position);
        }
        Next::Wait
    }

    /// The record that [`Cursor::next`] gave was sent.
    pub fn advance(&mut self, position: Position) {
        self.next += 1;
        self.at = Some(position);
    }
}

fn gap(ch: Channel, to: Position, from: Seq, reason: &str) -> Gap {
    Gap { ch, epoch: to.epoch, from, to: to.seq, reason: reason.to_owned() }
}

/// Tells whether a record follows a position in the log's chain of epochs.
fn is_after(record: &Record, position: Position, log: &Ring) -> bool {
    if record.position.epoch == position.epoch {
        return record.position.seq > position.seq;
    }
    // Epochs follow each other in the log; a record of another epoch follows if that epoch is open
    // while the position's is closed, or was closed later.
    log.is_later_epoch(record.position.epoch, position.epoch)
}

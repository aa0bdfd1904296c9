//! The writer of one channel: names, outbox, and what to send again. Pure: no I/O, no clock.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use belay_wire::{
    Channel, Epoch, EpochFrame, FORMER_NAMES_MAX, Frame, LOG_BYTES_MAX, LOG_MESSAGES_MAX, Msg,
    Nack, NackReason, Position, RawJson, Seq, Skip, Void,
};

/// The outbox holds as many unstored messages as it may: slow the source down, or merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("outbox of {0} is full")]
pub struct Full(pub Channel);

/// A message that will not be sent any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GivenUp {
    pub payload: RawJson,
    /// It may be stored under a former name; otherwise it is certainly not.
    pub is_unknown: bool,
}

/// What a nack leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nacked {
    /// Pause before the channel goes on, in milliseconds.
    pub pause: Option<u64>,
    pub given_up: Vec<GivenUp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Content {
    Message { payload: RawJson, key: Option<String> },
    Void { reason: String },
}

/// One number of the outbox, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) seq: Seq,
    content: Content,
    /// Former names under which it may be stored.
    was: Vec<Position>,
    /// It was sent on an earlier connection.
    #[serde(skip)]
    sent_before: bool,
}

impl Entry {
    fn len(&self) -> usize {
        match &self.content {
            Content::Message { payload, .. } => payload.text().len(),
            Content::Void { .. } => 0,
        }
    }
}

/// A writer as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) channel: Channel,
    pub(crate) epoch: Epoch,
    pub(crate) next: Seq,
    /// The highest number that was ever written in this epoch.
    pub(crate) touched: Seq,
    pub(crate) shared: Option<Seq>,
    pub(crate) outbox: VecDeque<Entry>,
}

/// Names and outbox of one channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    channel: Channel,
    epoch: Epoch,
    /// The epoch was never announced.
    fresh: bool,
    next: Seq,
    outbox: VecDeque<Entry>,
    stored: Seq,
    /// What was written on this connection.
    sent: Seq,
    /// The highest number that was ever written in this epoch.
    touched: Seq,
    /// What was stored when this connection began.
    accepted: Seq,
    /// Set by a restart until the next welcome: what this process, and any other that goes on with the same
    /// outbox or an older copy of it, has in common.
    shared: Option<Seq>,
    bytes: usize,
    announced: bool,
    vseq: u64,
    /// Grows with each change of what the outbox holds but additions at its end and removals at its start.
    rewrites: u64,
}

impl Writer {
    /// A writer without memory, in an epoch that the caller draws at random.
    pub fn new(channel: Channel, epoch: Epoch) -> Self {
        Self {
            channel,
            epoch,
            fresh: true,
            next: Seq::ZERO.next(),
            outbox: VecDeque::new(),
            stored: Seq::ZERO,
            sent: Seq::ZERO,
            touched: Seq::ZERO,
            accepted: Seq::ZERO,
            shared: None,
            bytes: 0,
            announced: false,
            vseq: 0,
            rewrites: 0,
        }
    }

    /// The writer that was written down so by a process that has ended. Its epoch may have been announced.
    pub(crate) fn restored(kept: Kept) -> Self {
        let Kept { channel, epoch, next, touched, shared, outbox } = kept;
        let bytes = outbox.iter().map(Entry::len).sum();
        let shared = shared.or(Some(next.previous()));
        let new = Self::new(channel, epoch);
        Self { fresh: false, next, outbox, touched, shared, bytes, ..new }
    }

    /// What is to be written down.
    pub(crate) fn kept(&self) -> Kept {
        Kept {
            channel: self.channel,
            epoch: self.epoch,
            next: self.next,
            touched: self.touched,
            shared: self.shared,
            outbox: self.outbox.clone(),
        }
    }

    /// The outbox, oldest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.outbox.iter()
    }

    /// The highest number that was ever written in this epoch.
    pub(crate) fn touched(&self) -> Seq {
        self.touched
    }

    /// Tells whether it was restored and not welcomed yet.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// See the field.
    pub(crate) fn rewrites(&self) -> u64 {
        self.rewrites
    }

    /// The message that was taken last could not be written down: it was not taken.
    pub(crate) fn take_back(&mut self) {
        if let Some(entry) = self.outbox.pop_back() {
            self.bytes -= entry.len();
            self.next = entry.seq;
        }
    }

    /// Takes a message into the outbox and names it.
    ///
    /// # Errors
    /// [`Full`] when the part that is not stored is at its bound.
    pub fn push(&mut self, payload: RawJson, key: Option<String>) -> Result<Position, Full> {
        let unstored = self.outbox.iter().filter(|e| e.seq > self.stored);
        let (count, bytes) = unstored.fold((0, 0), |(n, b), e| (n + 1, b + e.len()));
        let len = payload.text().len();
        if count >= LOG_MESSAGES_MAX || (count > 0 && bytes + len > LOG_BYTES_MAX) {
            return Err(Full(self.channel));
        }
        let seq = self.next;
        self.next = seq.next();
        self.bytes += len;
        let content = Content::Message { payload, key };
        self.outbox.push_back(Entry { seq, content, was: Vec::new(), sent_before: false });
        self.trim();
        Ok(Position::new(self.epoch, seq))
    }

    /// Bytes of the messages of the outbox.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages of the outbox, oldest first.
    pub fn held(&self) -> Vec<RawJson> {
        let payload = |e: &Entry| match &e.content {
            Content::Message { payload, .. } => Some(payload.clone()),
            Content::Void { .. } => None,
        };
        self.outbox.iter().filter_map(payload).collect()
    }

    /// Names a volatile message: its epoch, `after` and `vseq`.
    pub fn name_volatile(&mut self) -> (Epoch, Seq, u64) {
        self.vseq += 1;
        (self.epoch, self.next.previous(), self.vseq)
    }

    /// What it writes.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// What `auth.base` says of this channel.
    pub fn base(&self) -> Position {
        let seq = self.outbox.front().map_or(self.next, |e| e.seq);
        Position { fresh: self.fresh, ..Position::new(self.epoch, seq) }
    }

    /// Position that the relay has stored, or that its reader has had.
    pub fn stored(&self) -> Position {
        Position::new(self.epoch, self.stored.max(self.base().seq.previous()))
    }

    /// Position of the last message that was named.
    pub fn head(&self) -> Position {
        Position::new(self.epoch, self.next.previous())
    }

    /// Messages and bytes that are under way on this connection.
    pub fn in_flight(&self) -> (usize, usize) {
        let under_way = |e: &&Entry| e.seq > self.stored && e.seq <= self.sent;
        let entries = self.outbox.iter().filter(under_way);
        entries.fold((0, 0), |(n, bytes), e| (n + 1, bytes + e.len()))
    }

    /// A connection was welcomed; `accepted` is the head of the log there. `epoch` is used if this
    /// one is closed.
    pub fn welcomed(&mut self, accepted: Option<Position>, epoch: Epoch) -> Vec<GivenUp> {
        self.announced = accepted.is_some();
        self.fresh = false;
        for entry in &mut self.outbox {
            entry.sent_before |= entry.seq <= self.touched;
        }
        match accepted {
            // A head above what was ever sent means that this memory went back.
            Some(head) if head.epoch == self.epoch && head.seq <= self.reached() => {
                self.stored = head.seq;
                self.sent = head.seq;
                self.accepted = head.seq;
            }
            Some(_) => {
                self.touched = self.touched.max(self.shared.take().unwrap_or(Seq::ZERO));
                return self.renew(epoch);
            }
            None => {
                let before = self.base().seq.previous();
                self.stored = before;
                self.sent = before;
                self.accepted = before;
            }
        }
        self.shared = None;
        Vec::new()
    }

    /// The process ended and another goes on with what was written down.
    pub fn restart(&mut self) {
        *self = Self::restored(self.kept());
    }

    /// The highest number that the log may have of this epoch: what was sent, or lies before the base.
    fn reached(&self) -> Seq {
        self.touched.max(self.stored).max(self.base().seq.previous())
    }

    /// A connection attempt may have announced a fresh epoch without an answer: draw another.
    pub fn unanswered(&mut self, epoch: Epoch) {
        if self.fresh {
            self.epoch = epoch;
            self.rewrites += 1;
        }
    }

    /// The relay has stored this. `false`: it had stored more before.
    pub fn acked(&mut self, position: Position) -> bool {
        if position.epoch != self.epoch {
            return true;
        }
        let went_on = position.seq >= self.stored;
        self.stored = position.seq;
        self.trim();
        went_on
    }

    /// Tells whether an acknowledgement names what was never sent: a copy of this outbox writes, too.
    pub fn is_beyond(&self, position: Position) -> bool {
        position.epoch == self.epoch && position.seq > self.reached()
    }

    /// Somebody else wrote under names of this epoch: what was sent on this connection may be stored or not,
    /// and an acknowledgement may have been of the other's. Goes on in a new epoch, and gives what will not be sent any more.
    pub fn leave_epoch(&mut self, epoch: Epoch) -> Vec<GivenUp> {
        let (accepted, touched) = (self.accepted, self.touched);
        let doubtful = |e: &Entry| e.seq > accepted && e.seq <= touched;
        let (unknown, rest): (VecDeque<_>, _) = self.outbox.drain(..).partition(doubtful);
        self.outbox = rest;
        let unknown = unknown.into_iter().filter_map(|entry| match entry.content {
            Content::Message { payload, .. } => Some(GivenUp { payload, is_unknown: true }),
            Content::Void { .. } => None,
        });
        let unknown: Vec<_> = unknown.collect();
        [unknown, self.renew(epoch)].concat()
    }

    /// The one reader has it: forget.
    pub fn stable(&mut self, position: Position) {
        if position.epoch == self.epoch {
            while self.outbox.front().is_some_and(|e| e.seq <= position.seq) {
                self.drop_front();
            }
        }
    }

    /// Tells whether a nack asks for a new epoch.
    pub fn wants_epoch(&self, nack: &Nack) -> bool {
        let ours = nack.epoch.is_none_or(|e| e == self.epoch);
        ours && matches!(nack.reason, NackReason::EpochClosed | NackReason::Conflict)
    }

    /// A message was not accepted.
    pub fn nacked(&mut self, nack: &Nack, epoch: Epoch) -> Nacked {
        let mut nacked = Nacked::default();
        if nack.epoch.is_some_and(|e| e != self.epoch) {
            return nacked;
        }
        let expect = nack.expect.unwrap_or(self.sent);
        match nack.reason {
            NackReason::Hole | NackReason::LogLost => {
                self.stored = expect.previous();
                self.sent = expect.previous();
            }
            NackReason::RateLimited
            | NackReason::Full
            | NackReason::Busy
            | NackReason::LogUnavailable => {
                self.sent = expect.previous();
                // It may have been the announcement that was not taken.
                self.announced &= nack.reason != NackReason::LogUnavailable;
                nacked.pause = Some(nack.retry_ms.unwrap_or(1_000));
            }
            NackReason::TooLarge | NackReason::NotAllowed => {
                nacked.given_up.extend(self.give_up(expect, nack.reason));
                self.sent = expect.previous();
            }
            NackReason::EpochClosed => nacked.given_up = self.renew(epoch),
            NackReason::Conflict => nacked.given_up = self.leave_epoch(epoch),
            NackReason::HostOffline => {}
        }
        nacked
    }

    /// The next frames to write now, at most so many messages and bytes; one larger message passes alone.
    pub fn frames(&mut self, messages: usize, bytes: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        if !self.announced {
            self.announced = true;
            self.fresh = false;
            frames.push(self.announcement());
        }
        if let Some(lowest) = self.outbox.front().map(|e| e.seq)
            && self.sent < lowest.previous()
        {
            let (ch, epoch, to) = (self.channel, self.epoch, lowest.previous());
            frames.push(Skip { ch, epoch, to, reason: "evicted".to_owned() }.into());
            self.sent = to;
        }
        let from = self.outbox.partition_point(|e| e.seq <= self.sent);
        let mut taken = 0;
        for entry in self.outbox.iter().skip(from).take(messages) {
            if taken > 0 && taken + entry.len() > bytes {
                break;
            }
            taken += entry.len();
            frames.push(self.frame(entry));
            self.sent = entry.seq;
        }
        self.touched = self.touched.max(self.sent);
        frames
    }

    /// Tells whether [`Writer::frames`] has something to give.
    pub fn has_frames(&self) -> bool {
        !self.announced || self.outbox.back().is_some_and(|e| e.seq > self.sent)
    }

    fn announcement(&self) -> Frame {
        EpochFrame {
            ch: self.channel,
            new: self.epoch,
            base: self.base().seq,
            prev: None,
            prev_last: None,
        }
        .into()
    }

    fn frame(&self, entry: &Entry) -> Frame {
        let (ch, epoch, seq) = (self.channel, self.epoch, entry.seq);
        match &entry.content {
            Content::Message { payload, key } => Msg {
                ch,
                epoch,
                seq,
                flags: None,
                key: key.clone(),
                was: entry.was.clone(),
                at: None,
                from: None,
                p: payload.clone(),
            }
            .into(),
            Content::Void { reason } => Void { ch, epoch, seq, reason: reason.clone() }.into(),
        }
    }

    fn give_up(&mut self, seq: Seq, reason: NackReason) -> Option<GivenUp> {
        let entry = self.outbox.iter_mut().find(|e| e.seq == seq)?;
        self.rewrites += 1;
        self.bytes -= entry.len();
        let reason = format!("{reason:?}").to_lowercase();
        let content = std::mem::replace(&mut entry.content, Content::Void { reason });
        let is_unknown = entry.sent_before || !entry.was.is_empty();
        match content {
            Content::Message { payload, .. } => Some(GivenUp { payload, is_unknown }),
            Content::Void { .. } => None,
        }
    }

    /// A new memory: all that is still held gets new numbers from 1, and keeps its former names. What was
    /// acknowledged is no exception: the log may have gone back to before this epoch.
    fn renew(&mut self, epoch: Epoch) -> Vec<GivenUp> {
        let mut given_up = Vec::new();
        let former = std::mem::take(&mut self.outbox);
        let (before, touched) = (self.epoch, self.touched.max(self.stored));
        self.epoch = epoch;
        self.next = Seq::ZERO.next();
        self.bytes = 0;
        for mut entry in former {
            if entry.seq <= touched {
                entry.was.push(Position::new(before, entry.seq));
            }
            match entry.content {
                Content::Message { payload, .. } if entry.was.len() > FORMER_NAMES_MAX => {
                    given_up.push(GivenUp { payload, is_unknown: true });
                    continue;
                }
                // Its number is gone with its epoch.
                Content::Void { .. } => continue,
                Content::Message { .. } => {}
            }
            entry.seq = self.next;
            self.next = self.next.next();
            self.bytes += entry.len();
            self.outbox.push_back(entry);
        }
        self.stored = Seq::ZERO;
        self.sent = Seq::ZERO;
        self.touched = Seq::ZERO;
        self.accepted = Seq::ZERO;
        self.announced = false;
        self.vseq = 0;
        self.rewrites += 1;
        given_up
    }

    /// Stored messages beyond the window leave; those of `up` stay until they are stable.
    fn trim(&mut self) {
        if !self.channel.is_written_by_host() {
            return;
        }
        while (self.outbox.len() > LOG_MESSAGES_MAX || self.bytes > LOG_BYTES_MAX)
            && self.outbox.front().is_some_and(|e| e.seq <= self.stored)
        {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        if let Some(entry) = self.outbox.pop_front() {
            self.bytes -= entry.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(n: u64) -> RawJson {
        RawJson::of(&n).expect("a number is JSON")
    }

    fn seqs(frames: &[Frame]) -> Vec<u64> {
        frames
            .iter()
            .filter_map(|f| if let Frame::Msg(m) = f { Some(m.seq.value()) } else { None })
            .collect()
    }

    fn seq(n: u64) -> Seq {
        Seq::new(n).expect("small")
    }

    fn writer_with(n: u64) -> Writer {
        let mut writer = Writer::new(Channel::Down, Epoch(1));
        for i in 0..n {
            writer.push(payload(i), None).expect("room");
        }
        writer
    }

    #[test]
    fn a_reconnect_sends_again_what_was_not_stored() {
        let mut writer = writer_with(5);
        writer.welcomed(Some(Position::new(Epoch(1), Seq::ZERO)), Epoch(2));
        assert_eq!(seqs(&writer.frames(100, 1_000_000)), [1, 2, 3, 4, 5]);
        writer.acked(Position::new(Epoch(1), seq(2)));

        writer.welcomed(Some(Position::new(Epoch(1), seq(3))), Epoch(2));

        assert_eq!(seqs(&writer.frames(100, 1_000_000)), [4, 5]);
    }

    #[test]
    fn a_log_that_went_back_is_healed_from_the_window() {
        let mut writer = writer_with(5);
        writer.welcomed(Some(Position::new(Epoch(1), Seq::ZERO)), Epoch(2));
        writer.frames(100, 1_000_000);
        writer.acked(Position::new(Epoch(1), seq(5)));

        writer.welcomed(None, Epoch(2));

        assert_eq!(writer.base().seq, seq(1));
        assert_eq!(seqs(&writer.frames(100, 1_000_000)), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_head_that_was_never_sent_means_a_new_epoch() {
        let mut writer = writer_with(2);

        writer.welcomed(Some(Position::new(Epoch(1), seq(9))), Epoch(7));

        let frames = writer.frames(100, 1_000_000);
        assert!(matches!(&frames[0], Frame::EpochFrame(e) if e.new == Epoch(7)));
        assert_eq!(seqs(&frames), [1, 2]);
    }

    #[test]
    fn the_unstored_part_is_bounded() {
        let mut writer = writer_with(LOG_MESSAGES_MAX as u64);

        assert_eq!(writer.push(payload(0), None), Err(Full(Channel::Down)));

        writer.acked(Position::new(Epoch(1), seq(1)));
        assert!(writer.push(payload(0), None).is_ok());
    }

    #[test]
    fn a_refused_message_becomes_void_and_the_rest_goes_on() {
        let mut writer = writer_with(3);
        writer.welcomed(Some(Position::new(Epoch(1), Seq::ZERO)), Epoch(2));
        writer.frames(100, 1_000_000);
        let nack = Nack {
            ch: Channel::Down,
            epoch: Some(Epoch(1)),
            expect: Some(seq(2)),
            reason: NackReason::TooLarge,
            retry_ms: None,
        };

        writer.nacked(&nack, Epoch(2));

        let frames = writer.frames(100, 1_000_000);
        assert!(matches!(&frames[0], Frame::Void(v) if v.seq == seq(2)));
        assert_eq!(seqs(&frames), [3]);
    }
}

//! All that a client remembers of its channels: writers, reader, acknowledgements. Pure: no I/O, no
//! clock, no randomness of its own; the client task, the simulation and the model run the same code.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use belay_wire::{
    Ack, Channel, EPOCHS_PER_MINUTE, Epoch, Frame, Gap, Nack, Position, Positions, RawJson, Void,
    WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX, Welcome,
};

use crate::{
    reader::{Applied, Reader},
    writer::{Full, GivenUp, Writer},
};

/// Acknowledgements wait this long for company.
const ACK_DELAY: Duration = Duration::from_millis(200);
/// Reconnects a minute for what is missing without a word; then it counts as gone.
const HOLES_PER_MINUTE: usize = 3;
const MINUTE: Duration = Duration::from_mins(1);

/// What a frame of the relay means to the application.
#[derive(Debug, Clone)]
pub enum Heard {
    /// Nothing: it was known, or it is the ledger's own business.
    Nothing,
    /// Hand it on.
    Frame(Box<Frame>),
    /// These messages will not be sent any more.
    GivenUp(Vec<(Channel, Vec<GivenUp>)>),
    /// Something is missing: connect again.
    Hole,
    /// Something is missing that did not come although it was asked for: hand on the gap, then hear the frame
    /// once more.
    GaveUp(Box<(Gap, Frame)>),
}

/// A channel that this client writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Outgoing {
    writer: Writer,
    /// The relay said to wait.
    paused: Option<Instant>,
    /// The relay cannot read the log now: it says when it can.
    pending: bool,
    /// Its base was part of the last `auth`.
    offered: bool,
    /// When the last epochs were opened.
    epochs: VecDeque<Instant>,
}

/// What a client remembers of its channels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    outgoing: BTreeMap<Channel, Outgoing>,
    reader: Reader,
    /// Acknowledgements that are to be sent, and since when.
    acks: Positions,
    acks_since: Option<Instant>,
    /// What was acknowledged last.
    applied: Positions,
    /// Logs that had stored more before than they have now.
    went_back: u64,
    /// Where and when something was missing without a word.
    holes: VecDeque<(Option<Channel>, Instant)>,
}

impl Ledger {
    /// Takes a message into the outbox of a channel; `epoch` is used if nothing was written there yet.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(
        &mut self,
        channel: Channel,
        payload: RawJson,
        key: Option<String>,
        epoch: Epoch,
    ) -> Result<Position, Full> {
        self.writer(channel, epoch).push(payload, key)
    }

    /// Names a volatile message: its epoch, `after` and `vseq`.
    pub fn name_volatile(
        &mut self,
        channel: Channel,
        epoch: Epoch,
    ) -> (Epoch, belay_wire::Seq, u64) {
        self.writer(channel, epoch).name_volatile()
    }

    fn writer(&mut self, channel: Channel, epoch: Epoch) -> &mut Writer {
        let new = || Outgoing::new(Writer::new(channel, epoch));
        &mut self.outgoing.entry(channel).or_insert_with(new).writer
    }

    /// Position that the relay has stored of a channel.
    pub fn stored(&self, channel: Channel) -> Option<Position> {
        self.outgoing.get(&channel).map(|o| o.writer.stored())
    }

    /// What the outbox of a channel holds, oldest first.
    pub fn held(&self, channel: Channel) -> Vec<RawJson> {
        self.outgoing.get(&channel).map(|o| o.writer.held()).unwrap_or_default()
    }

    /// Bytes that the outbox of a channel holds.
    pub fn unsettled_bytes(&self, channel: Channel) -> usize {
        self.outgoing.get(&channel).map_or(0, |o| o.writer.bytes())
    }

    /// Position of the last message that was taken for a channel.
    pub fn head(&self, channel: Channel) -> Option<Position> {
        self.outgoing.get(&channel).map(|o| o.writer.head())
    }

    /// A ledger that goes on with these writers, and has applied these positions, oldest first.
    pub fn restored(
        writers: impl IntoIterator<Item = Writer>,
        applied: &[(Channel, Position)],
    ) -> Self {
        let mut ledger = Self::default();
        for writer in writers {
            ledger.outgoing.insert(writer.channel(), Outgoing::new(writer));
        }
        for (channel, position) in applied {
            ledger.reader.restore(*channel, *position);
            ledger.applied.insert(*channel, *position);
        }
        ledger
    }

    /// The process ended and another goes on with what was written down.
    pub fn restart(&mut self) {
        self.holes.clear();
        for outgoing in self.outgoing.values_mut() {
            outgoing.writer.restart();
            *outgoing = Outgoing::new(outgoing.writer.clone());
        }
        self.acks.clear();
        self.acks_since = None;
    }

    /// The writers.
    pub(crate) fn writers(&self) -> impl Iterator<Item = &Writer> {
        self.outgoing.values().map(|o| &o.writer)
    }

    /// The message that was taken last for a channel could not be written down: it was not taken.
    pub(crate) fn take_back(&mut self, channel: Channel) {
        if let Some(outgoing) = self.outgoing.get_mut(&channel) {
            outgoing.writer.take_back();
        }
    }

    /// What `auth.resume` says.
    pub fn resume(&self) -> Positions {
        self.reader.resume()
    }

    /// What `auth.base` says.
    pub fn bases(&mut self) -> Positions {
        let base = |(channel, o): (&Channel, &mut Outgoing)| {
            o.offered = true;
            (*channel, o.writer.base())
        };
        self.outgoing.iter_mut().map(base).collect()
    }

    /// How often a log had stored more before.
    pub fn went_back(&self) -> u64 {
        self.went_back
    }

    /// A connection was welcomed. Gives what will not be sent any more.
    pub fn welcomed(
        &mut self,
        welcome: &Welcome,
        now: Instant,
        draw: &mut dyn FnMut() -> Epoch,
    ) -> Vec<(Channel, Vec<GivenUp>)> {
        let pending: BTreeSet<_> = welcome.pending.iter().copied().collect();
        self.acks.clear();
        self.acks_since = None;
        let mut given_up = Vec::new();
        for (channel, outgoing) in &mut self.outgoing {
            outgoing.paused = None;
            // Who offered no base is not waited for: it announces itself.
            outgoing.pending = pending.contains(channel) && outgoing.offered;
            if !outgoing.pending {
                let accepted = welcome.accepted.get(channel).copied();
                given_up.push((*channel, outgoing.welcomed(accepted, now, draw)));
            }
        }
        given_up.retain(|(_, given_up)| !given_up.is_empty());
        given_up
    }

    /// A connection attempt may have announced fresh epochs without an answer: others are drawn.
    pub fn unanswered(&mut self, draw: &mut dyn FnMut() -> Epoch) {
        self.outgoing.values_mut().for_each(|o| o.writer.unanswered(draw()));
    }

    /// Everything up to here is applied.
    pub fn applied(&mut self, channel: Channel, position: Position, now: Instant) {
        self.applied.insert(channel, position);
        self.acks.insert(channel, position);
        self.acks_since.get_or_insert(now);
    }

    /// Takes a frame of the relay.
    pub fn hear(&mut self, frame: Frame, now: Instant, draw: &mut dyn FnMut() -> Epoch) -> Heard {
        match self.reader.judge(&frame) {
            Applied::Next => {}
            Applied::Known => return self.known(frame, now),
            Applied::Hole => return self.missing(frame, now),
        }
        match frame {
            Frame::Ack(ack) => self.acked(&ack.pos, now, draw),
            Frame::Stable(stable) => {
                for (channel, position) in stable.pos {
                    if let Some(outgoing) = self.outgoing.get_mut(&channel) {
                        outgoing.writer.stable(position);
                    }
                }
                Heard::Nothing
            }
            Frame::Accepted(accepted) => self.accepted(&accepted.pos, now, draw),
            Frame::Nack(nack) => self.nacked(nack, now, draw),
            other => Heard::Frame(Box::new(other)),
        }
    }

    fn missing(&mut self, frame: Frame, now: Instant) -> Heard {
        let channel = match &frame {
            Frame::Msg(m) => Some(m.ch),
            Frame::Void(v) => Some(v.ch),
            Frame::EpochFrame(e) => Some(e.ch),
            _ => None,
        };
        self.holes.retain(|(_, at)| now.saturating_duration_since(*at) < MINUTE);
        if self.holes.iter().filter(|(ch, _)| *ch == channel).count() < HOLES_PER_MINUTE {
            self.holes.push_back((channel, now));
            return Heard::Hole;
        }
        match self.reader.give_up(&frame) {
            Some(gap) => Heard::GaveUp(Box::new((gap, frame))),
            None => Heard::Hole,
        }
    }

    /// What was applied before is acknowledged once more: its acknowledgement may have been lost.
    fn known(&mut self, frame: Frame, now: Instant) -> Heard {
        let Frame::Msg(msg) = frame else { return Heard::Nothing };
        let name = Position::new(msg.epoch, msg.seq);
        if !msg.was.is_empty() && self.reader.position(msg.ch) == Some(name) {
            // It takes a number in its new epoch, and brings nothing.
            let reason = "applied before".to_owned();
            let void = Void { ch: msg.ch, epoch: msg.epoch, seq: msg.seq, reason };
            return Heard::Frame(Box::new(void.into()));
        }
        if let Some(position) = self.applied.get(&msg.ch).copied() {
            self.applied(msg.ch, position, now);
        }
        Heard::Nothing
    }

    fn acked(
        &mut self,
        positions: &Positions,
        now: Instant,
        draw: &mut dyn FnMut() -> Epoch,
    ) -> Heard {
        let mut given_up = Vec::new();
        for (channel, position) in positions {
            let Some(outgoing) = self.outgoing.get_mut(channel) else { continue };
            if outgoing.writer.is_beyond(*position) {
                given_up.push((*channel, outgoing.leave_epoch(now, draw)));
            } else {
                self.went_back += u64::from(!outgoing.writer.acked(*position));
            }
        }
        told(given_up)
    }

    fn accepted(
        &mut self,
        positions: &Positions,
        now: Instant,
        draw: &mut dyn FnMut() -> Epoch,
    ) -> Heard {
        let mut given_up = Vec::new();
        for (channel, position) in positions {
            if let Some(outgoing) = self.outgoing.get_mut(channel) {
                outgoing.pending = false;
                given_up.push((*channel, outgoing.welcomed(Some(*position), now, draw)));
            }
        }
        told(given_up)
    }

    fn nacked(&mut self, nack: Nack, now: Instant, draw: &mut dyn FnMut() -> Epoch) -> Heard {
        let Some(outgoing) = self.outgoing.get_mut(&nack.ch) else {
            return Heard::Frame(Box::new(nack.into()));
        };
        if outgoing.writer.wants_epoch(&nack)
            && let Some(wait) = outgoing.epoch_wait(now)
        {
            outgoing.paused = Some(now + wait);
            return Heard::Nothing;
        }
        let nacked = outgoing.writer.nacked(&nack, draw());
        if let Some(pause) = nacked.pause {
            outgoing.paused = Some(now + Duration::from_millis(pause));
        }
        if nacked.given_up.is_empty() {
            Heard::Frame(Box::new(nack.into()))
        } else {
            Heard::GivenUp(vec![(nack.ch, nacked.given_up)])
        }
    }

    /// What is to be written now.
    pub fn outgoing(&mut self, now: Instant) -> Vec<Frame> {
        let mut frames = Vec::new();
        let under_way = self.outgoing.values().map(|o| o.writer.in_flight());
        let (count, bytes) = under_way.fold((0, 0), |(n, b), (m, c)| (n + m, b + c));
        let mut messages = WINDOW_MESSAGES_MAX.saturating_sub(count);
        let mut room = WINDOW_BYTES_MAX.saturating_sub(bytes);
        for outgoing in self.outgoing.values_mut() {
            if outgoing.pending || outgoing.paused.is_some_and(|until| now < until) {
                continue;
            }
            outgoing.paused = None;
            // One that is larger than the window may pass alone.
            let alone = count == 0 && room == WINDOW_BYTES_MAX;
            let limit = if room == 0 && !alone { 0 } else { messages };
            let before = outgoing.writer.in_flight();
            frames.extend(outgoing.writer.frames(limit, room));
            let after = outgoing.writer.in_flight();
            messages = messages.saturating_sub(after.0.saturating_sub(before.0));
            room = room.saturating_sub(after.1.saturating_sub(before.1));
        }
        let due = self.acks_since.is_some_and(|since| now >= since + ACK_DELAY);
        if !self.acks.is_empty() && (due || !frames.is_empty()) {
            self.acks_since = None;
            frames.push(Ack { pos: std::mem::take(&mut self.acks) }.into());
        }
        frames
    }

    /// When [`Ledger::outgoing`] gives something although nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = |o: &Outgoing| o.paused.filter(|_| o.writer.has_frames());
        let paused = self.outgoing.values().filter_map(waits);
        paused.chain(self.acks_since.map(|since| since + ACK_DELAY)).min()
    }

    /// Forgets a channel.
    pub fn forget(&mut self, channel: Channel) {
        self.outgoing.remove(&channel);
    }

    /// Forgets the channels that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&Channel) -> bool) {
        self.reader.retain(&keep);
        self.outgoing.retain(|channel, _| keep(channel));
        self.acks.retain(|channel, _| keep(channel));
        self.applied.retain(|channel, _| keep(channel));
    }
}

fn told(mut given_up: Vec<(Channel, Vec<GivenUp>)>) -> Heard {
    given_up.retain(|(_, given_up)| !given_up.is_empty());
    if given_up.is_empty() { Heard::Nothing } else { Heard::GivenUp(given_up) }
}

impl Outgoing {
    fn new(writer: Writer) -> Self {
        Self { writer, paused: None, pending: false, offered: false, epochs: VecDeque::new() }
    }

    fn welcomed(
        &mut self,
        accepted: Option<Position>,
        now: Instant,
        draw: &mut dyn FnMut() -> Epoch,
    ) -> Vec<GivenUp> {
        let epoch = draw();
        let given_up = self.writer.welcomed(accepted, epoch);
        if self.writer.head().epoch == epoch
            && let Some(wait) = self.epoch_wait(now)
        {
            self.paused = Some(now + wait);
        }
        given_up
    }

    fn leave_epoch(&mut self, now: Instant, draw: &mut dyn FnMut() -> Epoch) -> Vec<GivenUp> {
        let given_up = self.writer.leave_epoch(draw());
        if let Some(wait) = self.epoch_wait(now) {
            self.paused = Some(now + wait);
        }
        given_up
    }

    /// How long to wait before another epoch may be opened; `None`: it may, and is counted.
    fn epoch_wait(&mut self, now: Instant) -> Option<Duration> {
        self.epochs.retain(|at| now.saturating_duration_since(*at) < MINUTE);
        if self.epochs.len() < EPOCHS_PER_MINUTE as usize {
            self.epochs.push_back(now);
            return None;
        }
        self.epochs
            .front()
            .map(|first| MINUTE.saturating_sub(now.saturating_duration_since(*first)))
    }
}

#[cfg(test)]
mod tests {
    use belay_wire::{Msg, Seq};

    use super::*;

    fn msg(seq: u64) -> Frame {
        let (seq, p) = (Seq::new(seq).expect("small"), RawJson::of(&seq).expect("JSON"));
        let (flags, key, was, at, from) = (None, None, Vec::new(), None, None);
        Msg { ch: Channel::Down, epoch: Epoch(1), seq, flags, key, was, at, from, p }.into()
    }

    #[test]
    fn what_is_missing_is_asked_for_three_times_a_minute_and_then_told_as_gone() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        let mut hear = |seq, at| ledger.hear(msg(seq), at, &mut || Epoch(2));
        assert!(matches!(hear(1, now), Heard::Frame(_)));
        for _ in 0..HOLES_PER_MINUTE {
            assert!(matches!(hear(4, now), Heard::Hole));
        }

        let Heard::GaveUp(gave_up) = hear(4, now) else { panic!("given up") };

        assert_eq!((gave_up.0.from.value(), gave_up.0.to.value()), (2, 3));
        assert!(matches!(hear(4, now), Heard::Frame(_)));
        assert!(matches!(hear(6, now + MINUTE), Heard::Hole));
    }
}

//! What a reader has applied, per channel. Pure: no I/O, no clock.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::collections::BTreeMap;

use belay_wire::{Channel, Epoch, Frame, Position, Positions, Seq};

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is the next one: hand it on.
    Next,
    /// It was applied before: drop it.
    Known,
    /// One is missing without a word: reconnect with `resume`.
    Hole,
}

/// Applied positions.
#[derive(Debug, Default)]
pub struct Reader {
    positions: BTreeMap<Channel, Position>,
    /// Volatile: highest `vseq` per channel and key.
    volatile: BTreeMap<(Channel, String), (Epoch, u64)>,
}

impl Reader {
    /// What `auth.resume` says.
    pub fn resume(&self) -> Positions {
        self.positions.clone()
    }

    /// The position in one channel.
    pub fn position(&self, channel: Channel) -> Option<Position> {
        self.positions.get(&channel).copied()
    }

    /// Judges a frame that has a place in a channel; others are always `Next`.
    pub fn judge(&mut self, frame: &Frame) -> Applied {
        match frame {
            Frame::Msg(m) => self.at(m.ch, m.epoch, m.seq),
            Frame::Void(v) => self.at(v.ch, v.epoch, v.seq),
            Frame::Skip(s) => self.move_to(s.ch, s.epoch, s.to),
            Frame::Gap(g) => self.move_to(g.ch, g.epoch, g.to),
            Frame::EpochFrame(e) => self.move_to(e.ch, e.new, e.base.previous()),
            Frame::Vol(v) => self.volatile(v),
            _ => Applied::Next,
        }
    }

    fn at(&mut self, ch: Channel, epoch: Epoch, seq: Seq) -> Applied {
        let verdict = match self.positions.get(&ch) {
            Some(at) if at.epoch == epoch && seq <= at.seq => Applied::Known,
            Some(at) if at.epoch == epoch && seq > at.seq.next() => Applied::Hole,
            Some(at) if at.epoch != epoch => Applied::Hole,
            _ => Applied::Next,
        };
        if verdict == Applied::Next {
            self.positions.insert(ch, Position::new(epoch, seq));
        }
        verdict
    }

    fn move_to(&mut self, ch: Channel, epoch: Epoch, seq: Seq) -> Applied {
        let known = self.positions.get(&ch).is_some_and(|at| at.epoch == epoch && seq <= at.seq);
        if known {
            return Applied::Known;
        }
        self.positions.insert(ch, Position::new(epoch, seq));
        Applied::Next
    }

    fn volatile(&mut self, vol: &belay_wire::Vol) -> Applied {
        let in_place = self
            .positions
            .get(&vol.ch)
            .is_none_or(|at| at.epoch == vol.epoch && at.seq >= vol.after);
        let held = self.volatile.entry((vol.ch, vol.key.clone())).or_insert((vol.epoch, 0));
        if !in_place || (held.0 == vol.epoch && held.1 >= vol.vseq) {
            return Applied::Known;
        }
        *held = (vol.epoch, vol.vseq);
        if self.volatile.len() > 4 * belay_wire::VOLATILE_KEYS_MAX {
            self.volatile.pop_first();
        }
        Applied::Next
    }

    /// Forgets the other channels.
    pub fn retain(&mut self, keep: impl Fn(&Channel) -> bool) {
        self.positions.retain(|channel, _| keep(channel));
        self.volatile.retain(|(channel, _), _| keep(channel));
    }
}

//! What a reader has applied, per channel. Pure: no I/O, no clock.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::collections::{BTreeMap, VecDeque};

use belay_wire::{Channel, Epoch, EpochFrame, Frame, Gap, Position, Positions, Seq};

/// Epochs of a channel whose applied positions are kept, the open one included: eight of the channel's
/// own chain, and room for the former names of messages.
const EPOCHS_MAX: usize = 8 + belay_wire::FORMER_NAMES_MAX;

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

/// Applied positions of one channel, one per epoch, the newest epoch last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Chain(VecDeque<Position>);

impl Chain {
    fn now(&self) -> Option<Position> {
        self.0.back().copied()
    }

    fn of(&self, epoch: Epoch) -> Option<Position> {
        self.0.iter().find(|at| at.epoch == epoch).copied()
    }

    fn has(&self, name: Position) -> bool {
        self.0.iter().any(|at| at.epoch == name.epoch && name.seq <= at.seq)
    }

    /// A message was applied under another name: this one counts, too.
    fn note(&mut self, name: Position) {
        if self.has(name) {
            return;
        }
        let now = self.now();
        self.move_to(name);
        // The open epoch stays the newest.
        if let Some(now) = now.filter(|now| now.epoch != name.epoch) {
            self.move_to(now);
        }
    }

    fn move_to(&mut self, position: Position) {
        // An epoch that comes again, because the log went back, is the newest once more; what was
        // applied of it stays applied.
        let known = self.0.iter().position(|at| at.epoch == position.epoch);
        let known = known.and_then(|at| self.0.remove(at));
        let seq = known.map_or(position.seq, |at| at.seq.max(position.seq));
        self.0.push_back(Position::new(position.epoch, seq));
        if self.0.len() > EPOCHS_MAX {
            self.0.pop_front();
        }
    }
}

/// Applied positions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Reader {
    chains: BTreeMap<Channel, Chain>,
    /// Volatile: highest `vseq` per channel and key.
    volatile: BTreeMap<(Channel, String), (Epoch, u64)>,
}

impl Reader {
    /// What `auth.resume` says.
    pub fn resume(&self) -> Positions {
        self.chains.iter().filter_map(|(ch, chain)| Some((*ch, chain.now()?))).collect()
    }

    /// A former process of this client has applied this.
    pub(crate) fn restore(&mut self, channel: Channel, position: Position) {
        self.chains.entry(channel).or_default().move_to(position);
    }

    /// The position in one channel.
    pub fn position(&self, channel: Channel) -> Option<Position> {
        self.chains.get(&channel)?.now()
    }

    /// Judges a frame that has a place in a channel; others are always `Next`.
    pub fn judge(&mut self, frame: &Frame) -> Applied {
        match frame {
            Frame::Msg(m) => {
                let verdict = self.at(m.ch, m.epoch, m.seq);
                let chain = self.chains.entry(m.ch).or_default();
                let had = m.was.iter().any(|name| chain.has(*name));
                if verdict != Applied::Next {
                    return verdict;
                }
                if had {
                    return Applied::Known;
                }
                m.was.iter().for_each(|name| chain.note(*name));
                Applied::Next
            }
            Frame::Void(v) => self.at(v.ch, v.epoch, v.seq),
            Frame::Skip(s) => self.move_to(s.ch, s.epoch, s.to),
            Frame::Gap(g) => self.move_to(g.ch, g.epoch, g.to),
            Frame::EpochFrame(e) => self.open_epoch(e),
            Frame::Vol(v) => self.volatile(v),
            _ => Applied::Next,
        }
    }

    /// What is missing before a frame that was a [`Applied::Hole`] does not come: it counts as gone, and
    /// the frame is next.
    pub fn give_up(&mut self, frame: &Frame) -> Option<Gap> {
        let (ch, epoch, to) = match frame {
            Frame::Msg(m) => (m.ch, m.epoch, m.seq.previous()),
            Frame::Void(v) => (v.ch, v.epoch, v.seq.previous()),
            Frame::EpochFrame(e) => (e.ch, e.prev?, e.prev_last?),
            _ => return None,
        };
        let known = self.chains.get(&ch).and_then(|chain| chain.of(epoch));
        let at = known.map_or(Seq::ZERO, |at| at.seq);
        self.move_to(ch, epoch, to);
        let reason = "unknown_cursor".to_owned();
        Some(Gap { ch, epoch, from: at.next(), to, reason })
    }

    fn at(&mut self, ch: Channel, epoch: Epoch, seq: Seq) -> Applied {
        let chain = self.chains.entry(ch).or_default();
        let name = Position::new(epoch, seq);
        let is_next = chain.now().is_none_or(|at| at.epoch == epoch && seq == at.seq.next());
        if chain.has(name) {
            return Applied::Known;
        }
        if !is_next {
            return Applied::Hole;
        }
        chain.move_to(name);
        Applied::Next
    }

    fn move_to(&mut self, ch: Channel, epoch: Epoch, seq: Seq) -> Applied {
        let chain = self.chains.entry(ch).or_default();
        let position = Position::new(epoch, seq);
        if chain.now().is_some_and(|at| at.epoch == epoch && seq <= at.seq) {
            return Applied::Known;
        }
        chain.move_to(position);
        Applied::Next
    }

    fn open_epoch(&mut self, epoch: &EpochFrame) -> Applied {
        let chain = self.chains.entry(epoch.ch).or_default();
        if let (Some(at), Some(prev), Some(last)) = (chain.now(), epoch.prev, epoch.prev_last)
            && at.epoch == prev
            && at.seq < last
        {
            // The end of the former epoch did not come.
            return Applied::Hole;
        }
        self.move_to(epoch.ch, epoch.new, epoch.base.previous())
    }

    fn volatile(&mut self, vol: &belay_wire::Vol) -> Applied {
        let in_place =
            self.position(vol.ch).is_none_or(|at| at.epoch == vol.epoch && at.seq >= vol.after);
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
        self.chains.retain(|channel, _| keep(channel));
        self.volatile.retain(|(channel, _), _| keep(channel));
    }
}

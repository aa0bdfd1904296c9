//! What a peer hears of the time when it was away.

use belay_wire::{Channel, ConnectionId, Lost, Position, Positions, Seq, Stable};

use super::super::{Effect, Effects, Input, Session};
use crate::token::Principal;

impl Session {
    /// Tells a host what members acknowledged while it was away.
    pub(super) fn tell_stable(&mut self, id: ConnectionId, effects: &mut Effects) {
        let readers = self.connections.values().flat_map(|c| &c.readers);
        let own = readers.filter(|r| matches!(r.channel, Channel::DownTo(_)));
        let applied = own.filter_map(|r| Some((r.channel, r.applied?)));
        let is_stored = |(channel, at): &(Channel, Position)| {
            let head = self.channels.get(channel).and_then(|state| state.log.ring().head());
            head.is_some_and(|head| head.epoch == at.epoch && at.seq <= head.seq)
        };
        let pos: Positions = applied.filter(is_stored).collect();
        if !pos.is_empty() {
            self.control(id, Stable { pos }, effects);
        }
    }

    /// Tells a member what it lost while it was away; what lies below its base it has forgotten.
    pub(in super::super) fn tell_lost(
        &mut self,
        id: ConnectionId,
        principal: Principal,
        bases: &Positions,
        effects: &mut Effects,
    ) {
        let Principal::Member(member) = principal else { return };
        let ch = Channel::Up(member);
        let base = bases.get(&ch);
        let Some(device) = self.record.device(member) else { return };
        let is_of_use = |l: &&Lost| base.is_none_or(|b| b.epoch == l.epoch && b.seq <= l.to);
        let lost: Vec<_> = device.lost.iter().filter(is_of_use).cloned().collect();
        if lost.len() < device.lost.len() {
            let base = base.copied();
            effects.then.push(Effect::Feed(Input::LostHeard { member, base }));
        }
        for lost in lost {
            self.control(id, lost, effects);
        }
        let applied = self.channels.get(&ch).and_then(|state| state.log.ring().before_oldest());
        if let Some(applied) = applied.filter(|p| p.seq > Seq::ZERO) {
            // What was applied while it was away.
            self.control(id, Stable { pos: Positions::from([(ch, applied)]) }, effects);
        }
    }
}

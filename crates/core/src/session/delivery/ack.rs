//! What writers and readers are told of what was stored, refused or applied.

use belay_wire::{Channel, ConnectionId, Epoch, Nack, Positions, Stable};

use super::super::{Effects, Event, Session, connection::Reader};
use crate::{Env, delivery::Refused, token::Principal};

impl Session {
    pub(in super::super) fn nack(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        epoch: Epoch,
        refused: Refused,
        retry_ms: Option<u64>,
        effects: &mut Effects,
    ) {
        effects.events.push(Event::MessageRefused { reason: refused.reason });
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.nacked.insert(ch, (epoch, refused.expect));
        }
        let (expect, reason) = (Some(refused.expect), refused.reason);
        self.control(id, Nack { ch, epoch: Some(epoch), expect, reason, retry_ms }, effects);
    }

    pub(in super::super) fn owe_ack(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.owe_ack(ch, env.now.mono);
            effects.wake.push(id);
        }
    }

    pub(super) fn handle_ack(
        &mut self,
        id: ConnectionId,
        positions: &Positions,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let clamped = connection.window.acknowledge(positions);
        effects.wake.push(id);
        let is_ahead = |r: &&Reader| {
            positions.get(&r.channel).is_some_and(|position| r.cursor.is_passed_by(*position))
        };
        if connection.readers.iter().any(|r| is_ahead(&r)) {
            effects.events.push(Event::PositionAhead { what: "ack" });
        }
        for (channel, position) in &clamped {
            if let Some(reader) = connection.readers.iter_mut().find(|r| r.channel == *channel) {
                reader.applied = Some(*position);
            }
        }
        for (channel, position) in clamped {
            let writer = match channel {
                Channel::Down => continue,
                Channel::DownTo(_) => Principal::Host,
                Channel::Up(member) => Principal::Member(member),
            };
            if let (Channel::Up(_), Some(state)) = (channel, self.channels.get_mut(&channel)) {
                state.log.applied(position);
                self.asks = true;
            }
            let pos = Positions::from([(channel, position)]);
            if let Some(writer) = self.connection_of(writer).map(|c| c.id) {
                self.control(writer, Stable { pos }, effects);
            } else {
                self.tell_applied(&pos, effects);
            }
        }
    }
}

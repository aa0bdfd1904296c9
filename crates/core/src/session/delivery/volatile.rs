//! Volatile messages, of which the newest counts.

use belay_wire::{Channel, ConnectionId};

use super::{
    super::{Effect, Effects, Event, Session},
    is_too_long,
};
use crate::{
    Env,
    delivery::{Put, Volatile},
    ports::BusFrame,
};

impl Session {
    pub(super) fn handle_vol(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        message: Volatile,
        size: usize,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.writes(ch) || size > connection.message_bytes_max() {
            return self.protocol_error(id, "volatile message not allowed here", effects);
        }
        // A phone has no stream to send; what floods gives way to its own newest.
        if !connection.is_host() && connection.rate.take(env.now.mono).is_err() {
            return effects.events.push(Event::VolatileReplaced);
        }
        if is_too_long(Some(&message.key)) {
            return self.protocol_error(id, "key of a volatile message is too long", effects);
        }
        if !self.channel_may_exist(ch) {
            return;
        }
        let elsewhere = self.is_read_elsewhere(ch).then(|| message.clone());
        match self.channel(ch, env.policy).volatiles.put(message) {
            Put::Kept => {}
            Put::Replaced => effects.events.push(Event::VolatileReplaced),
            Put::Outdated => return,
        }
        if let Some(message) = elsewhere {
            effects.then.push(Effect::Bus(BusFrame::Volatile { channel: ch, message }));
        }
        effects.wake.extend(self.readers_of(ch));
    }
}

//! What a desktop says while no phone is known to be connected. One may have connected at another node a
//! moment ago, which this node hears of a moment later: it gets what was said since.

use std::collections::VecDeque;

use belay_wire::{Channel, ConnectionId, RawJson};

use super::super::{Effects, Event, Session};
use crate::{Env, ports::Seat, token::Principal};

/// How long after a phone took its seat this node may not have heard of it.
const AGE_MAX_MS: u64 = 2_000;
/// Clocks of nodes and store differ by less.
const SKEW_MS: u64 = 5;
/// Messages, and bytes of them, that wait so long; the oldest leave.
const MESSAGES_MAX: usize = 64;
const BYTES_MAX: usize = 256 * 1024;

/// Messages that nobody is known to read, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread {
    messages: VecDeque<(u64, ConnectionId, RawJson)>,
    bytes: usize,
}

impl Unread {
    /// Takes a message; tells how many left because of it.
    fn put(&mut self, now_ms: u64, from: ConnectionId, message: RawJson) -> usize {
        self.bytes += message.text().len();
        self.messages.push_back((now_ms, from, message));
        let mut left = 0;
        while self.messages.len() > 1
            && (self.messages.len() > MESSAGES_MAX
                || self.bytes > BYTES_MAX
                || self.messages.front().is_some_and(|(at, ..)| at + AGE_MAX_MS < now_ms))
        {
            let Some((_, _, message)) = self.messages.pop_front() else { break };
            self.bytes -= message.text().len();
            left += 1;
        }
        left
    }

    fn take(&mut self) -> VecDeque<(u64, ConnectionId, RawJson)> {
        self.bytes = 0;
        std::mem::take(&mut self.messages)
    }
}

impl Session {
    /// No phone is known to be connected.
    pub(super) fn say_to_nobody(
        &mut self,
        from: ConnectionId,
        message: RawJson,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let left = if self.clustered {
            self.compat.unread.put(env.now.unix_ms, from, message)
        } else {
            // The next phone asks for a snapshot.
            1
        };
        effects.events.extend((0..left).map(|_| Event::Unread));
    }

    /// Phones turn out to be connected elsewhere: they get what was said since they came.
    pub(in super::super) fn say_again(
        &mut self,
        seats: &[Seat],
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        // The generation of a seat is the time at which it was taken, or a little more.
        let phones = seats.iter().filter(|seat| seat.principal != Principal::Host);
        let Some(since) = phones.map(|seat| seat.generation).min() else { return };
        for (at, from, message) in self.compat.unread.take() {
            if at + SKEW_MS < since || !self.relay_append(from, Channel::Down, message, env) {
                effects.events.push(Event::Unread);
            }
        }
    }
}

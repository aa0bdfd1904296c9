//! The flow window of one connection: what was sent and not yet acknowledged, over all channels.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use belay_wire::{Channel, Position, Positions, WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX};

/// Sent and unacknowledged records.
#[derive(Debug, Clone, Default)]
pub struct Window {
    sent: VecDeque<(Channel, Position, usize)>,
    bytes: usize,
    full_since: Option<Instant>,
}

impl Window {
    /// Tells whether a record of this size may be sent. One larger than the window passes alone.
    pub fn has_room(&self, len: usize) -> bool {
        self.sent.is_empty()
            || (self.sent.len() < WINDOW_MESSAGES_MAX && self.bytes + len <= WINDOW_BYTES_MAX)
    }

    /// A record could not be sent.
    pub fn note_full(&mut self, now: Instant) {
        self.full_since.get_or_insert(now);
    }

    /// Since when the window is full without an acknowledgement.
    pub const fn full_since(&self) -> Option<Instant> {
        self.full_since
    }

    /// A record was sent.
    pub fn sent(&mut self, channel: Channel, position: Position, len: usize) {
        self.bytes += len;
        self.sent.push_back((channel, position, len));
    }

    /// Everything that was sent was written. Returns the last position of each channel.
    pub fn acknowledge_all(&mut self) -> Positions {
        self.bytes = 0;
        self.full_since = None;
        self.sent.drain(..).map(|(channel, position, _)| (channel, position)).collect()
    }

    /// The reader acknowledged. Returns the positions clamped to what this connection was sent.
    pub fn acknowledge(&mut self, positions: &Positions) -> Positions {
        let mut clamped = Positions::new();
        let mut freed = 0;
        // What a channel was sent before an acknowledged record, also of former epochs, came first.
        let mut last = BTreeMap::new();
        for (at, (channel, position, _)) in self.sent.iter().enumerate() {
            let p = positions.get(channel);
            if p.is_some_and(|p| p.epoch == position.epoch && position.seq <= p.seq) {
                last.insert(*channel, at);
            }
        }
        let mut at = 0;
        self.sent.retain(|(channel, position, len)| {
            let acked = last.get(channel).is_some_and(|last| at <= *last);
            at += 1;
            if acked {
                freed += len;
                clamped.insert(*channel, *position);
            }
            !acked
        });
        self.bytes -= freed;
        if freed > 0 {
            self.full_since = None;
        }
        clamped
    }
}

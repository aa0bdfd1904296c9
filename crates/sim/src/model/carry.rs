//! Nodes and the log: what goes into a session, and what it asks for.

use belay_core::{
    Input,
    delivery::Ask,
    ports::{Entry, Tail},
    session::LogTold,
};
use belay_wire::{Channel, Frame};

use super::scene::{Scene, ToClient};
use crate::{log::number_of, node::Out, rng::Rng};

/// Sessions draw nothing that matters to delivery.
pub(super) fn nothing_random() -> Rng {
    Rng::new(0)
}

/// Tells whether a frame means something to the ledger of a client.
fn matters(frame: &Frame) -> bool {
    use Frame::{Accepted, Ack, EpochFrame, Gap, Msg, Nack, Skip, Stable, Void, Welcome};
    matches!(
        frame,
        Welcome(_)
            | Accepted(_)
            | Msg(_)
            | Void(_)
            | Skip(_)
            | EpochFrame(_)
            | Ack(_)
            | Stable(_)
            | Nack(_)
            | Gap(_)
    )
}

impl Scene {
    pub(super) fn give(&mut self, node: usize, input: Input) {
        let (now, shared) = (self.now(), &self.stage.shared);
        let out = self.nodes[node].edit().give(input, shared, now, &mut nothing_random());
        self.carry_out(node, out);
    }

    pub(super) fn carry_out(&mut self, node: usize, out: Out) {
        let links = self.links.edit();
        for (connection, frame) in out.frames {
            let link = links.get_mut(&connection).filter(|link| !link.left);
            if let Some(link) = link.filter(|_| matters(&frame)) {
                link.to_client.push_back(ToClient::Frame(Box::new(frame)));
            }
        }
        for connection in out.closed {
            if let Some(link) = links.get_mut(&connection) {
                link.closed = true;
                link.to_client.push_back(ToClient::Closed);
                if link.left {
                    links.remove(&connection);
                }
            }
        }
        for (channel, ask) in out.asks {
            let is_errand = matches!(ask, Ask::Load | Ask::Append { .. });
            if is_errand && channel == self.stage.setup.channel {
                debug_assert!(self.table.asks[node].is_none(), "one at a time");
                self.table.edit().asks[node] = Some(ask);
            } else {
                // What does not matter here never fails.
                self.answer(node, channel, ask);
            }
        }
    }

    pub(super) fn answer(&mut self, node: usize, channel: Channel, ask: Ask) {
        if let Some(told) = self.store(channel, ask) {
            self.give(node, Input::Log { channel, told });
        }
    }

    /// The log does what it was asked; gives its answer.
    pub(super) fn store(&mut self, channel: Channel, ask: Ask) -> Option<LogTold> {
        let done = self.logs.edit().carry_out(channel, ask);
        if let Some(stored) = done.stored.filter(|_| channel == self.stage.setup.channel) {
            self.stored(channel, &stored);
        }
        done.told
    }

    fn stored(&mut self, channel: Channel, stored: &(u64, Tail, Entry)) {
        let audit = self.audit.edit();
        for number in stored.2.records.iter().filter_map(number_of) {
            audit.stored(channel, number);
        }
        let expired = self.logs.expired(channel, &stored.2.records);
        for number in expired.iter().filter_map(number_of) {
            audit.excuse(channel, number);
        }
        if self.nodes.len() > 1 {
            self.table.edit().bus.iter_mut().for_each(|bus| bus.push_back(stored.clone()));
        }
    }

    pub(super) fn tell_log(&mut self, node: usize, told: LogTold) {
        let channel = self.stage.setup.channel;
        self.give(node, Input::Log { channel, told });
    }

    pub(super) fn hear_of(&mut self, node: usize, (previous, tail, entry): (u64, Tail, Entry)) {
        self.tell_log(node, LogTold::Stored { previous, tail, entry });
    }
}

//! How a state becomes the next one.

use std::collections::VecDeque;

use belay_core::{
    Input,
    delivery::Ask,
    ports::{Entry, Tail},
    session::LogTold,
};
use belay_wire::{Channel, ConnectionId, Frame};

use super::{
    moves::Move,
    scene::{Link, Scene, ToClient, ToNode},
};
use crate::{
    audit::Promise,
    log::number_of,
    node::{Hello, Out},
    rng::Rng,
};

/// Seconds that may pass until all is settled: longer than any pause of a client.
const WAITS_MAX: u8 = 12;
/// Connections of one client without a fault, and that each fault may cost.
const TRIES: u8 = 3;
const TRIES_PER_FAULT: u8 = 2;

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
    /// The state after a move.
    pub(super) fn after(&self, step: Move) -> Self {
        let mut next = self.clone();
        next.play(step);
        if next.audit.violation.is_none() {
            next.settle_accounts();
        }
        next.seal();
        next
    }

    fn play(&mut self, step: Move) {
        match step {
            Move::Push => {
                (self.pushes, self.waits) = (self.pushes - 1, 0);
                self.push();
            }
            Move::Connect { client, node } => self.connect(client, node),
            Move::ToNode(id) => self.arrive(id),
            Move::ToClient(id) => self.come_back(id),
            Move::Detach(id) => self.detach(id),
            Move::Answer { node } => {
                if let Some(ask) = self.table.edit().asks[node].take() {
                    self.answer(node, self.stage.setup.channel, ask);
                }
            }
            Move::Late(at) => {
                let ask = self.table.edit().late.remove(at);
                self.store(self.stage.setup.channel, ask);
            }
            Move::Drop(at) => {
                self.table.edit().late.remove(at);
            }
            Move::Bus { node } => {
                for entry in std::mem::take(&mut self.table.edit().bus[node]) {
                    self.hear_of(node, entry);
                }
            }
            Move::Doubt { node } => {
                self.table.edit().doubts[node] = false;
                self.tell_log(node, LogTold::Doubt);
            }
            Move::Wait => self.wait(),
            Move::Fault(kind, of) => self.fail(kind, of),
            Move::CrashUnheard { node } => self.crash_unheard(node),
        }
    }

    /// Nothing moves any more: what is owed must have come, or been told.
    fn settle_accounts(&mut self) {
        let setup = &self.stage.setup;
        let spent = setup.faults.saturating_sub(self.faults);
        let tries = TRIES + spent * TRIES_PER_FAULT;
        let audit = &mut self.audit;
        if self.waits > WAITS_MAX {
            return audit.edit().fail(Promise::Rests, "it does not come to rest".to_owned());
        }
        if self.people.iter().any(|person| person.tries > tries) {
            return audit.edit().fail(Promise::Rests, "a client connects for ever".to_owned());
        }
        if !self.is_at_rest() {
            return;
        }
        let (channel, audit) = (self.stage.setup.channel, self.audit.edit());
        for person in &self.people {
            if let Some(undone) = person.client.undone() {
                audit
                    .fail(Promise::Rests, format!("{} could not store {undone}", person.client.id));
            }
            if person.client.reads().contains(&channel) {
                audit.finish(person.client.id, channel);
            }
        }
    }

    fn push(&mut self) {
        let stage = self.stage.clone();
        let at = self.person_of(stage.setup.writer());
        let person = self.people[at].edit();
        let epoch = person.draw()();
        person.client.push(stage.setup.channel, 0, self.audit.edit(), epoch);
        person.note_epochs();
        self.write(at);
    }

    /// Where a client stands among those who take part.
    pub(super) fn person_of(&self, client: usize) -> usize {
        self.people.iter().position(|person| person.client.id == client).unwrap_or(0)
    }

    pub(super) fn connect(&mut self, at: usize, node: usize) {
        let person = self.people[at].edit();
        person.tries += 1;
        let client = &mut person.client;
        let mut id = [0; 16];
        (id[0], id[1]) = (u8::try_from(client.id).unwrap_or(u8::MAX), person.tries);
        let connection = ConnectionId::from_bytes(id);
        client.attempt += 1;
        client.connection = Some((connection, false));
        let hello = Hello {
            client: client.id,
            connection,
            instance: client.instance,
            attempt: client.attempt,
            resume: client.ledger.resume(),
            base: client.ledger.bases(),
        };
        let to_node = VecDeque::from([ToNode::Attach(Box::new(hello))]);
        let to_client = VecDeque::new();
        let link = Link { node, to_node, to_client, left: false, closed: false };
        self.links.edit().insert(connection, link);
    }

    fn arrive(&mut self, id: ConnectionId) {
        let Some(link) = self.links.edit().get_mut(&id) else { return };
        let (node, arrived) = (link.node, std::mem::take(&mut link.to_node));
        for item in arrived {
            match item {
                ToNode::Attach(hello) => {
                    let (now, shared) = (self.now(), &self.stage.shared);
                    let node_here = self.nodes[node].edit();
                    let out = node_here.attach(*hello, shared, now, &mut nothing_random());
                    self.carry_out(node, out);
                }
                ToNode::Frame(frame) => self.give(node, Input::Frame { connection: id, frame }),
            }
        }
    }

    fn come_back(&mut self, id: ConnectionId) {
        let Some(link) = self.links.edit().get_mut(&id) else { return };
        let arrived = std::mem::take(&mut link.to_client);
        let at = self.person_of(usize::from(id.as_bytes()[0]));
        for item in arrived {
            if self.people[at].client.connection.is_none_or(|(open, _)| open != id) {
                return;
            }
            match item {
                ToClient::Closed => self.cut(at),
                ToClient::Frame(frame) => {
                    if let Frame::Gap(gap) = &*frame {
                        self.check_gap(at, gap);
                    }
                    let now = self.now().mono;
                    let person = self.people[at].edit();
                    let mut draw = person.draw();
                    let audit = self.audit.edit();
                    let goes_on = person.client.hear(*frame, now, audit, &mut draw);
                    person.note_epochs();
                    if goes_on { self.write(at) } else { self.cut(at) }
                }
            }
        }
    }

    fn detach(&mut self, id: ConnectionId) {
        let Some(link) = self.links.edit().remove(&id) else { return };
        if !link.closed && self.nodes[link.node].has(id) {
            let (now, shared) = (self.now(), &self.stage.shared);
            let node = self.nodes[link.node].edit();
            let out = node.detach(id, shared, now, &mut nothing_random());
            self.carry_out(link.node, out);
        }
    }

    /// A connection ends at its client, which goes on.
    pub(super) fn cut(&mut self, at: usize) {
        if self.people[at].client.connection.is_some() {
            self.leave(at);
            self.come_again(at);
        }
    }

    /// Where there is no choice, nothing is decided until the node hears of it.
    pub(super) fn come_again(&mut self, at: usize) {
        if self.nodes.len() == 1 {
            self.connect(at, 0);
        }
    }

    /// A client leaves its connection.
    pub(super) fn leave(&mut self, at: usize) {
        let person = self.people[at].edit();
        let Some((connection, welcomed)) = person.client.connection.take() else { return };
        if !welcomed {
            person.client.ledger.unanswered(&mut person.draw());
            person.note_epochs();
        }
        let links = self.links.edit();
        if let Some(link) = links.get_mut(&connection) {
            link.left = true;
            link.to_client.clear();
            if link.closed {
                links.remove(&connection);
            }
        }
    }

    /// A client writes what it has to write.
    fn write(&mut self, at: usize) {
        let now = self.now().mono;
        let Some((connection, true)) = self.people[at].client.connection else { return };
        let frames = self.people[at].edit().client.ledger.outgoing(now);
        if let Some(link) = self.links.edit().get_mut(&connection).filter(|link| !link.closed) {
            link.to_node.extend(frames.into_iter().map(|frame| ToNode::Frame(Box::new(frame))));
        }
    }

    fn wait(&mut self) {
        self.waits += 1;
        self.at += 1_000;
        (0..self.nodes.len()).for_each(|node| self.give(node, Input::Tick));
        (0..self.people.len()).for_each(|at| self.write(at));
    }

    pub(super) fn tell_log(&mut self, node: usize, told: LogTold) {
        let channel = self.stage.setup.channel;
        self.give(node, Input::Log { channel, told });
    }

    pub(super) fn hear_of(&mut self, node: usize, (previous, tail, entry): (u64, Tail, Entry)) {
        self.tell_log(node, LogTold::Stored { previous, tail, entry });
    }

    pub(super) fn give(&mut self, node: usize, input: Input) {
        let (now, shared) = (self.now(), &self.stage.shared);
        let out = self.nodes[node].edit().give(input, shared, now, &mut nothing_random());
        self.carry_out(node, out);
    }

    fn carry_out(&mut self, node: usize, out: Out) {
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

    fn answer(&mut self, node: usize, channel: Channel, ask: Ask) {
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
}

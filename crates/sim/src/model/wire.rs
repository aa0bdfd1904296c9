//! Connections: what clients and nodes send each other, and how it ends.

use std::collections::VecDeque;

use belay_core::Input;
use belay_wire::{ConnectionId, Frame};

use super::{
    carry::nothing_random,
    scene::{Link, Scene, ToClient, ToNode},
};
use crate::node::Hello;

impl Scene {
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

    pub(super) fn arrive(&mut self, id: ConnectionId) {
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

    pub(super) fn come_back(&mut self, id: ConnectionId) {
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

    pub(super) fn detach(&mut self, id: ConnectionId) {
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
    pub(super) fn write(&mut self, at: usize) {
        let now = self.now().mono;
        let Some((connection, true)) = self.people[at].client.connection else { return };
        let frames = self.people[at].edit().client.ledger.outgoing(now);
        if let Some(link) = self.links.edit().get_mut(&connection).filter(|link| !link.closed) {
            link.to_node.extend(frames.into_iter().map(|frame| ToNode::Frame(Box::new(frame))));
        }
    }
}

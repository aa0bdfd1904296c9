//! What can happen next.

use belay_core::delivery::Ask;
use belay_wire::ConnectionId;

use super::{
    scene::{Person, Scene},
    setup::Fault,
};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// The writer sends a message.
    Push,
    Connect {
        client: usize,
        node: usize,
    },
    /// All that is under way arrives.
    ToNode(ConnectionId),
    ToClient(ConnectionId),
    /// A node finds that its client left; what is under way is lost.
    Detach(ConnectionId),
    /// The log does what it was asked.
    Answer {
        node: usize,
    },
    /// The same, of an append whose node was told nothing.
    Late(usize),
    /// It will never be stored.
    Drop(usize),
    /// A node hears what others stored.
    Bus {
        node: usize,
    },
    /// It compares tails.
    Doubt {
        node: usize,
    },
    /// A second passes.
    Wait,
    /// Something of a node or client fails.
    Fault(Fault, usize),
    /// A node dies, and what it sent last is lost, too.
    CrashUnheard {
        node: usize,
    },
}

impl Scene {
    /// What can happen next, faults included.
    pub(super) fn moves(&self, moves: &mut Vec<Move>) {
        if self.violation().is_some() {
            return;
        }
        self.errands(moves);
        if moves.is_empty() && self.is_due() {
            moves.push(Move::Wait);
        }
        if self.pushes > 0 {
            moves.push(Move::Push);
        }
        if self.faults > 0 {
            self.faults(moves);
        }
    }

    /// Tells whether nothing happens any more but what somebody does, and faults.
    pub(super) fn is_at_rest(&self) -> bool {
        let mut errands = Vec::new();
        self.errands(&mut errands);
        errands.is_empty() && !self.is_due()
    }

    /// What happens by itself, without time.
    pub(super) fn errands(&self, moves: &mut Vec<Move>) {
        let apart = self.people.iter().enumerate();
        for (client, _) in apart.filter(|(_, person)| person.client.connection.is_none()) {
            moves.extend((0..self.nodes.len()).map(|node| Move::Connect { client, node }));
        }
        for (id, link) in &*self.links {
            if !link.to_node.is_empty() && !link.closed {
                moves.push(Move::ToNode(*id));
            }
            if !link.to_client.is_empty() {
                moves.push(Move::ToClient(*id));
            }
            if link.left {
                moves.push(Move::Detach(*id));
            }
        }
        for node in 0..self.nodes.len() {
            let asked = self.table.asks[node].is_some();
            moves.extend(asked.then_some(Move::Answer { node }));
            let told = !self.table.bus[node].is_empty();
            moves.extend(told.then_some(Move::Bus { node }));
            // A minute later, when what was under way has come.
            let compares = self.table.doubts[node] && !told;
            moves.extend(compares.then_some(Move::Doubt { node }));
        }
        let late = 0..self.table.late.len();
        moves.extend(late.flat_map(|at| [Move::Late(at), Move::Drop(at)]));
    }

    /// Tells whether time changes something soon.
    fn is_due(&self) -> bool {
        let (now, shared) = (self.now().mono, &self.stage.shared);
        self.nodes.iter().any(|node| node.is_due(shared, now))
            || self.people.iter().any(|person| {
                let welcomed = person.client.connection.is_some_and(|(_, welcomed)| welcomed);
                welcomed && person.client.ledger.deadline().is_some()
            })
    }

    fn faults(&self, moves: &mut Vec<Move>) {
        for kind in self.stage.setup.kinds.iter().copied() {
            let of = |n: usize| Move::Fault(kind, n);
            match kind {
                Fault::Cut | Fault::Restart | Fault::ForgetWriter | Fault::ForgetReader => {
                    let people = self.people.iter().enumerate();
                    let here = people.filter(|(_, person)| self.may_fail(kind, person));
                    moves.extend(here.map(|(client, _)| of(client)));
                }
                Fault::Crash => (0..self.nodes.len()).for_each(|node| self.crashes(node, moves)),
                Fault::Refuse | Fault::Unknown => {
                    let may_fail = |node: &usize| match &self.table.asks[*node] {
                        Some(Ask::Append { .. }) => true,
                        Some(_) => kind == Fault::Refuse,
                        None => false,
                    };
                    moves.extend((0..self.nodes.len()).filter(may_fail).map(of));
                }
                Fault::GoBack if self.logs.entries(self.stage.setup.channel) < 2 => {}
                Fault::Lose if self.logs.entries(self.stage.setup.channel) == 0 => {}
                Fault::GoBack | Fault::Lose | Fault::Sleep => moves.push(of(0)),
                Fault::LoseBus | Fault::DoubleBus | Fault::Reorder => {
                    let least = if kind == Fault::Reorder { 2 } else { 1 };
                    let has = |node: &usize| self.table.bus[*node].len() >= least;
                    moves.extend((0..self.nodes.len()).filter(has).map(of));
                }
            }
        }
    }

    fn may_fail(&self, kind: Fault, person: &Person) -> bool {
        let writes = person.client.id == self.stage.setup.writer();
        let concerned =
            (kind != Fault::ForgetWriter || writes) && (kind != Fault::ForgetReader || !writes);
        concerned && person.client.connection.is_some()
    }

    fn crashes(&self, node: usize, moves: &mut Vec<Move>) {
        moves.push(Move::Fault(Fault::Crash, node));
        let mut theirs = self.links.values().filter(|link| link.node == node && !link.closed);
        if theirs.any(|link| !link.to_client.is_empty()) {
            moves.push(Move::CrashUnheard { node });
        }
    }
}

//! How a state becomes the next one.

use belay_core::{Input, session::LogTold};

use super::{moves::Move, scene::Scene};
use crate::audit::Promise;

/// Seconds that may pass until all is settled: longer than any pause of a client.
const WAITS_MAX: u8 = 12;
/// Connections of one client without a fault, and that each fault may cost.
const TRIES: u8 = 3;
const TRIES_PER_FAULT: u8 = 2;

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

    fn wait(&mut self) {
        self.waits += 1;
        self.at += 1_000;
        (0..self.nodes.len()).for_each(|node| self.give(node, Input::Tick));
        (0..self.people.len()).for_each(|at| self.write(at));
    }
}

//! What can happen to tokens.

use belay_core::Input;

use super::world::{Breach, Held, Holder, PAUSE_MS, World};
use crate::node::MEMBERS;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A holder connects with the token that it wrote down. The save that this needs may fail.
    Connect { holder: Holder, saved: bool },
    /// It writes down what it was offered.
    Take(Holder),
    /// It confirms what it wrote down, on the connection that brought it.
    Confirm { holder: Holder, saved: bool },
    /// The relay offers a successor on a long connection.
    Rotate(Holder),
    /// Somebody copies the device's token.
    Steal,
    /// The device sends an `auth` that is under way for long, and gives that connection up.
    Postpone,
    /// It arrives.
    Arrive,
    /// The relay dies and comes back with what is stored.
    Crash,
    /// The store loses its last save.
    RollBack,
    /// The host revokes the device; the second place may fail.
    Revoke { both: bool },
    /// The second place works again.
    Retry,
    /// A quarter of an hour passes.
    Wait,
}

impl World {
    /// What can happen next. Offers are lost by not being taken.
    pub(super) fn steps(&self, steps: &mut Vec<Step>) {
        if self.breach.is_some() {
            return;
        }
        let (case, may_fail) = (self.stage.case, self.faults > 0);
        let has_room = self.connections < case.connections;
        let holders = [(Holder::Device, Some(&self.device)), (Holder::Thief, self.thief.as_ref())];
        for (holder, held) in holders.into_iter().filter_map(|(h, held)| Some((h, held?))) {
            if has_room {
                steps.push(Step::Connect { holder, saved: true });
                steps.extend(may_fail.then_some(Step::Connect { holder, saved: false }));
            }
            steps.extend(held.offer.map(|_| Step::Take(holder)));
            if held.confirms {
                steps.push(Step::Confirm { holder, saved: true });
                steps.extend(may_fail.then_some(Step::Confirm { holder, saved: false }));
            }
            let is_long = held.open.is_some() && held.since < self.at;
            steps.extend(is_long.then_some(Step::Rotate(holder)));
        }
        steps.extend((case.thief && self.thief.is_none()).then_some(Step::Steal));
        steps.extend(self.postponed.map(|_| Step::Arrive));
        steps.extend((case.revoke && !self.revoked).then_some(Step::Revoke { both: true }));
        steps.extend(self.owed.then_some(Step::Retry));
        steps.extend((self.waits > 0).then_some(Step::Wait));
        if may_fail {
            steps.push(Step::Crash);
            steps.extend((has_room && self.postponed.is_none()).then_some(Step::Postpone));
            steps.extend((case.revoke && !self.revoked).then_some(Step::Revoke { both: false }));
            let has_more = case.rollback && self.stored.len() > 1;
            steps.extend(has_more.then_some(Step::RollBack));
        }
    }

    pub(super) fn after(&self, step: Step) -> Self {
        let mut next = self.clone();
        next.play(step);
        if next.is_marked_revoked() && !next.revoked && next.thief.is_none() {
            next.breach.get_or_insert(Breach::Punished);
        }
        next.seal();
        next
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Connect { holder, saved } => self.connect(holder, saved),
            Step::Take(holder) => {
                if let Some(held) = self.held(holder)
                    && let Some(offer) = held.offer.take()
                {
                    (held.token, held.is_own, held.confirms) = (offer, true, held.open.is_some());
                }
            }
            Step::Confirm { holder, saved } => self.confirm(holder, saved),
            Step::Rotate(holder) => self.rotate(holder),
            Step::Steal => {
                let (open, offer, confirms, is_own, served) = (None, None, false, false, 0);
                self.thief = Some(Held { open, offer, confirms, is_own, served, ..self.device });
            }
            Step::Postpone => {
                self.faults -= 1;
                self.postponed = Some((self.device.token, self.at));
            }
            Step::Arrive => self.arrive(),
            Step::Crash => {
                self.faults -= 1;
                self.die();
            }
            Step::RollBack => {
                self.faults -= 1;
                self.stored.edit().pop();
                self.went_back = true;
                self.device.served = 0;
                self.thief.iter_mut().for_each(|thief| thief.served = 0);
                self.die();
            }
            Step::Revoke { both } => {
                self.faults -= u8::from(!both);
                self.owed = !both;
                self.second = both;
                (self.revoked, self.went_back) = (true, false);
                self.give(Input::Revoke { member: MEMBERS[0] }, true);
            }
            Step::Retry => (self.owed, self.second) = (false, true),
            Step::Wait => {
                self.waits -= 1;
                self.at += PAUSE_MS;
                // A connection on which something is under way for so long is dead.
                for held in std::iter::once(&mut self.device).chain(&mut self.thief) {
                    if held.confirms || held.offer.is_some() {
                        held.leave();
                    }
                }
            }
        }
    }
}

//! What the holders of tokens do, and what it shows.

use belay_core::{Input, Session};
use belay_wire::{AUTH_TIMEOUT, CloseCode, ConnectionId, TokenConfirm};

use super::world::{Breach, Held, Holder, World};
use crate::{model::part::Part, node};

impl World {
    pub(super) fn connect(&mut self, holder: Holder, saved: bool) {
        self.faults -= u8::from(!saved);
        let case = self.stage.case;
        let Some(held) = self.held(holder) else { return };
        let (token, is_own) = (held.token, held.is_own);
        held.leave();
        let connection = self.attach(token, holder == Holder::Device && case.has_key, false, saved);
        let Ok(connection) = connection else { return self.refused(holder, &connection) };
        if self.second || (self.revoked && !self.went_back) {
            self.breach = Some(Breach::Returned);
        }
        if holder == Holder::Thief && case.has_key {
            self.breach = Some(Breach::Theft);
        }
        let (offer, at) = (self.offered(connection), self.at);
        if let Some(held) = self.held(holder) {
            (held.open, held.offer, held.since) = (Some(connection), offer, at);
        }
        if is_own {
            self.note_served(holder, token.generation);
        }
    }

    /// Somebody is not let in: it must have been so.
    fn refused(&mut self, holder: Holder, result: &Result<ConnectionId, Option<CloseCode>>) {
        // Without a key, who is robbed may be taken for the thief.
        let excused = self.revoked || (self.thief.is_some() && !self.stage.case.has_key);
        if holder == Holder::Device && !excused && matches!(result, Err(Some(_))) {
            self.breach.get_or_insert(Breach::LockedOut);
        }
    }

    fn note_served(&mut self, holder: Holder, generation: u64) {
        let bit = 1 << generation.min(31);
        if let Some(held) = self.held(holder) {
            held.served |= bit;
        }
        let thief = self.thief.as_ref().map_or(0, |thief| thief.served);
        if !self.stage.case.has_key && self.device.served & thief != 0 {
            self.breach.get_or_insert(Breach::Unnoticed);
        }
    }

    pub(super) fn confirm(&mut self, holder: Holder, saved: bool) {
        self.faults -= u8::from(!saved);
        let shared = &self.stage.shared;
        let Some(held) = (match holder {
            Holder::Device => Some(&self.device),
            Holder::Thief => self.thief.as_ref(),
        }) else {
            return;
        };
        let Some(connection) = held.open else { return };
        let (token, generation) = (shared.keys.mint(&held.token), held.token.generation);
        let frame = Box::new(TokenConfirm { token }.into());
        self.held(holder).into_iter().for_each(|held| held.confirms = false);
        self.give(Input::Frame { connection, frame }, saved);
        let still_open = self.held(holder).is_some_and(|held| held.open.is_some());
        if saved && still_open {
            self.note_served(holder, generation);
        }
    }

    pub(super) fn rotate(&mut self, holder: Holder) {
        let Some(connection) = self.held(holder).and_then(|held| held.open) else { return };
        let at = self.at;
        let (now, stage) = (self.now(), self.stage.clone());
        let mut entropy = self.entropy();
        let mut env = node::env(&stage.shared, now, &mut entropy);
        if self.session.edit().rotate(connection, &mut env) {
            let offer = self.offered(connection);
            if let Some(held) = self.held(holder) {
                (held.offer, held.since) = (offer, at);
            }
        }
    }

    /// An `auth` of before: whatever becomes of it, nobody listens any more.
    pub(super) fn arrive(&mut self) {
        let Some((token, sent)) = self.postponed.take() else { return };
        let is_old = u128::from(self.at - sent) > AUTH_TIMEOUT.as_millis();
        let _ = self.attach(token, self.stage.case.has_key, is_old, true);
    }

    pub(super) fn die(&mut self) {
        let Some(record) = self.stored.last().cloned() else { return };
        self.session = Part::new(Session::load(record));
        self.device.leave();
        self.thief.iter_mut().for_each(Held::leave);
    }
}

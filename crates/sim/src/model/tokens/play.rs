//! What can happen to tokens, and what follows.

use belay_core::{
    Effect, Effects, Env, Input, Session,
    session::{Attach, OutFrame},
    token::Claims,
};
use belay_wire::{
    AUTH_TIMEOUT, ClientInfo, CloseCode, ConnectionId, Frame, Positions, TokenConfirm,
};

use super::world::{Breach, Held, Holder, PAUSE_MS, World};
use crate::{model::part::Part, node::MEMBERS, rng::Rng};

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

    fn die(&mut self) {
        let Some(record) = self.stored.last().cloned() else { return };
        self.session = Part::new(Session::load(record));
        self.device.leave();
        self.thief.iter_mut().for_each(Held::leave);
    }

    fn connect(&mut self, holder: Holder, saved: bool) {
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

    fn confirm(&mut self, holder: Holder, saved: bool) {
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

    fn rotate(&mut self, holder: Holder) {
        let Some(connection) = self.held(holder).and_then(|held| held.open) else { return };
        let at = self.at;
        let (now, stage) = (self.now(), self.stage.clone());
        let mut entropy = self.entropy();
        let mut env = Env {
            now,
            entropy: &mut entropy,
            keys: &stage.shared.keys,
            hash_key: &stage.shared.hash_key,
            policy: &stage.shared.policy,
        };
        if self.session.edit().rotate(connection, &mut env) {
            let offer = self.offered(connection);
            if let Some(held) = self.held(holder) {
                (held.offer, held.since) = (offer, at);
            }
        }
    }

    /// An `auth` of before: whatever becomes of it, nobody listens any more.
    fn arrive(&mut self) {
        let Some((token, sent)) = self.postponed.take() else { return };
        let is_old = u128::from(self.at - sent) > AUTH_TIMEOUT.as_millis();
        let _ = self.attach(token, self.stage.case.has_key, is_old, true);
    }

    /// What each offer draws is another, and the same in each run.
    fn entropy(&self) -> Rng {
        Rng::new(u64::from(self.connections) << 32 | self.at)
    }

    /// `Err`: refused, or the relay died over it.
    fn attach(
        &mut self,
        claims: Claims,
        proof_valid: bool,
        nonce_is_old: bool,
        saved: bool,
    ) -> Result<ConnectionId, Option<CloseCode>> {
        self.connections += 1;
        let connection = ConnectionId::from_bytes([self.connections; 16]);
        let text = || "model".to_owned();
        // Each connection is an instance of its own.
        let instance = self.connections.to_string();
        let attach = Attach {
            connection,
            claims,
            client: ClientInfo { name: text(), version: text(), instance, attempt: 1 },
            resume: Positions::new(),
            base: Positions::new(),
            proof_valid,
            nonce_is_old,
            revoked_elsewhere: self.second,
            node: text(),
            offer: false,
            compat: false,
        };
        let closed = self.give(Input::Attach(Box::new(attach)), saved).ok_or(None)?;
        let refused = closed.into_iter().find(|(id, _)| *id == connection);
        refused.map_or(Ok(connection), |(_, code)| Err(Some(code)))
    }

    /// Gives an input and what follows from it; what was closed. `None`: a save failed, so the session is
    /// loaded anew.
    fn give(&mut self, input: Input, saved: bool) -> Option<Vec<(ConnectionId, CloseCode)>> {
        let (now, stage) = (self.now(), self.stage.clone());
        let (mut inputs, mut closed) = (vec![input], Vec::new());
        let mut entropy = self.entropy();
        while let Some(input) = inputs.pop() {
            let mut env = Env {
                now,
                entropy: &mut entropy,
                keys: &stage.shared.keys,
                hash_key: &stage.shared.hash_key,
                policy: &stage.shared.policy,
            };
            let Effects { save, then, .. } = self.session.edit().handle(input, &mut env);
            if let Some(record) = save {
                if !saved {
                    self.die();
                    return None;
                }
                self.stored.edit().push(record);
            }
            for effect in then {
                match effect {
                    Effect::Feed(input) => inputs.push(input),
                    Effect::Close { connection, code } => closed.push((connection, code)),
                    Effect::Answer { .. } | Effect::Revoke { .. } => {}
                }
            }
        }
        for (connection, _) in &closed {
            for held in std::iter::once(&mut self.device).chain(&mut self.thief) {
                if held.open == Some(*connection) {
                    held.leave();
                }
            }
            let mut env = Env {
                now,
                entropy: &mut entropy,
                keys: &stage.shared.keys,
                hash_key: &stage.shared.hash_key,
                policy: &stage.shared.policy,
            };
            self.session.edit().handle(Input::Detach { connection: *connection }, &mut env);
        }
        Some(closed)
    }

    /// The token in what a connection is sent.
    fn offered(&mut self, connection: ConnectionId) -> Option<Claims> {
        let (now, stage) = (self.now(), self.stage.clone());
        let mut entropy = self.entropy();
        let env = Env {
            now,
            entropy: &mut entropy,
            keys: &stage.shared.keys,
            hash_key: &stage.shared.hash_key,
            policy: &stage.shared.policy,
        };
        let frames = self.session.edit().pull(connection, &env).frames;
        let token = frames.into_iter().find_map(|frame| {
            let OutFrame::Text(text) = frame else { return None };
            #[expect(clippy::wildcard_enum_match_arm, reason = "two kinds of many")]
            match belay_wire::decode(std::str::from_utf8(&text).ok()?).ok()? {
                Frame::Welcome(welcome) => welcome.next_token,
                Frame::TokenOffer(offer) => Some(offer.token),
                _ => None,
            }
        })?;
        stage.shared.keys.verify(&token).ok()
    }
}

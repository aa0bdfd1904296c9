//! The relay of the model of tokens.

use belay_core::{
    Effect, Effects, Input,
    session::{Attach, OutFrame},
    token::Claims,
};
use belay_wire::{ClientInfo, CloseCode, ConnectionId, Frame, Positions};

use super::world::World;
use crate::{node, rng::Rng};

impl World {
    /// What each offer draws is another, and the same in each run.
    pub(super) fn entropy(&self) -> Rng {
        Rng::new(u64::from(self.connections) << 32 | self.at)
    }

    /// `Err`: refused, or the relay died over it.
    pub(super) fn attach(
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
            offered: None,
        };
        let closed = self.give(Input::Attach(Box::new(attach)), saved).ok_or(None)?;
        let refused = closed.into_iter().find(|(id, _)| *id == connection);
        refused.map_or(Ok(connection), |(_, code)| Err(Some(code)))
    }

    /// Gives an input and what follows from it; what was closed. `None`: a save failed, so the session is
    /// loaded anew.
    pub(super) fn give(
        &mut self,
        input: Input,
        saved: bool,
    ) -> Option<Vec<(ConnectionId, CloseCode)>> {
        let (now, stage) = (self.now(), self.stage.clone());
        let (mut inputs, mut closed) = (vec![input], Vec::new());
        let mut entropy = self.entropy();
        while let Some(input) = inputs.pop() {
            let mut env = node::env(&stage.shared, now, &mut entropy);
            let Effects { save, then, .. } = self.session.edit().handle(input, &mut env);
            let mut next = Vec::new();
            if let Some(record) = save {
                if !saved {
                    self.die();
                    return None;
                }
                self.stored.edit().push(record.clone());
                next.push(Input::Record(Box::new(record)));
            }
            for effect in then {
                match effect {
                    Effect::Feed(input) => next.push(input),
                    Effect::Close { connection, code } => closed.push((connection, code)),
                    Effect::Answer { .. }
                    | Effect::Revoke { .. }
                    | Effect::Sit { .. }
                    | Effect::Leave { .. }
                    | Effect::Spend(_)
                    | Effect::Bus(_) => {}
                }
            }
            inputs.extend(next.into_iter().rev());
        }
        for (connection, _) in &closed {
            for held in std::iter::once(&mut self.device).chain(&mut self.thief) {
                if held.open == Some(*connection) {
                    held.leave();
                }
            }
            let mut env = node::env(&stage.shared, now, &mut entropy);
            self.session.edit().handle(Input::Detach { connection: *connection }, &mut env);
        }
        Some(closed)
    }

    /// The token in what a connection is sent.
    pub(super) fn offered(&mut self, connection: ConnectionId) -> Option<Claims> {
        let (now, stage) = (self.now(), self.stage.clone());
        let mut entropy = self.entropy();
        let env = node::env(&stage.shared, now, &mut entropy);
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

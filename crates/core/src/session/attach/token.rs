//! Tokens of principals: their state, offers of a successor, and its first use.

use belay_wire::{CloseCode, ConnectionId, Frame, Secret, TokenCommitted, TokenOffer};

use super::super::{Effect, Effects, Event, Input, Session};
use crate::{
    Env, Mutation, SessionRecord, TokenState,
    env::{draw, millis},
    token::{Claims, Principal, token_hash},
};

impl Session {
    /// The stored state of a principal's token.
    pub(in super::super) fn token_state(&self, principal: Principal) -> Option<TokenState> {
        match principal {
            Principal::Host => Some(self.record.host.token),
            Principal::Member(member) => self.record.device(member).map(|d| d.token),
        }
    }

    /// The record once this token is the current one.
    pub(in super::super) fn with_token(&self, claims: &Claims, env: &Env<'_>) -> SessionRecord {
        let mut record = self.draft(env);
        record.set_token(claims, env);
        record
    }

    pub(super) fn rotation_is_due(&self, principal: Principal, env: &Env<'_>) -> bool {
        self.token_state(principal).is_some_and(|token| {
            let age = env.now.unix_ms.saturating_sub(token.committed_at);
            age >= millis(env.policy.rotation_after)
        })
    }

    pub(super) fn offer(&mut self, principal: Principal, env: &mut Env<'_>) -> Option<Secret> {
        let generation = self.token_state(principal)?.generation + 1;
        let same = Mutation::SameSuccessor.is_on();
        let claims = Claims {
            session: self.record.id,
            principal,
            issued_at: env.now.unix_ms,
            generation,
            nonce: if same { [0; 16] } else { draw(env.entropy) },
        };
        if Mutation::CommitAtOffer.is_on() {
            self.record.set_token(&claims, env);
        }
        Some(env.keys.mint(&claims))
    }

    /// Offers a successor on a long connection when rotation is due.
    pub fn rotate(&mut self, connection: ConnectionId, env: &mut Env<'_>) -> bool {
        let Some(principal) = self.connections.get(&connection).map(|c| c.principal) else {
            return false;
        };
        if !self.rotation_is_due(principal, env) {
            return false;
        }
        let Some(token) = self.offer(principal, env) else { return false };
        let connection = self.connections.get_mut(&connection).filter(|c| c.is_serving());
        connection.is_some_and(|c| c.send(TokenOffer { token }).is_ok())
    }

    /// The client confirmed an offered token: that is its first use.
    pub(in super::super) fn confirm_token(
        &mut self,
        id: ConnectionId,
        token: &Secret,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(principal) = self.connections.get(&id).map(|c| c.principal) else { return };
        let claims = env
            .keys
            .verify(token)
            .ok()
            .filter(|c| c.session == self.record.id && c.principal == principal);
        let Some(claims) = claims else {
            return self.close(id, CloseCode::NotAuthenticated, effects);
        };
        let stored = self.token_state(principal).map_or(0, |t| t.generation);
        if claims.generation < stored {
            // A successor of it is in use: this one will be stale.
            return;
        }
        if claims.generation > stored {
            effects.events.push(Event::TokenCommitted { ahead: claims.generation > stored + 1 });
            effects.save = Some(self.with_token(&claims, env));
        }
        effects.then.push(Effect::Feed(Input::Tell { connection: id, frame: committed() }));
    }
}

impl SessionRecord {
    /// From here on this is the current token of its principal.
    pub(in super::super) fn set_token(&mut self, claims: &Claims, env: &Env<'_>) {
        let state = TokenState {
            generation: claims.generation,
            nonce: token_hash(env.hash_key, &claims.nonce),
            committed_at: env.now.unix_ms,
        };
        match claims.principal {
            Principal::Host => self.host.token = state,
            Principal::Member(member) => {
                if let Some(device) = self.device_mut(member) {
                    device.token = state;
                }
            }
        }
    }
}

fn committed() -> Box<Frame> {
    Box::new(TokenCommitted {}.into())
}

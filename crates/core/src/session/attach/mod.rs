//! How a connection becomes part of a session, and leaves it.

mod admit;
mod away;
mod leave;
mod resume;
mod token;

use belay_wire::{ClientInfo, CloseCode, ConnectionId, Positions, PublicKey};

pub(super) use admit::new_connection;

use super::{Effect, Effects, Event, Input, Session};
use crate::{
    Env, Mutation,
    token::{Claims, Judgement, Presented, Principal, judge},
};

/// A connection that sent `auth`. The token's MAC was verified and a signature, if there is one,
/// was checked against the registered key.
#[derive(Debug, Clone)]
pub struct Attach {
    pub connection: ConnectionId,
    pub claims: Claims,
    pub client: ClientInfo,
    pub resume: Positions,
    pub base: Positions,
    pub proof_valid: bool,
    pub nonce_is_old: bool,
    /// The member stands in the second place of revocations.
    pub revoked_elsewhere: bool,
    pub node: String,
    /// Offer a successor in `welcome`.
    pub offer: bool,
    /// It came by the compat protocol.
    pub compat: bool,
    /// The successor that it is offered in the compat protocol, where that is current before it is told.
    pub offered: Option<Claims>,
}

impl Session {
    /// The registered key of a principal.
    pub fn key_of(&self, principal: Principal) -> Option<PublicKey> {
        match principal {
            Principal::Host => self.record.host.key,
            Principal::Member(member) => self.record.device(member).and_then(|d| d.key),
        }
    }

    pub(super) fn attach(&mut self, mut attach: Attach, env: &mut Env<'_>, effects: &mut Effects) {
        if let Some(code) = self.over() {
            return refuse(attach.connection, code, "session_missing", effects);
        }
        if attach.compat != self.record.compat.is_some() {
            let (code, cause) = (CloseCode::ProtocolError, "other_protocol");
            return refuse(attach.connection, code, cause, effects);
        }
        if attach.compat {
            return self.attach_compat(attach, env, effects);
        }
        attach.revoked_elsewhere &= !Mutation::OneTombstone.is_on();
        if let Principal::Member(member) = attach.claims.principal
            && attach.revoked_elsewhere
            && self.member_exists(member)
        {
            // The store lost the revocation; the other place has it.
            effects.then.push(Effect::Feed(Input::Revoke { member }));
        }
        let judgement = match self.judge(&attach, env) {
            Ok(judgement) => judgement,
            Err((code, cause)) => return refuse(attach.connection, code, cause, effects),
        };
        if let Some(code) = self.older_attempt(&attach) {
            return refuse(attach.connection, code, "older_attempt", effects);
        }
        match judgement {
            Judgement::Current => {
                attach.offer = self.rotation_is_due(attach.claims.principal, env);
                self.admit(attach, env, effects);
            }
            Judgement::ClientWentBack => {
                effects.events.push(Event::ClientWentBack);
                attach.offer = true;
                self.admit(attach, env, effects);
            }
            Judgement::Commit { ahead } => {
                effects.events.push(Event::TokenCommitted { ahead });
                effects.save = Some(self.with_token(&attach.claims, env));
                effects.then.push(Effect::Feed(Input::Admit(Box::new(attach))));
            }
            Judgement::ProofMissing => {
                refuse(attach.connection, CloseCode::NotAuthenticated, "proof", effects);
            }
            Judgement::Stale => {
                refuse(attach.connection, CloseCode::StaleToken, "stale_token", effects);
            }
            Judgement::Stolen => {
                let connection = attach.connection;
                self.punish_theft(attach.claims.principal, env, effects);
                refuse(connection, CloseCode::Revoked, "token_reused", effects);
            }
        }
    }

    fn judge(
        &self,
        attach: &Attach,
        env: &Env<'_>,
    ) -> Result<Judgement, (CloseCode, &'static str)> {
        let principal = attach.claims.principal;
        let token = match principal {
            Principal::Host => self.record.host.token,
            Principal::Member(member) => {
                let device = self.record.device(member);
                let revoked = device.is_some_and(|d| d.revoked_at.is_some());
                if revoked || attach.revoked_elsewhere {
                    return Err((CloseCode::Revoked, "revoked"));
                }
                device.ok_or((CloseCode::UnknownDevice, "unknown_device"))?.token
            }
        };
        let presented = Presented {
            generation: attach.claims.generation,
            nonce: attach.claims.nonce,
            has_key: self.key_of(principal).is_some(),
            proof_valid: attach.proof_valid,
            nonce_is_old: attach.nonce_is_old,
        };
        let grace = env.policy.stale_grace;
        Ok(judge(&presented, &token, env.hash_key, env.now.unix_ms, grace))
    }

    /// Inside one instance the higher attempt wins.
    fn older_attempt(&self, attach: &Attach) -> Option<CloseCode> {
        let principal = attach.claims.principal;
        let here = self.connection_of(principal).map(|c| (&c.client.instance, c.client.attempt));
        let elsewhere = self.remote.iter().filter(|seat| seat.principal == principal);
        let mut held = here.into_iter().chain(elsewhere.map(|seat| (&seat.instance, seat.attempt)));
        let outdated = held.any(|(instance, attempt)| {
            *instance == attach.client.instance && attempt >= attach.client.attempt
        });
        outdated.then_some(CloseCode::OutdatedAttempt)
    }

    /// Two holders of one token.
    fn punish_theft(&self, principal: Principal, env: &Env<'_>, effects: &mut Effects) {
        if let Principal::Member(member) = principal {
            self.revoke_because(member, Some("token_reused"), env, effects);
        }
    }
}

pub(super) fn refuse(
    connection: ConnectionId,
    code: CloseCode,
    cause: &'static str,
    effects: &mut Effects,
) {
    effects.events.push(Event::Refused { code, cause });
    effects.then.push(Effect::Close { connection, code });
}

//! Calls that wait for a step of a request, and what they are answered.

use belay_wire::{
    RequestId,
    pair::{PairOutcome, PairStarted, Paired},
};

use super::{
    super::{Effect, Effects, Event, Input, PairAnswer, PairError, Session, WaiterId, Waiting},
    answer,
};
use crate::{
    Env, PairDecided, PairStage,
    session::compat::Joined,
    token::{Claims, Principal},
};

/// HTTP calls that may wait for one request: a phone that reloads a lot stays below it.
const WAITERS_MAX: usize = 128;

impl Session {
    /// How many HTTP calls wait for this session's pairing.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }

    /// A call waits for a step of a request, unless that is there already.
    pub(in super::super) fn wait_for(
        &mut self,
        waiter: WaiterId,
        waiting: Waiting,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let theirs = self.waiters.values().filter(|w| w.request() == waiting.request()).count();
        if theirs >= WAITERS_MAX {
            return answer(waiter, Err(PairError::TooManyWaiters), effects);
        }
        self.waiters.insert(waiter, waiting);
        self.answer_waiters(env, effects);
    }

    /// Answers the calls whose step is there.
    pub(super) fn answer_waiters(&mut self, env: &Env<'_>, effects: &mut Effects) {
        let waiters = std::mem::take(&mut self.waiters);
        for (waiter, waiting) in waiters {
            match self.answer_of(waiting, env) {
                Some(given) => answer(waiter, given, effects),
                None => {
                    self.waiters.insert(waiter, waiting);
                }
            }
        }
    }

    /// What a call can be answered now.
    fn answer_of(&self, waiting: Waiting, env: &Env<'_>) -> Option<Result<PairAnswer, PairError>> {
        let id = waiting.request();
        if let Some(decided) = self.record.pairing.decided.iter().find(|d| d.id == id) {
            return Some(match waiting {
                Waiting::Start(_) => Err(failure_of(&decided.outcome)),
                Waiting::Decision(_) => self.answer_decided(&decided.outcome, env),
            });
        }
        let Some(pending) = self.pending(id) else { return Some(Err(PairError::RequestUnknown)) };
        match (waiting, &pending.stage) {
            (
                Waiting::Start(_),
                PairStage::Nonced { nonce, rendezvous, .. }
                | PairStage::Waiting { nonce, rendezvous, .. },
            ) => {
                let started = PairStarted {
                    request: id,
                    host_name: self.record.host.name.clone(),
                    host_public_key: self.record.host.key?,
                    host_nonce: *nonce,
                    rendezvous: *rendezvous,
                    expires_at: pending.expires_at,
                };
                Some(Ok(PairAnswer::Started(started)))
            }
            (Waiting::Start(_) | Waiting::Decision(_), _) => None,
        }
    }

    /// The token is made anew from its nonce: the same bytes for everybody who asks.
    pub(super) fn answer_decided(
        &self,
        decided: &PairDecided,
        env: &Env<'_>,
    ) -> Result<PairAnswer, PairError> {
        match decided {
            PairDecided::Failed(error) => Err(*error),
            PairDecided::Paired { member, nonce, issued_at, signature, approval_expires_at } => {
                let session = self.record.id;
                let token = env.keys.mint(&Claims {
                    session,
                    principal: Principal::Member(*member),
                    issued_at: *issued_at,
                    generation: 1,
                    nonce: *nonce,
                });
                Ok(match signature {
                    Some(signature) => PairAnswer::Paired(Paired {
                        session,
                        member: *member,
                        token,
                        signature: *signature,
                        approval_expires_at: *approval_expires_at,
                    }),
                    None => PairAnswer::Joined(Joined { device: *member, token }),
                })
            }
        }
    }

    /// Another node said that nobody waits any more, and somebody waits here.
    pub(super) fn still_waiting(&self, effects: &mut Effects) {
        let Some(pending) = &self.record.pairing.pending else { return };
        let gone = matches!(pending.stage, PairStage::Waiting { present: false, .. });
        if gone && self.has_waiter(Waiting::Decision(pending.id)) {
            let request = pending.id;
            effects.then.push(Effect::Feed(Input::Abandoned { request }));
        }
    }

    fn has_waiter(&self, waiting: Waiting) -> bool {
        self.waiters.values().any(|w| *w == waiting)
    }

    pub(in super::super) fn waiter_gone(&mut self, waiter: WaiterId, effects: &mut Effects) {
        let Some(Waiting::Decision(request)) = self.waiters.remove(&waiter) else { return };
        if !self.has_waiter(Waiting::Decision(request)) {
            effects.then.push(Effect::Feed(Input::Abandoned { request }));
        }
    }

    /// Whether somebody waits here for the decision is stored, for the host to know.
    pub(in super::super) fn abandoned(
        &self,
        request: RequestId,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let waits = self.has_waiter(Waiting::Decision(request));
        let mut record = self.draft(env);
        let Some(pending) = record.pairing.pending.as_mut().filter(|p| p.id == request) else {
            return;
        };
        match &mut pending.stage {
            PairStage::Waiting { present, .. } if *present != waits => *present = waits,
            // A phone that hangs up makes room for the next one.
            PairStage::Joining { .. } if !waits => {
                let outcome = PairOutcome::Expired;
                effects.events.push(Event::PairingEnded { request, outcome });
                record.pairing.pending = None;
            }
            PairStage::Committed { .. }
            | PairStage::Nonced { .. }
            | PairStage::Waiting { .. }
            | PairStage::Joining { .. } => return,
        }
        effects.save = Some(record);
    }
}

/// What a call is told that starts a request which was decided already.
pub(super) fn failure_of(decided: &PairDecided) -> PairError {
    match decided {
        PairDecided::Paired { .. } => PairError::CodeUsed,
        PairDecided::Failed(error) => *error,
    }
}

//! A phone asks: its commitment, the host's nonce, its opening.

use belay_wire::{
    Frame, Notice, PairNonce, RequestId,
    pair::{RevealPair, StartPair},
    proof::commitment,
};

use super::{
    super::{Effect, Effects, Event, Input, PairError, Session, WaiterId, Waiting},
    answer, check_capacity,
    wait::failure_of,
};
use crate::{Env, PairDecided, PairStage, PendingPair, env::draw, token::Principal};

impl Session {
    pub(in super::super) fn start_pair(
        &self,
        waiter: WaiterId,
        start: &StartPair,
        address: String,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.check_lease(start, env, effects) {
            return answer(waiter, Err(error), effects);
        }
        let mut record = self.draft(env);
        if let Some(pending) = &self.record.pairing.pending {
            if pending.commit() == Some(start.commit) {
                let waiting = Waiting::Start(pending.id);
                return effects.then.push(Effect::Feed(Input::Await { waiter, waiting }));
            }
            record.decide(PairDecided::Failed(PairError::Conflict), env, effects);
            effects.save = Some(record);
            effects.then.push(Effect::Feed(Input::TellHost(Box::new(conflict(&address)))));
            return answer(waiter, Err(PairError::Conflict), effects);
        }
        let decided = self.decided(env).find(|d| d.commit == Some(start.commit));
        if let Some(decided) = decided {
            return answer(waiter, Err(failure_of(&decided.outcome)), effects);
        }
        if self.record.lease.is_none_or(|lease| lease.taken) {
            return answer(waiter, Err(PairError::CodeUsed), effects);
        }
        if let Err(error) = check_capacity(&self.record, env) {
            return answer(waiter, Err(error), effects);
        }
        if !self.is_connected(Principal::Host) {
            return answer(waiter, Err(PairError::HostOffline), effects);
        }
        if let Some(lease) = record.lease.as_mut() {
            lease.taken = true;
        }
        let id = RequestId::from_bytes(draw(env.entropy));
        record.pairing.pending = Some(PendingPair {
            id,
            device: start.device.clone(),
            address,
            stage: PairStage::Committed { commit: start.commit, typed: start.code.is_some() },
            expires_at: env.now.unix_after(env.policy.nonce_timeout),
        });
        effects.events.push(Event::PairingStarted { request: id });
        effects.save = Some(record);
        let waiting = Waiting::Start(id);
        effects.then.push(Effect::Feed(Input::Await { waiter, waiting }));
    }

    pub(in super::super) fn pair_nonce(
        &self,
        frame: &PairNonce,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(pending) = self.pending(frame.id) else { return };
        let PairStage::Committed { commit, .. } = pending.stage else { return };
        let mut record = self.draft(env);
        if let Some(pending) = &mut record.pairing.pending {
            let (nonce, rendezvous) = (frame.nonce, frame.rendezvous);
            pending.stage = PairStage::Nonced { commit, nonce, rendezvous };
            pending.expires_at = env.now.unix_after(env.policy.approval_ttl);
        }
        effects.save = Some(record);
    }

    pub(in super::super) fn reveal_pair(
        &self,
        waiter: WaiterId,
        id: RequestId,
        reveal: &RevealPair,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let commit = commitment(&reveal.public_key, &reveal.opening);
        let mut decided = self.decided(env);
        if let Some(decided) = decided.find(|decided| decided.id == id) {
            let own = decided.commit == Some(commit);
            let given = match &decided.outcome {
                PairDecided::Paired { .. } if !own => Err(PairError::Conflict),
                PairDecided::Paired { .. } | PairDecided::Failed(_) => {
                    self.answer_decided(&decided.outcome, env)
                }
            };
            return answer(waiter, given, effects);
        }
        let Some(pending) = self.pending(id) else {
            return answer(waiter, Err(PairError::RequestUnknown), effects);
        };
        let mut record = self.draft(env);
        if pending.commit() != Some(commit) {
            record.decide(PairDecided::Failed(PairError::Mismatch), env, effects);
            effects.save = Some(record);
            return answer(waiter, Err(PairError::Mismatch), effects);
        }
        let (key, opening, present) = (reveal.public_key, reveal.opening, true);
        let stage = match pending.stage {
            PairStage::Committed { .. } | PairStage::Joining { .. } => {
                return answer(waiter, Err(PairError::RequestUnknown), effects);
            }
            PairStage::Nonced { nonce, rendezvous, .. }
            | PairStage::Waiting { nonce, rendezvous, .. } => {
                PairStage::Waiting { commit, nonce, rendezvous, key, opening, present }
            }
        };
        if stage != pending.stage
            && let Some(pending) = &mut record.pairing.pending
        {
            pending.stage = stage;
            effects.save = Some(record);
        }
        let waiting = Waiting::Decision(id);
        effects.then.push(Effect::Feed(Input::Await { waiter, waiting }));
    }
}

fn conflict(address: &str) -> Frame {
    let text = format!(
        "a second device ({address}) used the same pairing code, so both were denied; \
         show a new code where nobody else can see it"
    );
    Notice { code: "pair_conflict".to_owned(), text }.into()
}

//! How a request ends, and the device that comes of it.

use belay_wire::{
    Bytes64, MemberId, PairDecision, PublicKey,
    pair::PairOutcome,
    proof::{decision_transcript, key_hash},
};

use super::super::{Effects, Event, PairError, Session};
use crate::{
    DecidedPair, DeviceRecord, Env, PairDecided, PairStage, PendingPair, SessionRecord, TokenState,
    Unknown, crypto::verify_signature, env::draw, token::token_hash,
};

/// Decided requests that a record keeps.
const DECIDED_MAX: usize = 8;

impl SessionRecord {
    /// Ends the pending request, and remembers how.
    pub(in super::super) fn decide(
        &mut self,
        outcome: PairDecided,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(pending) = self.pairing.pending.take() else { return };
        let told = outcome_of(&outcome);
        effects.events.push(Event::PairingEnded { request: pending.id, outcome: told });
        let until = env.now.unix_after(env.policy.approval_ttl);
        let decided = &mut self.pairing.decided;
        decided.push(DecidedPair { id: pending.id, commit: pending.commit(), outcome, until });
        let excess = decided.len().saturating_sub(DECIDED_MAX);
        decided.drain(..excess);
    }

    /// Adds a device with its first token.
    pub(in super::super) fn add_device(
        &mut self,
        device: DeviceRecord,
        signature: Option<(Bytes64, u64)>,
        nonce: [u8; 16],
    ) -> PairDecided {
        let (member, issued_at) = (device.member, device.added_at);
        self.devices.push(device);
        let (signature, approval_expires_at) =
            signature.map_or((None, 0), |(signature, at)| (Some(signature), at));
        PairDecided::Paired { member, nonce, issued_at, signature, approval_expires_at }
    }
}

/// A device that is paired now.
pub(in super::super) fn new_device(
    pending: &PendingPair,
    key: Option<PublicKey>,
    nonce: &[u8; 16],
    env: &mut Env<'_>,
) -> DeviceRecord {
    let now = env.now.unix_ms;
    DeviceRecord {
        member: MemberId::from_bytes(draw(env.entropy)),
        info: pending.device.clone(),
        key,
        token: TokenState {
            generation: 1,
            nonce: token_hash(env.hash_key, nonce),
            committed_at: now,
        },
        added_at: now,
        seen_at: now,
        revoked_at: None,
        revoked_because: None,
        lost: Vec::new(),
        unknown: Unknown::new(),
    }
}

pub(super) fn outcome_of(decided: &PairDecided) -> PairOutcome {
    match decided {
        PairDecided::Paired { .. } => PairOutcome::Paired,
        PairDecided::Failed(error) => match error {
            PairError::Conflict => PairOutcome::Conflict,
            PairError::Mismatch => PairOutcome::Mismatch,
            PairError::DeviceLimit { .. } => PairOutcome::DeviceLimit,
            PairError::HostOffline | PairError::HostLeft => PairOutcome::HostGone,
            PairError::ApprovalExpired | PairError::CodeExpired => PairOutcome::Expired,
            PairError::CodeWrong
            | PairError::CodeUsed
            | PairError::CodeBurnt
            | PairError::Rejected
            | PairError::RequestUnknown
            | PairError::TooManyWaiters
            | PairError::JoinInProgress { .. } => PairOutcome::Rejected,
        },
    }
}

pub(in super::super) fn check_capacity(
    record: &SessionRecord,
    env: &Env<'_>,
) -> Result<(), PairError> {
    let (used, allowed) = (record.active_devices().count(), env.policy.devices_max);
    if used >= allowed { Err(PairError::DeviceLimit { used, allowed }) } else { Ok(()) }
}

impl Session {
    pub(in super::super) fn pair_decision(
        &mut self,
        decision: &PairDecision,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let pending = self.pending(decision.id).cloned();
        let waiting = pending.and_then(|pending| match pending.stage {
            PairStage::Waiting { key, present, .. } => Some((pending, key, present)),
            PairStage::Committed { .. } | PairStage::Nonced { .. } | PairStage::Joining { .. } => {
                None
            }
        });
        let Some((pending, key, present)) = waiting else {
            return self.tell_host_unknown_pairing(decision.id, effects);
        };
        let outcome = match self.check_decision(decision, &pending, &key) {
            Err(error) => {
                if error == PairError::Mismatch {
                    let cause = "decision signature".to_owned();
                    effects.events.push(Event::ProtocolError { cause });
                }
                Err(error)
            }
            Ok(()) if !present => return self.tell_host_of_waiting(effects),
            Ok(()) => check_capacity(&self.record, env),
        };
        let mut record = self.draft(env);
        let decided = if let Err(error) = outcome {
            PairDecided::Failed(error)
        } else {
            let nonce = draw(env.entropy);
            let device = new_device(&pending, Some(key), &nonce, env);
            let signed = (decision.signature, decision.expires_at);
            record.add_device(device, Some(signed), nonce)
        };
        record.decide(decided, env, effects);
        effects.save = Some(record);
    }

    fn check_decision(
        &self,
        decision: &PairDecision,
        pending: &PendingPair,
        key: &PublicKey,
    ) -> Result<(), PairError> {
        let transcript =
            decision_transcript(decision.id, decision.approved, &decision.key, decision.expires_at);
        let host = self.record.host.key;
        let signed = decision.key == key_hash(key)
            && decision.expires_at == pending.expires_at
            && host.is_some_and(|k| verify_signature(&k.sign, &transcript, &decision.signature));
        if !signed {
            return Err(PairError::Mismatch);
        }
        if decision.approved { Ok(()) } else { Err(PairError::Rejected) }
    }
}

//! Pairing: join lease, commitment, host's nonce, opening, approval.
//!
//! One request at a time. A second key within the wait denies both. What was decided is remembered
//! until the request's expiry, so a phone whose answer got lost asks again and gets the same one. All of it
//! stands in the record: the host and the phone may be at different nodes, and either may change its node.

mod ask;
mod code;
mod decide;
mod tell;
mod wait;

use std::time::Duration;

use belay_wire::{Bytes32, RequestId};

pub use code::LeaseKey;
pub(super) use code::make_lease;
pub(super) use decide::{check_capacity, new_device};

use super::{Effect, Effects, PairAnswer, PairError, Session, WaiterId};
use crate::{DecidedPair, Env, PairDecided, PairStage, PendingPair};

/// A pair request and what it waits for; each step has a time of its own.
pub(super) type Step = (RequestId, u8);

impl PendingPair {
    /// What it waits for, as a number.
    fn step(&self) -> Step {
        let stage = match self.stage {
            PairStage::Committed { .. } => 0,
            PairStage::Nonced { .. } => 1,
            PairStage::Waiting { .. } => 2,
            PairStage::Joining { .. } => 3,
        };
        (self.id, stage)
    }

    /// `None` in the compat protocol.
    fn commit(&self) -> Option<Bytes32> {
        match self.stage {
            PairStage::Committed { commit, .. }
            | PairStage::Nonced { commit, .. }
            | PairStage::Waiting { commit, .. } => Some(commit),
            PairStage::Joining { .. } => None,
        }
    }
}

impl Session {
    /// A step of a pair request that is new here gets its time, by the clock of this node.
    pub(super) fn note_pairing(&mut self, env: &Env<'_>) {
        let Some(pending) = &self.record.pairing.pending else {
            self.pair_deadline = None;
            return;
        };
        let step = pending.step();
        if self.pair_deadline.is_some_and(|(known, _)| known == step) {
            return;
        }
        let left = pending.expires_at.saturating_sub(env.now.unix_ms);
        let left = Duration::from_millis(left).min(env.policy.approval_ttl);
        let time = match pending.stage {
            PairStage::Committed { .. } => env.policy.nonce_timeout,
            PairStage::Nonced { .. } | PairStage::Waiting { .. } => left,
            PairStage::Joining { .. } => left.max(super::compat::WAIT_MIN),
        };
        self.pair_deadline = Some((step, env.now.mono + time));
    }

    /// The pending request waited too long.
    pub(super) fn pair_overdue(&self, env: &Env<'_>, effects: &mut Effects) {
        let overdue = self.pair_deadline.is_some_and(|(_, at)| at <= env.now.mono);
        let Some(pending) = self.record.pairing.pending.as_ref().filter(|_| overdue) else {
            return;
        };
        let error = match pending.stage {
            PairStage::Committed { .. } => PairError::HostOffline,
            PairStage::Nonced { .. } | PairStage::Waiting { .. } | PairStage::Joining { .. } => {
                PairError::ApprovalExpired
            }
        };
        let mut record = self.draft(env);
        record.decide(PairDecided::Failed(error), env, effects);
        effects.save = Some(record);
    }

    /// The pending request, if it is this one.
    fn pending(&self, id: RequestId) -> Option<&PendingPair> {
        self.record.pairing.pending.as_ref().filter(|pending| pending.id == id)
    }

    /// Decided requests that are still remembered.
    fn decided(&self, env: &Env<'_>) -> impl Iterator<Item = &DecidedPair> + use<'_> {
        let now = env.now.unix_ms;
        self.record.pairing.decided.iter().filter(move |decided| decided.until > now)
    }
}

fn answer(waiter: WaiterId, answer: Result<PairAnswer, PairError>, effects: &mut Effects) {
    effects.then.push(Effect::Answer { waiter, answer });
}

//! What a host hears of requests.

use belay_wire::{
    PairCommitted, PairEnded, PairRequested, PairWaiting, RequestId, pair::PairOutcome,
};

use super::{
    super::{Effects, Session},
    decide::outcome_of,
};
use crate::{Env, PairDecided, PairStage, PairingRecord, PendingPair};

impl Session {
    /// What is stored of pair requests changed: who waits for it is told.
    pub(in super::super) fn pairing_changed(
        &mut self,
        old: &PairingRecord,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let known = |id: RequestId| old.decided.iter().any(|decided| decided.id == id);
        let decided = self.record.pairing.decided.iter().filter(|decided| !known(decided.id));
        let ended: Vec<PairEnded> = decided
            // The compat protocol has no such frame.
            .filter(|decided| decided.commit.is_some())
            .map(|decided| {
                let member = match decided.outcome {
                    PairDecided::Paired { member, .. } => Some(member),
                    PairDecided::Failed(_) => None,
                };
                PairEnded { id: decided.id, outcome: outcome_of(&decided.outcome), member }
            })
            .collect();
        if let Some(host) = self.host().map(|host| host.id) {
            for ended in ended {
                self.control(host, ended, effects);
            }
        }
        if self.record.pairing.pending != old.pending {
            let step = |pairing: &PairingRecord| pairing.pending.as_ref().map(PendingPair::step);
            if step(old) == step(&self.record.pairing) {
                self.tell_host_of_waiting(effects);
            } else {
                self.tell_host_of_pairing(effects);
            }
        }
        self.answer_waiters(env, effects);
        self.still_waiting(effects);
    }

    /// Tells a host here what it must do next about the pending request; also after it reconnects.
    pub(in super::super) fn tell_host_of_pairing(&mut self, effects: &mut Effects) {
        let Some(pending) = self.record.pairing.pending.clone() else { return };
        let Some(host) = self.host().map(|host| host.id) else { return };
        let PendingPair { id, device, address, expires_at, .. } = pending;
        match pending.stage {
            PairStage::Committed { commit, typed } => {
                self.control(host, PairCommitted { id, device, address, commit, typed }, effects);
            }
            PairStage::Nonced { .. } => {}
            PairStage::Waiting { key, opening, .. } => {
                let asked = PairRequested { id, device, address, key, opening, expires_at };
                self.control(host, asked, effects);
            }
            PairStage::Joining { .. } => self.tell_pending(effects),
        }
    }

    pub(super) fn tell_host_of_waiting(&mut self, effects: &mut Effects) {
        let Some(pending) = &self.record.pairing.pending else { return };
        let PairStage::Waiting { present: waiting, .. } = pending.stage else { return };
        let id = pending.id;
        if let Some(host) = self.host().map(|host| host.id) {
            self.control(host, PairWaiting { id, waiting }, effects);
        }
    }

    pub(super) fn tell_host_unknown_pairing(&mut self, id: RequestId, effects: &mut Effects) {
        if let Some(host) = self.host().map(|host| host.id) {
            let outcome = PairOutcome::Expired;
            self.control(host, PairEnded { id, outcome, member: None }, effects);
        }
    }
}

//! Commands that did not reach the host, until their member has heard of it.

use belay_wire::{Channel, MemberId, Position};

use super::{Effects, Session};
use crate::{
    Env,
    delivery::{Overdue, lost},
    token::Principal,
};

/// Ranges of lost commands that are kept for one member.
const LOST_MAX: usize = 8;

impl Session {
    /// These commands will not reach the host: their member is told, now or when it comes back, also after
    /// a restart.
    pub(super) fn commands_lost(
        &mut self,
        ch: Channel,
        overdue: Overdue,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(member) = ch.member() else { return };
        if self.record.compat.is_some() {
            let connection = self.connection_of(Principal::Member(member)).map(|c| c.id);
            return connection.into_iter().for_each(|id| self.tell_expired(id, effects));
        }
        let lost = lost(ch, overdue.from, overdue.to);
        let mut record = self.draft(env);
        let Some(device) = record.device_mut(member) else { return };
        // Another node that has the channel may have been first.
        if device.lost.iter().any(|l| l.epoch == lost.epoch && l.to >= lost.to) {
            return;
        }
        device.lost.retain(|l| l.epoch != lost.epoch || l.to < lost.from);
        device.lost.push(lost);
        let excess = device.lost.len().saturating_sub(LOST_MAX);
        device.lost.drain(..excess);
        effects.save = Some(record);
    }

    /// A member heard what it lost; what lies below its base it has forgotten.
    pub(super) fn lost_heard(
        &self,
        member: MemberId,
        base: Option<Position>,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let mut record = self.draft(env);
        let Some(device) = record.device_mut(member) else { return };
        let before = device.lost.len();
        device.lost.retain(|l| base.is_none_or(|b| b.epoch == l.epoch && b.seq <= l.to));
        if device.lost.len() < before {
            effects.save = Some(record);
        }
    }
}

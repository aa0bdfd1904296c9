//! How much devices of the compat protocol may ask for. Each node counts for itself; where there are others, it
//! says what was taken and hears what was taken elsewhere, but nobody waits for that: devices of a session that
//! ask at two nodes in the same moment may get a few more.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use belay_wire::MemberId;

use super::super::{Effect, Effects, Session};
use crate::{CompatPolicy, Env, Gcra};

const MINUTE: Duration = Duration::from_mins(1);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Allowance {
    /// Commands of a device.
    Commands(MemberId),
    /// Snapshots that a device asks for.
    Snapshots(MemberId),
    /// Commands of all devices of a session.
    Session,
}

impl Allowance {
    fn per_minute(self, policy: &CompatPolicy) -> u32 {
        let limit = match self {
            Self::Commands(_) => policy.commands_per_minute,
            Self::Snapshots(_) => policy.snapshots_per_minute,
            Self::Session => policy.session_commands_per_minute,
        };
        limit.max(1)
    }
}

/// What was taken of an allowance since it was told last; none asks what others took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub allowance: Allowance,
    pub count: u32,
    /// How much of it there is in a minute, all of it at once if need be.
    pub per_minute: u32,
}

/// The allowances of one session.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets {
    buckets: BTreeMap<Allowance, Gcra>,
    untold: BTreeMap<Allowance, u32>,
}

impl Budgets {
    fn bucket(&mut self, allowance: Allowance, env: &Env<'_>) -> &mut Gcra {
        let limit = allowance.per_minute(&env.policy.compat);
        self.buckets.entry(allowance).or_insert_with(|| Gcra::every(MINUTE / limit, limit))
    }

    /// Takes one.
    ///
    /// # Errors
    /// There is none; nothing was taken.
    pub(super) fn take(&mut self, allowance: Allowance, env: &Env<'_>) -> Result<(), Duration> {
        self.bucket(allowance, env).take(env.now.mono)?;
        *self.untold.entry(allowance).or_default() += 1;
        Ok(())
    }

    fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.buckets.keys().filter_map(|allowance| match allowance {
            Allowance::Commands(member) | Allowance::Snapshots(member) => Some(*member),
            Allowance::Session => None,
        })
    }

    /// A removed device needs no allowance.
    pub(super) fn forget(&mut self, member: MemberId) {
        let gone = [Allowance::Commands(member), Allowance::Snapshots(member)];
        self.buckets.retain(|allowance, _| !gone.contains(allowance));
        self.untold.retain(|allowance, _| !gone.contains(allowance));
    }

    /// Devices whose allowance of commands, and of snapshots, is not full.
    pub(super) fn used(&self, now: Instant) -> (usize, usize) {
        let used = |pick: fn(MemberId) -> Allowance| {
            let is_used = |member: &MemberId| {
                self.buckets.get(&pick(*member)).is_some_and(|bucket| !bucket.is_idle(now))
            };
            let mut members: Vec<_> = self.members().filter(is_used).collect();
            members.sort_unstable();
            members.dedup();
            members.len()
        };
        (used(Allowance::Commands), used(Allowance::Snapshots))
    }
}

impl Session {
    /// A device came, or left: what it took elsewhere is asked for, or what it took here is told.
    pub(in super::super) fn account(
        &mut self,
        member: MemberId,
        effects: &mut Effects,
        env: &Env<'_>,
    ) {
        let budgets = &mut self.compat.budgets;
        for allowance in
            [Allowance::Commands(member), Allowance::Snapshots(member), Allowance::Session]
        {
            budgets.untold.entry(allowance).or_default();
        }
        self.tell_budgets(env, effects);
    }

    /// Tells what was taken, where others may have to know.
    pub(in super::super) fn tell_budgets(&mut self, env: &Env<'_>, effects: &mut Effects) {
        let untold = std::mem::take(&mut self.compat.budgets.untold);
        if !self.clustered || untold.is_empty() {
            return;
        }
        let spent = untold.into_iter().map(|(allowance, count)| Spent {
            allowance,
            count,
            per_minute: allowance.per_minute(&env.policy.compat),
        });
        effects.then.push(Effect::Spend(spent.collect()));
    }

    /// All nodes together are so far ahead with an allowance.
    pub(in super::super) fn spent(&mut self, allowance: Allowance, ahead: Duration, env: &Env<'_>) {
        let gone = match allowance {
            Allowance::Commands(member) | Allowance::Snapshots(member) => {
                !self.member_exists(member)
            }
            Allowance::Session => false,
        };
        if gone {
            return;
        }
        self.compat.budgets.bucket(allowance, env).advance(env.now.mono + ahead);
    }
}

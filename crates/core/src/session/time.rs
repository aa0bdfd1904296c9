//! What a session does because time passed.

use std::time::Instant;

use belay_wire::CloseCode;

use super::{Effect, Effects, Input, Session};
use crate::{Env, env::Policy};

impl Session {
    /// When [`Input::Tick`] is due next.
    pub fn next_deadline(&self, policy: &Policy) -> Option<Instant> {
        let logs = self.channels.values().filter_map(|c| c.log.deadline());
        let tails = self.channels.values().filter_map(|c| c.tail_due);
        let windows = self
            .connections
            .values()
            .filter_map(|c| c.window.full_since())
            .map(|since| since + policy.slow_consumer_after);
        let held = self.held_until();
        let retry = self.retry_at.filter(|_| !self.retries.is_empty());
        let stored = self.pair_deadline.map(|(_, at)| at).into_iter().chain(self.flush_at());
        // While nothing can be stored, there is no use in trying.
        let stored = stored.map(|at| self.retry_at.map_or(at, |again| again.max(at)));
        logs.chain(tails).chain(windows).chain(retry).chain(held).chain(stored).min()
    }

    pub(super) fn tick(&mut self, env: &mut Env<'_>, effects: &mut Effects) {
        let now = env.now.mono;
        self.retry(env, effects);
        for state in self.channels.values_mut() {
            state.log.tick(env.now);
        }
        self.asks = true;
        self.tell_tails(env, effects);
        self.release(now, effects);
        let slow: Vec<_> = self
            .connections
            .values()
            .filter(|c| {
                let full = c.window.full_since();
                full.is_some_and(|t| now.duration_since(t) >= env.policy.slow_consumer_after)
            })
            .map(|c| c.id)
            .collect();
        for connection in slow {
            self.close(connection, CloseCode::SlowConsumer, effects);
        }
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        if self.pair_deadline.is_some_and(|(_, at)| at <= now) {
            effects.then.push(Effect::Feed(Input::PairOverdue));
        } else if self.flush_at().is_some() {
            effects.then.push(Effect::Feed(Input::Flush));
        }
    }

    /// When times that are not stored yet are to be.
    fn flush_at(&self) -> Option<Instant> {
        // Other nodes go by what is stored, also while somebody is connected here.
        self.quiet_since.filter(|_| self.is_unsaved() && (self.clustered || self.is_quiet()))
    }
}

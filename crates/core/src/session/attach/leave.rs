//! A connection ends, and when its peer was seen last.

use belay_wire::ConnectionId;

use super::super::{Effect, Effects, Event, Input, Session, connection::Connection};
use crate::{Env, token::Principal};

impl Session {
    /// Ends a connection that is gone.
    pub(in super::super) fn detach(
        &mut self,
        id: ConnectionId,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(gone) = self.connections.remove(&id) else { return };
        if gone.is_serving() {
            self.restore_replaced(&gone, effects);
        }
        effects.events.push(Event::Detached { connection: id, is_host: gone.is_host() });
        let (principal, generation) = (gone.principal, gone.generation);
        if self.clustered {
            // Whoever finds the seat empty must find when it was left.
            let left = Input::GiveUp { principal, generation };
            effects.then.extend([Input::Flush, left].map(Effect::Feed));
        }
        if let (Some(member), true) = (gone.member(), self.record.compat.is_some()) {
            self.account(member, effects, env);
        }
        if gone.is_host() && self.record.compat.is_some() {
            self.host_may_have_left(effects);
        }
        self.touch(principal, env.now.unix_ms);
        self.forget_read();
        self.mark_presence(effects);
        self.quiet_since = Some(env.now.mono);
    }

    /// A connection that went before its peer used it gives way to the one that it replaced.
    fn restore_replaced(&mut self, gone: &Connection, effects: &mut Effects) {
        let Some(old) = gone.replaces.and_then(|id| self.connections.get_mut(&id)) else { return };
        old.superseded = false;
        let id = old.id;
        effects.wake.push(id);
        self.sit(id, effects);
    }

    pub(in super::super) fn touch(&mut self, principal: Principal, unix_ms: u64) {
        self.seen.insert(principal, unix_ms);
    }

    pub(in super::super) fn touch_all(&mut self, env: &Env<'_>) {
        let open = self.connections.values().filter(|c| c.is_serving());
        let seen: Vec<_> = open.map(|c| (c.principal, env.now.unix_ms)).collect();
        self.seen.extend(seen);
        self.quiet_since = Some(env.now.mono);
    }
}

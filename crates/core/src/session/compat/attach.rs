//! How a desktop or phone of the compat protocol comes in.

use std::time::{Duration, Instant};

use belay_wire::{Channel, CloseCode, MemberId, Secret, compat::Told};

use super::{
    super::{
        Attach, Effect, Effects, Event, Input, Session,
        attach::{new_connection, refuse},
        connection::{Connection, Reader},
    },
    Link,
};
use crate::{
    Env,
    delivery::Cursor,
    env::draw,
    token::{Claims, CompatJudgement, Principal, judge_compat},
};

/// How long a desktop that comes is not given what waits for it, where nodes share the session: the node at
/// which it was says meanwhile what it has written.
const HANDOVER: Duration = Duration::from_millis(300);

impl Session {
    pub(in super::super) fn attach_compat(
        &mut self,
        mut attach: Attach,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let connection = attach.connection;
        let Principal::Member(member) = attach.claims.principal else {
            return self.admit_compat(&attach, env, effects);
        };
        let device = self.record.device(member);
        if attach.revoked_elsewhere || device.is_some_and(|d| d.revoked_at.is_some()) {
            return refuse(connection, CloseCode::UnknownDevice, "device_not_registered", effects);
        }
        let Some(token) = device.map(|d| d.token) else {
            return refuse(connection, CloseCode::UnknownDevice, "device_record_missing", effects);
        };
        let others = self.connected_members().filter(|m| *m != member).count();
        if others >= env.policy.devices_max {
            return refuse(connection, CloseCode::RateLimited, "device_cap_reached", effects);
        }
        let grace = env.policy.compat.rotation_grace;
        let generation = attach.claims.generation;
        let committed = match judge_compat(generation, &token, env.now.unix_ms, grace) {
            CompatJudgement::Serve => None,
            CompatJudgement::Commit { ahead } => Some((attach.claims, ahead)),
            CompatJudgement::Expired => {
                return refuse(connection, CloseCode::StaleToken, "token_not_found", effects);
            }
        };
        let mut record = self.draft(env);
        if let Some((claims, ahead)) = committed {
            record.set_token(&claims, env);
            effects.events.push(Event::TokenCommitted { ahead });
        }
        if grace.is_zero() {
            // Without a grace the successor is current before it is told.
            let current = record.device(member).map_or(0, |d| d.token.generation);
            let claims = self.successor(member, current, env);
            record.set_token(&claims, env);
            attach.offered = Some(claims);
        }
        if committed.is_some() || grace.is_zero() {
            effects.save = Some(record);
        }
        effects.then.push(Effect::Feed(Input::Admit(Box::new(attach))));
    }

    /// What a connection is told that comes while the session ends, or after.
    pub(in super::super) fn over(&self) -> Option<CloseCode> {
        match (self.compat.ended, self.compat.is_over()) {
            (Some(_), _) => Some(CloseCode::SessionEnded),
            (None, true) => Some(CloseCode::Unavailable),
            (None, false) => None,
        }
    }

    /// Members with an open connection, at whichever node.
    pub(super) fn connected_members(&self) -> impl Iterator<Item = belay_wire::MemberId> + '_ {
        let here =
            self.connections.values().filter(|c| c.is_serving()).filter_map(Connection::member);
        let is_here = |member: &belay_wire::MemberId| {
            self.connection_of(Principal::Member(*member)).is_some()
        };
        let elsewhere = self.remote.iter().filter_map(|seat| match seat.principal {
            Principal::Member(member) => Some(member),
            Principal::Host => None,
        });
        here.chain(elsewhere.filter(move |member| !is_here(member)))
    }

    pub(in super::super) fn admit_compat(
        &mut self,
        attach: &Attach,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let principal = attach.claims.principal;
        if let Principal::Member(member) = principal {
            self.account(member, effects, env);
        }
        self.supersede(principal, &attach.client, effects);
        let offered = attach.offered.or_else(|| self.offer_compat(principal, env));
        let mut connection = new_connection(attach, None, env);
        connection.readers = match principal {
            Principal::Host => {
                let ups: Vec<_> =
                    self.record.active_devices().map(|d| Channel::Up(d.member)).collect();
                ups.into_iter().map(|ch| reader(ch, Cursor::new(None))).collect()
            }
            Principal::Member(_) => {
                let log = self.channels.get(&Channel::Down).map(|state| state.log.ring());
                vec![reader(Channel::Down, Cursor::at_end(log))]
            }
        };
        let held_until = self.hold(principal, env);
        let offered_here = offered.filter(|_| attach.offered.is_none());
        let mut link = Link { offered: offered_here, held_until, ..Link::default() };
        let token = offered.map(|claims| env.keys.mint(&claims));
        let members = self.connected_members();
        let count = match principal {
            Principal::Host => members.count(),
            Principal::Member(member) => members.filter(|m| *m != member).count() + 1,
        };
        link.tell(self.auth_ok(principal, token, count));
        connection.compat = Some(link);
        effects.events.push(Event::Attached {
            connection: attach.connection,
            is_host: principal == Principal::Host,
            resumed: false,
            again: false,
        });
        self.connections.insert(attach.connection, connection);
        let known = self.known(attach.connection);
        if let Some(link) = self.connections.get_mut(&attach.connection) {
            link.compat = link.compat.take().map(|link| Link { known, ..link });
        }
        effects.wake.push(attach.connection);
        self.sit(attach.connection, effects);
        self.touch(principal, env.now.unix_ms);
        if principal == Principal::Host {
            self.rename_phones();
            self.tell_pending(effects);
        }
        self.mark_presence(effects);
    }

    /// A desktop for which something is kept may have been given that at another node just before. Nobody
    /// here can know where it was, so each waits for a moment.
    fn hold(&self, principal: Principal, env: &Env<'_>) -> Option<Instant> {
        let waits = |(channel, state): (&Channel, &crate::session::ChannelState)| {
            matches!(channel, Channel::Up(_)) && state.log.ring().messages() > 0
        };
        let is_due = self.clustered && principal == Principal::Host;
        (is_due && self.channels.iter().any(waits)).then(|| env.now.mono + HANDOVER)
    }

    /// When something that is held is to go on.
    pub(in super::super) fn held_until(&self) -> Option<Instant> {
        let links = self.connections.values().filter_map(|c| c.compat.as_ref());
        links.filter_map(|link| link.held_until).min()
    }

    /// What was held long enough goes on.
    pub(in super::super) fn release(&mut self, now: Instant, effects: &mut Effects) {
        for connection in self.connections.values_mut() {
            let held = connection.compat.as_mut().map(|link| &mut link.held_until);
            if held.is_some_and(|until| until.take_if(|at| *at <= now).is_some()) {
                effects.wake.push(connection.id);
            }
        }
    }

    /// What the desktop said about answering requests, at whichever node.
    fn supports(&self) -> Option<bool> {
        let stored = self.record.compat.as_ref().and_then(|c| c.supports);
        if self.clustered { stored.or(self.compat.supports) } else { self.compat.supports }
    }

    /// Phones that connect at other nodes are told, too.
    pub(in super::super) fn store_supports(
        &self,
        supports: bool,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let mut record = self.draft(env);
        let Some(compat) = record.compat.as_mut().filter(|c| c.supports != Some(supports)) else {
            return;
        };
        compat.supports = Some(supports);
        effects.save = Some(record);
    }

    fn auth_ok(&self, principal: Principal, token: Option<Secret>, count: usize) -> Told {
        let (role, device_id) = match principal {
            Principal::Host => ("desktop", None),
            Principal::Member(member) => ("mobile", Some(member.to_string())),
        };
        let is_host = principal == Principal::Host;
        Told::AuthOk {
            role,
            session_id: self.compat_id(),
            device_id,
            next_device_session_token: token.map(|t| t.expose().to_owned()),
            connected_device_count: count,
            desktop_connected: is_host || self.is_connected(Principal::Host),
            supports_runtime_requests: self.supports().filter(|_| !is_host),
        }
    }

    /// A phone is offered a successor at every connect.
    fn offer_compat(&self, principal: Principal, env: &mut Env<'_>) -> Option<Claims> {
        let Principal::Member(member) = principal else { return None };
        let current = self.record.device(member)?.token.generation;
        Some(self.successor(member, current, env))
    }

    fn successor(&self, member: MemberId, current: u64, env: &mut Env<'_>) -> Claims {
        Claims {
            session: self.record.id,
            principal: Principal::Member(member),
            issued_at: env.now.unix_ms,
            generation: current + 1,
            nonce: draw(env.entropy),
        }
    }

    /// The first text after `auth_ok` proves that the phone has its new token, which is current from then
    /// on. `true`: that is to be stored first.
    pub(super) fn commit_offer(
        &mut self,
        id: belay_wire::ConnectionId,
        env: &Env<'_>,
        effects: &mut Effects,
    ) -> bool {
        let link = self.connections.get(&id).and_then(|c| c.compat.as_ref());
        let Some(claims) = link.and_then(|link| link.offered) else { return false };
        let stored = self.token_state(claims.principal).map_or(0, |t| t.generation);
        if claims.generation <= stored {
            self.committed(id);
            return false;
        }
        effects.events.push(Event::TokenCommitted { ahead: false });
        effects.save = Some(self.with_token(&claims, env));
        true
    }

    /// The offered token is the current one.
    pub(in super::super) fn committed(&mut self, id: belay_wire::ConnectionId) {
        if let Some(link) = self.connections.get_mut(&id).and_then(|c| c.compat.as_mut()) {
            link.offered = None;
        }
    }
}

fn reader(channel: Channel, cursor: Cursor) -> Reader {
    Reader { channel, cursor, applied: None, stamp: 0, deficit: 0 }
}

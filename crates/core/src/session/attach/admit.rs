//! An authenticated connection is let in, and what it replaces gives way.

use std::collections::{BTreeMap, VecDeque};

use belay_wire::{
    ClientInfo, CloseCode, ConnectionId, HOST_MESSAGE_BYTES_MAX, LimitsView, MESSAGE_BYTES_MAX,
    Positions, WINDOW_BYTES_MAX, WINDOW_MESSAGES_MAX, Welcome,
};

use super::{
    super::{ChannelState, Effects, Event, Session, connection::Connection, logged::health},
    Attach, refuse,
};
use crate::{
    Env, Gcra,
    delivery::Window,
    env::{Policy, millis},
    token::Principal,
};

impl Session {
    /// Lets an authenticated connection in. What it needed stored is stored.
    pub(in super::super) fn admit(
        &mut self,
        attach: Attach,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        if let Some(code) = self.over() {
            return refuse(attach.connection, code, "session_missing", effects);
        }
        if let Principal::Member(member) = attach.claims.principal
            && !self.member_exists(member)
        {
            return refuse(attach.connection, CloseCode::Revoked, "revoked", effects);
        }
        let principal = attach.claims.principal;
        if attach.compat {
            return self.admit_compat(&attach, env, effects);
        }
        let replaces = self.supersede(principal, &attach.client, effects);
        let mut connection = new_connection(&attach, replaces, env);
        connection.readers = self.readers_for(principal, &attach.resume);
        let accepted = self.announce_bases(&mut connection, &attach.base, env);
        let resumed = self.describe_resume(&mut connection, env.policy, effects);
        self.take_as_applied(&connection.applied(), effects);
        let is_shut = |(_, state): &(_, &ChannelState)| !state.log.is_open();
        let shut = self.channels.iter().filter(is_shut).map(|(channel, _)| *channel);
        let pending = shut.filter(|ch| connection.writes(*ch) || connection.reads(*ch)).collect();
        if self.degraded {
            connection.control.push_back(health(true).into());
        }
        let next_token = if attach.offer { self.offer(principal, env) } else { None };
        let host_connected = principal == Principal::Host || self.is_connected(Principal::Host);
        connection.control.push_front(
            Welcome {
                session: self.record.id,
                member: connection.member(),
                connection: attach.connection,
                next_token,
                accepted,
                resumed,
                pending,
                limits: limits_view(principal, env.policy),
                heartbeat_ms: millis(env.policy.heartbeat),
                node: attach.node,
                host_connected,
                notices: Vec::new(),
            }
            .into(),
        );
        effects.events.push(Event::Attached {
            connection: attach.connection,
            is_host: principal == Principal::Host,
            resumed: !attach.resume.is_empty(),
            again: attach.client.attempt > 1,
        });
        self.connections.insert(attach.connection, connection);
        effects.wake.push(attach.connection);
        self.sit(attach.connection, effects);
        self.tell_lost(attach.connection, principal, &attach.base, effects);
        if principal == Principal::Host {
            self.tell_stable(attach.connection, effects);
        }
        self.touch(principal, env.now.unix_ms);
        self.greet(principal, effects);
        self.mark_presence(effects);
    }

    pub(in super::super) fn supersede(
        &mut self,
        principal: Principal,
        client: &ClientInfo,
        effects: &mut Effects,
    ) -> Option<ConnectionId> {
        // Those that were replaced before and whose successor was never used.
        let older: Vec<_> = self
            .connections
            .values()
            .filter(|c| c.principal == principal && c.superseded)
            .map(|c| c.id)
            .collect();
        for id in older {
            self.close(id, CloseCode::Moved, effects);
        }
        let old = self.connection_of_mut(principal)?;
        let id = old.id;
        if old.client.instance == client.instance {
            old.superseded = true;
            return Some(id);
        }
        self.close(id, CloseCode::TakenOver, effects);
        None
    }
}

pub(in super::super) fn new_connection(
    attach: &Attach,
    replaces: Option<ConnectionId>,
    env: &Env<'_>,
) -> Connection {
    let (rate, burst) = match attach.claims.principal {
        Principal::Host => env.policy.host_rate,
        Principal::Member(_) => env.policy.member_rate,
    };
    Connection {
        id: attach.connection,
        principal: attach.claims.principal,
        client: attach.client.clone(),
        control: VecDeque::new(),
        readers: Vec::new(),
        window: Window::default(),
        rate: Gcra::new(rate, burst),
        ack_due: BTreeMap::new(),
        ack_count: 0,
        nacked: BTreeMap::new(),
        presence_due: false,
        devices_due: attach.claims.principal == Principal::Host,
        live_due: true,
        superseded: false,
        generation: None,
        unseated: false,
        replaces,
        closing: None,
        opened: BTreeMap::new(),
        announced: Vec::new(),
        bases: Positions::new(),
        writing: BTreeMap::new(),
        compat: None,
    }
}

fn limits_view(principal: Principal, policy: &Policy) -> LimitsView {
    LimitsView {
        message_bytes: match principal {
            Principal::Host => HOST_MESSAGE_BYTES_MAX,
            Principal::Member(_) => MESSAGE_BYTES_MAX,
        },
        window_messages: WINDOW_MESSAGES_MAX,
        window_bytes: WINDOW_BYTES_MAX,
        log_messages: policy.log_messages,
        log_bytes: policy.log_bytes,
        log_age_ms: millis(policy.log_age),
    }
}

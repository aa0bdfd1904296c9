//! How a connection becomes part of a session, and leaves it.

use std::collections::{BTreeMap, VecDeque};

use belay_wire::{
    Channel, ClientInfo, CloseCode, ConnectionId, Frame, LimitsView, Position, Positions, Resumed,
    Secret, Seq, Stable, TokenCommitted, TokenOffer, Welcome,
};

use super::{
    Effect, Effects, Event, Input, Session,
    connection::{Connection, Reader},
};
use crate::{
    Env, Gcra, Mutation, TokenState,
    delivery::{Cursor, Window},
    env::{Policy, draw, millis},
    token::{Claims, Judgement, Presented, Principal, judge, token_hash},
};

/// A connection that sent `auth`. The token's MAC was verified and a signature, if there is one,
/// was checked against the registered key.
#[derive(Debug, Clone)]
pub struct Attach {
    pub connection: ConnectionId,
    pub claims: Claims,
    pub client: ClientInfo,
    pub resume: Positions,
    pub base: Positions,
    pub proof_valid: bool,
    pub nonce_is_old: bool,
    /// The member stands in the second place of revocations.
    pub revoked_elsewhere: bool,
    pub node: String,
    /// Offer a successor in `welcome`.
    pub offer: bool,
    /// It came by the compat protocol.
    pub compat: bool,
    /// The successor that it is offered in the compat protocol, where that is current before it is told.
    pub offered: Option<Claims>,
}

impl Session {
    /// The registered key of a principal.
    pub fn key_of(&self, principal: Principal) -> Option<belay_wire::PublicKey> {
        match principal {
            Principal::Host => self.record.host.key,
            Principal::Member(member) => self.record.device(member).and_then(|d| d.key),
        }
    }

    pub(super) fn attach(&mut self, mut attach: Attach, env: &mut Env<'_>, effects: &mut Effects) {
        if let Some(code) = self.over() {
            return refuse(attach.connection, code, "session_missing", effects);
        }
        if attach.compat != self.record.compat.is_some() {
            let (code, cause) = (CloseCode::ProtocolError, "other_protocol");
            return refuse(attach.connection, code, cause, effects);
        }
        if attach.compat {
            return self.attach_compat(attach, env, effects);
        }
        attach.revoked_elsewhere &= !Mutation::OneTombstone.is_on();
        if let Principal::Member(member) = attach.claims.principal
            && attach.revoked_elsewhere
            && self.member_exists(member)
        {
            // The store lost the revocation; the other place has it.
            effects.then.push(Effect::Feed(Input::Revoke { member }));
        }
        let judgement = match self.judge(&attach, env) {
            Ok(judgement) => judgement,
            Err((code, cause)) => return refuse(attach.connection, code, cause, effects),
        };
        if let Some(code) = self.older_attempt(&attach) {
            return refuse(attach.connection, code, "older_attempt", effects);
        }
        match judgement {
            Judgement::Current => {
                attach.offer = self.rotation_is_due(attach.claims.principal, env);
                self.admit(attach, env, effects);
            }
            Judgement::ClientWentBack => {
                effects.events.push(Event::ClientWentBack);
                attach.offer = true;
                self.admit(attach, env, effects);
            }
            Judgement::Commit { ahead } => {
                effects.events.push(Event::TokenCommitted { ahead });
                effects.save = Some(self.with_token(&attach.claims, env));
                effects.then.push(Effect::Feed(Input::Admit(Box::new(attach))));
            }
            Judgement::ProofMissing => {
                refuse(attach.connection, CloseCode::NotAuthenticated, "proof", effects);
            }
            Judgement::Stale => {
                refuse(attach.connection, CloseCode::StaleToken, "stale_token", effects);
            }
            Judgement::Stolen => {
                let connection = attach.connection;
                self.punish_theft(attach.claims.principal, env, effects);
                refuse(connection, CloseCode::Revoked, "token_reused", effects);
            }
        }
    }

    fn judge(
        &self,
        attach: &Attach,
        env: &Env<'_>,
    ) -> Result<Judgement, (CloseCode, &'static str)> {
        let principal = attach.claims.principal;
        let token = match principal {
            Principal::Host => self.record.host.token,
            Principal::Member(member) => {
                let device = self.record.device(member);
                let revoked = device.is_some_and(|d| d.revoked_at.is_some());
                if revoked || attach.revoked_elsewhere {
                    return Err((CloseCode::Revoked, "revoked"));
                }
                device.ok_or((CloseCode::UnknownDevice, "unknown_device"))?.token
            }
        };
        let presented = Presented {
            generation: attach.claims.generation,
            nonce: attach.claims.nonce,
            has_key: self.key_of(principal).is_some(),
            proof_valid: attach.proof_valid,
            nonce_is_old: attach.nonce_is_old,
        };
        let grace = env.policy.stale_grace;
        Ok(judge(&presented, &token, env.hash_key, env.now.unix_ms, grace))
    }

    /// Inside one instance the higher attempt wins.
    fn older_attempt(&self, attach: &Attach) -> Option<CloseCode> {
        let principal = attach.claims.principal;
        let here = self.connection_of(principal).map(|c| (&c.client.instance, c.client.attempt));
        let elsewhere = self.remote.iter().filter(|seat| seat.principal == principal);
        let mut held = here.into_iter().chain(elsewhere.map(|seat| (&seat.instance, seat.attempt)));
        let outdated = held.any(|(instance, attempt)| {
            *instance == attach.client.instance && attempt >= attach.client.attempt
        });
        outdated.then_some(CloseCode::OutdatedAttempt)
    }

    /// The stored state of a principal's token.
    pub(super) fn token_state(&self, principal: Principal) -> Option<TokenState> {
        match principal {
            Principal::Host => Some(self.record.host.token),
            Principal::Member(member) => self.record.device(member).map(|d| d.token),
        }
    }

    /// The record once this token is the current one.
    pub(super) fn with_token(&self, claims: &Claims, env: &Env<'_>) -> crate::SessionRecord {
        let mut record = self.draft(env);
        record.set_token(claims, env);
        record
    }

    fn rotation_is_due(&self, principal: Principal, env: &Env<'_>) -> bool {
        self.token_state(principal).is_some_and(|token| {
            let age = env.now.unix_ms.saturating_sub(token.committed_at);
            age >= millis(env.policy.rotation_after)
        })
    }

    fn offer(&mut self, principal: Principal, env: &mut Env<'_>) -> Option<Secret> {
        let generation = self.token_state(principal)?.generation + 1;
        let same = Mutation::SameSuccessor.is_on();
        let claims = Claims {
            session: self.record.id,
            principal,
            issued_at: env.now.unix_ms,
            generation,
            nonce: if same { [0; 16] } else { draw(env.entropy) },
        };
        if Mutation::CommitAtOffer.is_on() {
            self.record.set_token(&claims, env);
        }
        Some(env.keys.mint(&claims))
    }

    /// Offers a successor on a long connection when rotation is due.
    pub fn rotate(&mut self, connection: ConnectionId, env: &mut Env<'_>) -> bool {
        let Some(principal) = self.connections.get(&connection).map(|c| c.principal) else {
            return false;
        };
        if !self.rotation_is_due(principal, env) {
            return false;
        }
        let Some(token) = self.offer(principal, env) else { return false };
        let connection = self.connections.get_mut(&connection).filter(|c| c.is_serving());
        connection.is_some_and(|c| c.send(TokenOffer { token }).is_ok())
    }

    /// The client confirmed an offered token: that is its first use.
    pub(super) fn confirm_token(
        &mut self,
        id: ConnectionId,
        token: &Secret,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(principal) = self.connections.get(&id).map(|c| c.principal) else { return };
        let claims = env
            .keys
            .verify(token)
            .ok()
            .filter(|c| c.session == self.record.id && c.principal == principal);
        let Some(claims) = claims else {
            return self.close(id, CloseCode::NotAuthenticated, effects);
        };
        let stored = self.token_state(principal).map_or(0, |t| t.generation);
        if claims.generation < stored {
            // A successor of it is in use: this one will be stale.
            return;
        }
        if claims.generation > stored {
            effects.events.push(Event::TokenCommitted { ahead: claims.generation > stored + 1 });
            effects.save = Some(self.with_token(&claims, env));
        }
        effects.then.push(Effect::Feed(Input::Tell { connection: id, frame: committed() }));
    }

    /// Lets an authenticated connection in. What it needed stored is stored.
    pub(super) fn admit(&mut self, attach: Attach, env: &mut Env<'_>, effects: &mut Effects) {
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
        let is_shut = |(_, state): &(_, &super::ChannelState)| !state.log.is_open();
        let shut = self.channels.iter().filter(is_shut).map(|(channel, _)| *channel);
        let pending = shut.filter(|ch| connection.writes(*ch) || connection.reads(*ch)).collect();
        if self.degraded {
            connection.control.push_back(super::logged::health(true).into());
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

    /// Tells a host what members acknowledged while it was away.
    fn tell_stable(&mut self, id: ConnectionId, effects: &mut Effects) {
        let readers = self.connections.values().flat_map(|c| &c.readers);
        let own = readers.filter(|r| matches!(r.channel, Channel::DownTo(_)));
        let applied = own.filter_map(|r| Some((r.channel, r.applied?)));
        let is_stored = |(channel, at): &(Channel, Position)| {
            let head = self.channels.get(channel).and_then(|state| state.log.ring().head());
            head.is_some_and(|head| head.epoch == at.epoch && at.seq <= head.seq)
        };
        let pos: Positions = applied.filter(is_stored).collect();
        if !pos.is_empty() {
            self.control(id, Stable { pos }, effects);
        }
    }

    /// Tells a member what it lost while it was away; what lies below its base it has forgotten.
    pub(super) fn tell_lost(
        &mut self,
        id: ConnectionId,
        principal: Principal,
        bases: &Positions,
        effects: &mut Effects,
    ) {
        let Principal::Member(member) = principal else { return };
        let ch = Channel::Up(member);
        let base = bases.get(&ch);
        let Some(device) = self.record.device(member) else { return };
        let is_of_use =
            |l: &&belay_wire::Lost| base.is_none_or(|b| b.epoch == l.epoch && b.seq <= l.to);
        let lost: Vec<_> = device.lost.iter().filter(is_of_use).cloned().collect();
        if lost.len() < device.lost.len() {
            let base = base.copied();
            effects.then.push(Effect::Feed(Input::LostHeard { member, base }));
        }
        for lost in lost {
            self.control(id, lost, effects);
        }
        let applied = self.channels.get(&ch).and_then(|state| state.log.ring().before_oldest());
        if let Some(applied) = applied.filter(|p| p.seq > Seq::ZERO) {
            // What was applied while it was away.
            self.control(id, Stable { pos: Positions::from([(ch, applied)]) }, effects);
        }
    }

    pub(super) fn supersede(
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

    fn readers_for(&self, principal: Principal, resume: &Positions) -> Vec<Reader> {
        let channels = match principal {
            Principal::Host => {
                self.record.active_devices().map(|d| Channel::Up(d.member)).collect()
            }
            Principal::Member(member) => vec![Channel::Down, Channel::DownTo(member)],
        };
        channels.into_iter().map(|c| reader(c, resume.get(&c).copied())).collect()
    }

    /// A new member's commands reach a host that is already connected.
    pub(super) fn read_new_member(&mut self, member: belay_wire::MemberId, policy: &Policy) {
        self.channel(Channel::DownTo(member), policy);
        self.channel(Channel::Up(member), policy);
        if let Some(host) = self.host() {
            host.readers.push(reader(Channel::Up(member), None));
        }
    }

    fn announce_bases(
        &mut self,
        connection: &mut Connection,
        bases: &Positions,
        env: &Env<'_>,
    ) -> Positions {
        let mut accepted = Positions::new();
        for (channel, base) in bases {
            if connection.writes(*channel) && self.channel_may_exist(*channel) {
                let log = &mut self.channel(*channel, env.policy).log;
                let at_least_one = Position { seq: base.seq.max(Seq::ZERO.next()), ..*base };
                let Some(head) = log.announce(at_least_one, env.now) else {
                    connection.bases.insert(*channel, at_least_one);
                    continue;
                };
                accepted.insert(*channel, head);
                if head.epoch == base.epoch {
                    connection.writing.insert(*channel, base.epoch);
                }
            }
        }
        for (channel, state) in &self.channels {
            if let Some(head) = state.log.ring().head()
                && connection.writes(*channel)
            {
                accepted.entry(*channel).or_insert(head);
            }
        }
        accepted
    }

    fn describe_resume(
        &mut self,
        connection: &mut Connection,
        policy: &Policy,
        effects: &mut Effects,
    ) -> BTreeMap<Channel, Resumed> {
        let mut resumed = BTreeMap::new();
        for reader in &mut connection.readers {
            let log = &self.channel(reader.channel, policy).log;
            if !log.is_open() {
                continue;
            }
            let gap = reader.cursor.resolve(reader.channel, log);
            if log.ring().head().is_some_and(|head| reader.cursor.is_ahead_of(head)) {
                effects.events.push(Event::PositionAhead { what: "resume" });
            }
            let from = reader.cursor.at().map_or(Seq::ZERO, |p| p.seq).next();
            let count = if log.ring().head().is_some() { reader.cursor.lag(log) } else { 0 };
            resumed.insert(reader.channel, Resumed { gap: gap.is_some(), from, count });
            if let Some(gap) = gap {
                connection.control.push_back(gap.into());
            }
        }
        resumed
    }

    /// What a host resumes from it has applied, although its acknowledgement may be lost.
    pub(super) fn take_as_applied(
        &mut self,
        readers: &[(Channel, Position)],
        effects: &mut Effects,
    ) {
        for (channel, at) in readers.iter().filter(|(ch, _)| !ch.is_written_by_host()) {
            let Some(state) = self.channels.get_mut(channel) else { continue };
            if state.log.applied(*at) {
                self.asks = true;
                let member = channel.member().map(Principal::Member);
                let pos = Positions::from([(*channel, *at)]);
                if let Some(id) = member.and_then(|m| self.connection_of(m)).map(|c| c.id) {
                    self.control(id, Stable { pos }, effects);
                } else {
                    self.tell_applied(&pos, effects);
                }
            }
        }
    }

    /// Ends a connection that is gone.
    pub(super) fn detach(&mut self, id: ConnectionId, env: &Env<'_>, effects: &mut Effects) {
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

    pub(super) fn touch(&mut self, principal: Principal, unix_ms: u64) {
        self.seen.insert(principal, unix_ms);
    }

    pub(super) fn touch_all(&mut self, env: &Env<'_>) {
        let open = self.connections.values().filter(|c| c.is_serving());
        let seen: Vec<_> = open.map(|c| (c.principal, env.now.unix_ms)).collect();
        self.seen.extend(seen);
        self.quiet_since = Some(env.now.mono);
    }

    /// Two holders of one token.
    fn punish_theft(&self, principal: Principal, env: &Env<'_>, effects: &mut Effects) {
        if let Principal::Member(member) = principal {
            self.revoke_because(member, Some("token_reused"), env, effects);
        }
    }
}

impl crate::SessionRecord {
    /// From here on this is the current token of its principal.
    pub(super) fn set_token(&mut self, claims: &Claims, env: &Env<'_>) {
        let state = TokenState {
            generation: claims.generation,
            nonce: token_hash(env.hash_key, &claims.nonce),
            committed_at: env.now.unix_ms,
        };
        match claims.principal {
            Principal::Host => self.host.token = state,
            Principal::Member(member) => {
                if let Some(device) = self.device_mut(member) {
                    device.token = state;
                }
            }
        }
    }
}

fn reader(channel: Channel, resume: Option<Position>) -> Reader {
    Reader { channel, cursor: Cursor::new(resume), applied: resume, stamp: 0, deficit: 0 }
}

pub(super) fn new_connection(
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
            Principal::Host => belay_wire::HOST_MESSAGE_BYTES_MAX,
            Principal::Member(_) => belay_wire::MESSAGE_BYTES_MAX,
        },
        window_messages: belay_wire::WINDOW_MESSAGES_MAX,
        window_bytes: belay_wire::WINDOW_BYTES_MAX,
        log_messages: policy.log_messages,
        log_bytes: policy.log_bytes,
        log_age_ms: millis(policy.log_age),
    }
}

fn committed() -> Box<Frame> {
    Box::new(TokenCommitted {}.into())
}

pub(super) fn refuse(
    connection: ConnectionId,
    code: CloseCode,
    cause: &'static str,
    effects: &mut Effects,
) {
    effects.events.push(Event::Refused { code, cause });
    effects.then.push(Effect::Close { connection, code });
}

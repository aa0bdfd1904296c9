//! One session: a host and the members that may talk with it.
//!
//! `handle(input, env) -> effects` is the only way to change it. Frames for a connection are not
//! effects: they wait in the session and are taken by [`Session::pull`] when the socket can be
//! written, so a slow socket holds a cursor, never a queue of messages.

mod attach;
mod compat;
mod connection;
mod delivery;
mod device;
mod effect;
mod logged;
mod pairing;
mod pull;

use std::{collections::BTreeMap, time::Instant};

use belay_wire::{
    Channel, ConnectionId, MemberId, SessionId,
    pair::{HostInfo, SessionCreated},
};

use crate::{
    Env, HostRecord, PairingRecord, SessionRecord, TokenState, Unknown,
    delivery::{Log, LogLimits, Overdue, Volatiles, lost},
    env::{Policy, draw},
    token::{Claims, Principal},
};

pub use attach::Attach;
pub use compat::{CompatJoin, CompatRefresh, CompatStart, Joined, desktop_hash, session_key};
pub use connection::{Connection, ControlFull};
pub use effect::{Effect, Effects, Event, Input, LogTold, PairAnswer, PairError, WaiterId};
pub use pairing::LeaseKey;
pub use pull::{GapTold, OutFrame, Pulled};

/// A channel in use.
#[derive(Debug, Clone)]
pub(crate) struct ChannelState {
    pub(crate) log: Log,
    pub(crate) volatiles: Volatiles,
}

/// Ranges of lost commands that are kept for one member.
const LOST_MAX: usize = 8;

/// A session in memory: its record and what is live.
#[derive(Debug, Clone)]
pub struct Session {
    record: SessionRecord,
    connections: BTreeMap<ConnectionId, Connection>,
    channels: BTreeMap<Channel, ChannelState>,
    pairing: Option<pairing::PairRequest>,
    outcomes: Vec<pairing::Remembered>,
    /// When the host's last connection ended, Unix milliseconds.
    host_seen_at: u64,
    /// The record holds a time that is not stored yet.
    unsaved: bool,
    /// When the last connection ended.
    quiet_since: Option<Instant>,
    /// A log may have something to ask.
    asks: bool,
    /// Storing messages is in trouble, and clients were told so.
    degraded: bool,
    compat: compat::Live,
}

impl Session {
    /// Makes a session and its first join lease. The record must be stored before the answer is
    /// told.
    pub fn create(host: HostInfo, env: &mut Env<'_>) -> (Self, SessionCreated) {
        let id = SessionId::from_bytes(draw(env.entropy));
        let nonce = draw(env.entropy);
        let claims = Claims {
            session: id,
            principal: Principal::Host,
            issued_at: env.now.unix_ms,
            generation: 1,
            nonce,
        };
        let record = SessionRecord {
            id,
            version: 1,
            created_at: env.now.unix_ms,
            host: HostRecord {
                name: host.name,
                platform: host.platform,
                key: Some(host.public_key),
                token: TokenState {
                    generation: 1,
                    nonce: crate::token::token_hash(env.hash_key, &nonce),
                    committed_at: env.now.unix_ms,
                },
                seen_at: env.now.unix_ms,
            },
            devices: Vec::new(),
            lease: None,
            compat: None,
            pairing: PairingRecord::default(),
            unknown: Unknown::new(),
        };
        let mut session = Self::load(record);
        let made = session.make_lease(env);
        session.record.version = 1;
        let created = SessionCreated {
            session: id,
            host_token: env.keys.mint(&claims),
            rendezvous: made.rendezvous,
            code: made.code,
            expires_at: made.expires_at,
        };
        (session, created)
    }

    /// Brings a stored session back to life, with nobody connected and empty logs.
    pub fn load(record: SessionRecord) -> Self {
        let host_seen_at = record.host.seen_at;
        Self {
            record,
            connections: BTreeMap::new(),
            channels: BTreeMap::new(),
            pairing: None,
            outcomes: Vec::new(),
            host_seen_at,
            unsaved: false,
            quiet_since: None,
            asks: false,
            degraded: false,
            compat: compat::Live::default(),
        }
    }

    /// Tells whether a principal has an open connection.
    pub fn is_connected(&self, principal: Principal) -> bool {
        self.connection_of(principal).is_some()
    }

    /// The stored part.
    pub fn record(&self) -> &SessionRecord {
        &self.record
    }

    /// Messages, and bytes of records, that the logs of this session retain.
    pub fn retained(&self) -> (usize, usize) {
        let rings = self.channels.values().map(|state| state.log.ring());
        rings.fold((0, 0), |(n, bytes), ring| (n + ring.messages(), bytes + ring.bytes()))
    }

    /// Tells whether nothing waits to be stored in a channel.
    pub fn is_settled(&self, channel: Channel) -> bool {
        self.channels.get(&channel).is_none_or(|c| c.log.is_settled())
    }

    /// Tells whether nobody is connected and nothing waits, so that it can leave memory.
    pub fn is_idle(&self) -> bool {
        self.is_quiet() && !self.unsaved
    }

    /// Tells whether nothing here could be lost.
    fn is_quiet(&self) -> bool {
        self.connections.is_empty()
            && self.pairing.is_none()
            && self.compat.pending.is_none()
            && self.outcomes.is_empty()
            && self.channels.values().all(|c| c.log.is_settled())
    }

    /// Applies one input.
    pub fn handle(&mut self, input: Input, env: &mut Env<'_>) -> Effects {
        let mut effects = Effects::default();
        match input {
            Input::Attach(attach) => self.attach(*attach, env, &mut effects),
            Input::Admit(attach) => self.admit(*attach, env, &mut effects),
            Input::Detach { connection } => self.detach(connection, env, &mut effects),
            Input::Frame { connection, frame } => {
                self.handle_frame(connection, *frame, env, &mut effects);
            }
            Input::Binary { connection, frame } => {
                self.handle_binary(connection, frame, env, &mut effects);
            }
            Input::NewCode { waiter } => self.new_code(waiter, env, &mut effects),
            Input::StartPair { waiter, start, address } => {
                self.start_pair(waiter, *start, address, env, &mut effects);
            }
            Input::RevealPair { waiter, request, reveal } => {
                self.reveal_pair(waiter, request, &reveal, env, &mut effects);
            }
            Input::CompatJoin { waiter, join } => self.join(waiter, *join, env, &mut effects),
            Input::CompatRefresh { waiter, refresh } => {
                self.refresh(waiter, *refresh, env, &mut effects);
            }
            Input::CompatText { connection, text } => {
                self.compat_text(connection, &text, env, &mut effects);
            }
            Input::Wrote { connection } => self.wrote(connection, &mut effects),
            Input::End { reason } => self.end(reason, &mut effects),
            Input::WaiterGone { waiter } => self.waiter_gone(waiter, &mut effects),
            Input::Revoke { member } => self.revoke(member, env, &mut effects),
            Input::RevokeDurable { member } => self.revoke_durable(member, &mut effects),
            Input::TellHost(frame) => self.tell_host(*frame, &mut effects),
            Input::Tell { connection, frame } => self.control(connection, *frame, &mut effects),
            Input::Flush => self.flush(&mut effects),
            Input::OpenLogs => self.open_logs(env),
            Input::Log { channel, told } => self.log_told(channel, told, env, &mut effects),
            Input::LogWorks => self.log_works(),
            Input::Tick => self.tick(env, &mut effects),
        }
        self.ask_logs(env, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is due next.
    pub fn next_deadline(&self, policy: &Policy) -> Option<Instant> {
        let logs = self.channels.values().filter_map(|c| c.log.deadline());
        let windows = self
            .connections
            .values()
            .filter_map(|c| c.window.full_since())
            .map(|since| since + policy.slow_consumer_after);
        let pairing = self.pairing.as_ref().map(pairing::PairRequest::deadline);
        let joins = self.compat.pending.as_ref().map(compat::Pending::deadline);
        let outcomes = self.outcomes.iter().map(|o| o.until);
        let unsaved = (self.unsaved && self.is_quiet()).then_some(self.quiet_since).flatten();
        logs.chain(windows).chain(pairing).chain(outcomes).chain(unsaved).chain(joins).min()
    }

    /// Stores the times of who left, which are not worth a save that could fail while others work.
    fn flush(&mut self, effects: &mut Effects) {
        if self.unsaved && effects.save.is_none() {
            effects.save = Some(self.next_version());
        }
    }

    fn tick(&mut self, env: &mut Env<'_>, effects: &mut Effects) {
        self.expire_pairing(env, effects);
        self.expire_join(env, effects);
        let now = env.now.mono;
        for state in self.channels.values_mut() {
            state.log.tick(env.now);
        }
        self.asks = true;
        if self.is_quiet() {
            self.flush(effects);
        }
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
            self.close(connection, belay_wire::CloseCode::SlowConsumer, effects);
        }
    }

    /// The open connection of a principal.
    fn connection_of(&self, principal: Principal) -> Option<&Connection> {
        self.connections.values().find(|c| c.principal == principal && c.is_serving())
    }

    fn connection_of_mut(&mut self, principal: Principal) -> Option<&mut Connection> {
        self.connections.values_mut().find(|c| c.principal == principal && c.is_serving())
    }

    /// Who a connection belongs to, and what its client calls itself.
    pub fn who(&self, id: ConnectionId) -> Option<(Principal, &belay_wire::ClientInfo)> {
        self.connections.get(&id).map(|c| (c.principal, &c.client))
    }

    /// Messages that a connection lags behind.
    pub fn lag(&self, id: ConnectionId) -> u64 {
        let Some(connection) = self.connections.get(&id) else { return 0 };
        let lag = |r: &connection::Reader| {
            self.channels.get(&r.channel).map_or(0, |state| r.cursor.lag(&state.log))
        };
        connection.readers.iter().map(lag).max().unwrap_or(0)
    }

    fn host(&mut self) -> Option<&mut Connection> {
        self.connection_of_mut(Principal::Host)
    }

    /// The readers of a channel that are connected.
    fn readers_of(&self, channel: Channel) -> impl Iterator<Item = ConnectionId> + '_ {
        self.connections.values().filter(move |c| c.is_serving() && c.reads(channel)).map(|c| c.id)
    }

    fn channel(&mut self, channel: Channel, policy: &Policy) -> &mut ChannelState {
        let mut limits = limits_of(channel, policy);
        if self.record.compat.is_some() {
            limits.messages = policy.compat.outbound_queue;
            // Their clients start anew from a snapshot: nothing old is of use to them.
            limits.age = COMPAT_LOG_AGE;
            if limits.keep_unapplied {
                limits.bytes = limits.bytes.min(COMPAT_COMMANDS_BYTES);
            }
        }
        self.asks = true;
        self.channels.entry(channel).or_insert_with(|| ChannelState {
            log: Log::new(channel, limits),
            volatiles: Volatiles::default(),
        })
    }

    /// These commands will not reach the host: their member is told, now or when it comes back.
    fn commands_lost(&mut self, ch: Channel, overdue: Overdue, effects: &mut Effects) {
        effects.events.push(Event::CommandsExpired { count: overdue.messages });
        let Some(member) = ch.member() else { return };
        let connection = self.connection_of(Principal::Member(member)).map(|c| c.id);
        if self.record.compat.is_some() {
            return connection.into_iter().for_each(|id| self.tell_expired(id, effects));
        }
        let lost = lost(ch, overdue.from, overdue.to);
        let Some(device) = self.record.device_mut(member) else { return };
        device.lost.retain(|l| l.epoch != lost.epoch || l.to < lost.from);
        device.lost.push(lost.clone());
        let excess = device.lost.len().saturating_sub(LOST_MAX);
        device.lost.drain(..excess);
        // It may come back after a restart: it must hear of them then.
        effects.save = Some(match effects.save {
            Some(_) => self.record.clone(),
            None => self.next_version(),
        });
        if let Some(id) = connection {
            self.control(id, lost, effects);
        }
    }

    fn member_exists(&self, member: MemberId) -> bool {
        self.record.active_devices().any(|d| d.member == member)
    }
}

/// How long a message of the compat protocol waits for its reader.
const COMPAT_LOG_AGE: std::time::Duration = std::time::Duration::from_mins(1);
/// Commands of one of its phones that wait for the desktop.
const COMPAT_COMMANDS_BYTES: usize = 1 << 20;

fn limits_of(channel: Channel, policy: &Policy) -> LogLimits {
    let keep_unapplied = !channel.is_written_by_host();
    LogLimits {
        messages: policy.log_messages,
        bytes: policy.log_bytes,
        age: if keep_unapplied { policy.command_ttl } else { policy.log_age },
        keep_unapplied,
    }
}

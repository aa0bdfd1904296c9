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
mod seats;
mod stored;

use std::{collections::BTreeMap, time::Instant};

use belay_wire::{
    Channel, ConnectionId, MemberId, Position, SessionId,
    pair::{HostInfo, SessionCreated},
};

use crate::{
    Env, HostRecord, Lineage, PairingRecord, SessionRecord, TokenState, Unknown,
    delivery::{Log, LogLimits, Overdue, Volatiles, lost},
    env::{Policy, draw},
    ports::Seat,
    token::{Claims, Principal},
};

pub use attach::Attach;
pub use compat::{CompatJoin, CompatRefresh, CompatStart, Joined, desktop_hash, session_key};
pub use connection::{Connection, ControlFull};
pub use effect::{
    Effect, Effects, Event, Input, LogTold, PairAnswer, PairError, WaiterId, Waiting,
};
pub use pairing::LeaseKey;
pub use pull::{GapTold, OutFrame, Pulled};

/// A channel in use.
#[derive(Debug, Clone)]
pub(crate) struct ChannelState {
    pub(crate) log: Log,
    pub(crate) volatiles: Volatiles,
    /// When the other nodes are told once more where the log ends.
    tail_due: Option<Instant>,
}

/// Ranges of lost commands that are kept for one member.
const LOST_MAX: usize = 8;

/// A session in memory: its record and what is live.
#[derive(Debug, Clone)]
pub struct Session {
    record: SessionRecord,
    connections: BTreeMap<ConnectionId, Connection>,
    channels: BTreeMap<Channel, ChannelState>,
    /// HTTP calls that wait here for a step of a pair request.
    waiters: BTreeMap<WaiterId, Waiting>,
    /// Until when the pending pair request may stay as it is, by the clock of this node.
    pair_deadline: Option<(pairing::Step, Instant)>,
    /// Connections at other nodes.
    remote: Vec<Seat>,
    /// There may be other nodes.
    clustered: bool,
    /// When principals were seen last, as far as that is not stored, Unix milliseconds.
    seen: BTreeMap<Principal, u64>,
    /// What could not be stored, to be tried again.
    retries: Vec<Input>,
    /// Nothing can be stored before this.
    retry_at: Option<Instant>,
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
            lineage: Lineage::default(),
            pairing: PairingRecord::default(),
            unknown: Unknown::new(),
        };
        let mut session = Self::load(record);
        let (lease, made) = pairing::make_lease(env);
        session.record.lease = Some(lease);
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
        Self {
            record,
            connections: BTreeMap::new(),
            channels: BTreeMap::new(),
            waiters: BTreeMap::new(),
            pair_deadline: None,
            remote: Vec::new(),
            clustered: false,
            seen: BTreeMap::new(),
            retries: Vec::new(),
            retry_at: None,
            quiet_since: None,
            asks: false,
            degraded: false,
            compat: compat::Live::default(),
        }
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

    /// Tells whether a connection is there and not on its way out.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(Connection::is_serving)
    }

    /// Tells whether the logs that a connection reads and writes were read, so that nothing that it says is
    /// refused for want of them.
    pub fn are_logs_open(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        let own = |channel: &Channel| connection.reads(*channel) || connection.writes(*channel);
        self.channels.iter().all(|(channel, state)| !own(channel) || state.log.is_open())
    }

    /// Members with an open connection at this node.
    pub fn members_here(&self) -> Vec<MemberId> {
        let open = self.connections.values().filter(|c| c.is_serving());
        open.filter_map(Connection::member).collect()
    }

    /// Tells whether nothing waits to be stored in a channel.
    pub fn is_settled(&self, channel: Channel) -> bool {
        self.channels.get(&channel).is_none_or(|c| c.log.is_settled())
    }

    /// Tells whether nobody is connected and nothing waits, so that it can leave memory.
    pub fn is_idle(&self) -> bool {
        self.is_quiet() && !self.is_unsaved() && self.retries.is_empty()
    }

    /// Tells whether nobody is connected at any node, and nothing waits.
    pub fn is_unused(&self) -> bool {
        self.is_idle() && self.remote.is_empty()
    }

    /// Tells whether nothing here could be lost.
    fn is_quiet(&self) -> bool {
        self.connections.is_empty()
            && self.waiters.is_empty()
            && self.record.pairing.pending.is_none()
            && self.channels.values().all(|c| c.log.is_settled())
    }

    /// Applies one input.
    pub fn handle(&mut self, input: Input, env: &mut Env<'_>) -> Effects {
        let mut effects = Effects::default();
        let again = input.may_save().then(|| Box::new(input.clone()));
        self.apply(input, env, &mut effects);
        self.note_pairing(env);
        self.ask_logs(env, &mut effects);
        if effects.save.is_some() {
            debug_assert!(again.is_some(), "only some inputs may want something stored");
            effects.redo = again;
        }
        effects
    }

    fn apply(&mut self, input: Input, env: &mut Env<'_>, effects: &mut Effects) {
        match input {
            Input::Attach(attach) => self.attach(*attach, env, effects),
            Input::Admit(attach) => self.admit(*attach, env, effects),
            Input::Detach { connection } => self.detach(connection, env, effects),
            Input::Frame { connection, frame } => {
                self.handle_frame(connection, *frame, env, effects);
            }
            Input::Binary { connection, frame } => {
                self.handle_binary(connection, frame, env, effects);
            }
            Input::NewCode { waiter } => self.new_code(waiter, env, effects),
            Input::StartPair { waiter, start, address } => {
                self.start_pair(waiter, &start, address, env, effects);
            }
            Input::RevealPair { waiter, request, reveal } => {
                self.reveal_pair(waiter, request, &reveal, env, effects);
            }
            Input::Await { waiter, waiting } => self.wait_for(waiter, waiting, env, effects),
            Input::Abandoned { request } => self.abandoned(request, env, effects),
            Input::PairOverdue => self.pair_overdue(env, effects),
            Input::HostLeft => self.host_left(env, effects),
            Input::CompatJoin { waiter, join } => self.join(waiter, &join, env, effects),
            Input::CompatRefresh { waiter, refresh } => {
                self.refresh(waiter, *refresh, env, effects);
            }
            Input::CompatText { connection, text, commit } => {
                self.compat_text(connection, &text, commit, env, effects);
            }
            Input::CompatTell { connection, told } => self.tell(connection, *told, effects),
            Input::Supports { supports } => self.store_supports(supports, env, effects),
            Input::Committed { connection } => self.committed(connection),
            Input::Wrote { connection } => self.wrote(connection, effects),
            Input::End { reason } => self.end(reason, effects),
            Input::WaiterGone { waiter } => self.waiter_gone(waiter, effects),
            Input::Revoke { member } => self.revoke(member, env, effects),
            Input::Touch => self.touch_all(env),
            Input::Expel { member } => self.expel(member, effects),
            Input::RevokeDurable { member } => self.revoke_durable(member, effects),
            Input::Record(record) => self.take_record(*record, env, effects),
            Input::Heal(known) => self.heal(&known, env, effects),
            Input::Seats { seats } => self.take_seats(seats, env, effects),
            Input::Seated { connection, principal, generation } => {
                self.seated(connection, principal, generation, effects);
            }
            Input::GiveUp { principal, generation } => {
                effects.then.push(Effect::Leave { principal, generation });
            }
            Input::Bus(frame) => self.bus(frame, env, effects),
            Input::CommandsLost { channel, overdue } => {
                self.commands_lost(channel, overdue, env, effects);
            }
            Input::LostHeard { member, base } => self.lost_heard(member, base, env, effects),
            Input::TellHost(frame) => self.tell_host(*frame, effects),
            Input::Tell { connection, frame } => self.control(connection, *frame, effects),
            Input::Flush => self.flush(env, effects),
            Input::OpenLogs => self.open_logs(env),
            Input::Log { channel, told } => self.log_told(channel, told, env, effects),
            Input::LogWorks => self.log_works(),
            Input::LogAway => self.log_away(),
            Input::LogsDoubted => self.doubt_logs(),
            Input::Store { away } => self.tell_of_store(away, effects),
            Input::Tick => self.tick(env, effects),
        }
    }

    /// When [`Input::Tick`] is due next.
    pub fn next_deadline(&self, policy: &Policy) -> Option<Instant> {
        let logs = self.channels.values().filter_map(|c| c.log.deadline());
        let tails = self.channels.values().filter_map(|c| c.tail_due);
        let windows = self
            .connections
            .values()
            .filter_map(|c| c.window.full_since())
            .map(|since| since + policy.slow_consumer_after);
        let retry = self.retry_at.filter(|_| !self.retries.is_empty());
        let stored = self.pair_deadline.map(|(_, at)| at).into_iter().chain(self.flush_at());
        // While nothing can be stored, there is no use in trying.
        let stored = stored.map(|at| self.retry_at.map_or(at, |again| again.max(at)));
        logs.chain(tails).chain(windows).chain(retry).chain(stored).min()
    }

    /// When times that are not stored yet are to be.
    fn flush_at(&self) -> Option<Instant> {
        // Other nodes go by what is stored, also while somebody is connected here.
        self.quiet_since.filter(|_| self.is_unsaved() && (self.clustered || self.is_quiet()))
    }

    fn tick(&mut self, env: &mut Env<'_>, effects: &mut Effects) {
        let now = env.now.mono;
        self.retry(env, effects);
        for state in self.channels.values_mut() {
            state.log.tick(env.now);
        }
        self.asks = true;
        self.tell_tails(env, effects);
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
        if self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        if self.pair_deadline.is_some_and(|(_, at)| at <= now) {
            effects.then.push(Effect::Feed(Input::PairOverdue));
        } else if self.flush_at().is_some() {
            effects.then.push(Effect::Feed(Input::Flush));
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
            tail_due: None,
        })
    }

    /// These commands will not reach the host: their member is told, now or when it comes back, also after
    /// a restart.
    fn commands_lost(
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
    fn lost_heard(
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

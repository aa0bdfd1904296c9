//! One session: a host and the members that may talk with it.
//!
//! `handle(input, env) -> effects` is the only way to change it. Frames for a connection are not
//! effects: they wait in the session and are taken by [`Session::pull`] when the socket can be
//! written, so a slow socket holds a cursor, never a queue of messages.

mod attach;
mod call;
mod channel;
mod compat;
mod connection;
mod create;
mod delivery;
mod device;
mod effect;
mod event;
mod input;
mod logged;
mod lost;
mod pairing;
mod pull;
mod seats;
mod stored;
mod time;
mod view;

use std::{collections::BTreeMap, time::Instant};

use belay_wire::{Channel, ConnectionId, MemberId};

pub use attach::Attach;
pub use call::{PairAnswer, PairError, WaiterId, Waiting};
pub(crate) use channel::ChannelState;
pub use compat::{
    Allowance, CompatJoin, CompatRefresh, CompatStart, Joined, Spent, desktop_hash, session_key,
};
pub use connection::{Connection, ControlFull};
pub use effect::{Effect, Effects};
pub use event::Event;
pub use input::{Input, LogTold};
pub use pairing::LeaseKey;
pub use pull::{GapTold, OutFrame, Pulled};
pub use seats::OwnSeat;

use crate::{Env, SessionRecord, ports::Seat, token::Principal};

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
            Input::Spent { allowance, ahead } => self.spent(allowance, ahead, env),
            Input::Committed { connection } => self.committed(connection),
            Input::Wrote { connection } => self.wrote(connection, effects),
            Input::End { reason } => self.end(reason, effects),
            Input::WaiterGone { waiter } => self.waiter_gone(waiter, effects),
            Input::Revoke { member } => self.revoke(member, env, effects),
            Input::Touch => self.touch_all(env),
            Input::Expel { member } => self.expel(member, effects),
            Input::RevokeDurable { member } => self.revoke_durable(member, effects),
            Input::Record(record) => self.take_record(*record, env, effects),
            Input::Lost { version } => self.restore(version, env, effects),
            Input::Heal(known) => self.heal(&known, env, effects),
            Input::Seats { seats, here, own } => {
                self.compare_own(&seats, &here, &own, effects);
                self.take_seats(seats, env, effects);
            }
            Input::Unseated { connection } => self.unseated(connection),
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

    /// The open connection of a principal.
    fn connection_of(&self, principal: Principal) -> Option<&Connection> {
        self.connections.values().find(|c| c.principal == principal && c.is_serving())
    }

    fn connection_of_mut(&mut self, principal: Principal) -> Option<&mut Connection> {
        self.connections.values_mut().find(|c| c.principal == principal && c.is_serving())
    }

    fn host(&mut self) -> Option<&mut Connection> {
        self.connection_of_mut(Principal::Host)
    }

    /// The readers of a channel that are connected.
    fn readers_of(&self, channel: Channel) -> impl Iterator<Item = ConnectionId> + '_ {
        self.connections.values().filter(move |c| c.is_serving() && c.reads(channel)).map(|c| c.id)
    }

    fn member_exists(&self, member: MemberId) -> bool {
        self.record.active_devices().any(|d| d.member == member)
    }
}

//! Who is connected at other nodes, and what those nodes say. Nothing depends on its arrival: records come
//! from the store, messages from the logs.

use std::time::Duration;

use belay_wire::{Channel, CloseCode, ConnectionId, Frame, Positions, Stable};

use super::{Effect, Effects, Event, Input, LogTold, Session, connection::Connection};
use crate::{
    Env,
    delivery::Put,
    ports::{BusFrame, Seat},
    token::Principal,
};

/// A connection and the generation of its seat.
pub type OwnSeat = (ConnectionId, Option<u64>);

/// Quiet after an append until the other nodes are told once more where the log ends.
const TAIL_AFTER: Duration = Duration::from_millis(250);

impl Session {
    /// Tells whether a principal has an open connection, at whichever node.
    pub fn is_connected(&self, principal: Principal) -> bool {
        self.connection_of(principal).is_some() || self.is_elsewhere(principal)
    }

    /// Tells whether it is connected at another node.
    pub(super) fn is_elsewhere(&self, principal: Principal) -> bool {
        self.remote.iter().any(|seat| seat.principal == principal)
    }

    /// Tells whether a channel has readers at other nodes.
    pub(super) fn is_read_elsewhere(&self, channel: Channel) -> bool {
        match channel {
            Channel::Down => self.remote.iter().any(|s| s.principal != Principal::Host),
            Channel::DownTo(member) => self.is_elsewhere(Principal::Member(member)),
            Channel::Up(_) => self.is_elsewhere(Principal::Host),
        }
    }

    /// A connection was let in: it takes the seat of its principal.
    pub(super) fn sit(&self, id: ConnectionId, effects: &mut Effects) {
        let Some(connection) = self.connections.get(&id) else { return };
        let seat = Seat {
            principal: connection.principal,
            connection: id,
            node: String::new(),
            generation: 0,
            instance: connection.client.instance.clone(),
            attempt: connection.client.attempt,
        };
        effects.then.push(Effect::Sit { connection: id, seat: Box::new(seat) });
    }

    pub(super) fn seated(
        &mut self,
        id: ConnectionId,
        principal: Principal,
        generation: u64,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| c.is_serving()) else {
            // It went meanwhile.
            return effects.then.push(Effect::Leave { principal, generation: Some(generation) });
        };
        // Of two answers the later one may come first.
        let generation = connection.generation.map_or(generation, |own| own.max(generation));
        (connection.generation, connection.unseated) = (Some(generation), false);
        let seat = self.remote.iter().find(|seat| seat.principal == principal).cloned();
        if let Some(seat) = seat.filter(|seat| seat.generation > generation) {
            self.compare_seat(&seat, effects);
        }
    }

    /// Who sits at other nodes now.
    pub(super) fn take_seats(
        &mut self,
        mut seats: Vec<Seat>,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        self.clustered = true;
        seats.retain(|seat| match seat.principal {
            Principal::Host => true,
            // A device that was removed is not connected, however late its seat is given up.
            Principal::Member(member) => self.member_exists(member),
        });
        for seat in &seats {
            self.compare_seat(seat, effects);
        }
        if seats == self.remote {
            return;
        }
        let host = |seats: &[Seat]| {
            seats.iter().find(|s| s.principal == Principal::Host).map(|seat| seat.connection)
        };
        let (before, now) = (host(&self.remote), host(&seats));
        self.remote = seats;
        if before != now {
            if now.is_some() && self.record.compat.is_some() {
                self.rename_phones();
            }
            if now.is_none() {
                self.host_may_have_left(effects);
            }
        }
        if self.record.compat.is_some() {
            let seats = self.remote.clone();
            self.say_again(&seats, env, effects);
        }
        self.mark_devices(effects);
        self.mark_presence(effects);
    }

    /// The connections here that have taken their seats, with the generations of these, and those that could
    /// not.
    pub fn own_seats(&self) -> Vec<OwnSeat> {
        let serving = self.connections.values().filter(|c| c.is_serving());
        serving
            .filter(|c| c.unseated || c.generation.is_some())
            .map(|c| (c.id, c.generation))
            .collect()
    }

    /// Compares what connections here had taken with what is noted: one that has no seat takes it, again if the
    /// store lost it or a newer connection had it and went; one that nobody is here for is given up.
    pub(super) fn compare_own(
        &mut self,
        elsewhere: &[Seat],
        here: &[Seat],
        own: &[OwnSeat],
        effects: &mut Effects,
    ) {
        let taken = |principal: Principal| {
            here.iter().chain(elsewhere).any(|seat| seat.principal == principal)
        };
        let is_missing = |c: &&Connection| {
            c.is_serving() && own.contains(&(c.id, c.generation)) && !taken(c.principal)
        };
        let missing: Vec<_> = self.connections.values().filter(is_missing).map(|c| c.id).collect();
        for id in missing {
            self.sit(id, effects);
        }
        let is_ghost =
            |seat: &&Seat| self.connections.values().all(|c| c.principal != seat.principal);
        for seat in here.iter().filter(is_ghost) {
            let (principal, generation) = (seat.principal, Some(seat.generation));
            effects.then.push(Effect::Leave { principal, generation });
        }
    }

    pub(super) fn unseated(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.unseated = true;
        }
    }

    /// Of two connections of one principal the one with the later seat stays, or, of one life of a client,
    /// the later one of that life.
    fn compare_seat(&mut self, seat: &Seat, effects: &mut Effects) {
        let Some(own) = self.connection_of(seat.principal) else { return };
        let (id, same) = (own.id, own.client.instance == seat.instance);
        // Without a generation it has not sat down yet, and will be compared when it has.
        let Some(generation) = own.generation else { return };
        let gives_way = if same && own.client.attempt != seat.attempt {
            own.client.attempt < seat.attempt
        } else {
            generation < seat.generation
        };
        if gives_way {
            let code = if same { CloseCode::Moved } else { CloseCode::TakenOver };
            self.close(id, code, effects);
        } else {
            self.sit(id, effects);
        }
    }

    /// Another node says this.
    pub(super) fn bus(&mut self, frame: BusFrame, env: &mut Env<'_>, effects: &mut Effects) {
        match frame {
            // The node does what there is to do.
            BusFrame::Changed
            | BusFrame::Node { .. }
            | BusFrame::Drain { .. }
            | BusFrame::DrainCancelled { .. } => {}
            BusFrame::Ended { reason } => self.end(known_reason(&reason), effects),
            BusFrame::Tail { channel, tail } => {
                self.log_told(channel, LogTold::Hint(tail), env, effects);
            }
            BusFrame::Applied { positions } => self.applied_elsewhere(positions, effects),
            BusFrame::Volatile { channel, message } => {
                if self.channels.contains_key(&channel)
                    && self.channel(channel, env.policy).volatiles.put(message) == Put::Replaced
                {
                    effects.events.push(Event::VolatileReplaced);
                }
                effects.wake.extend(self.readers_of(channel));
            }
            BusFrame::ToHost { frame } => match (*frame, self.host().map(|host| host.id)) {
                (Frame::Snapshot(snapshot), Some(_)) => self.ask_snapshot(snapshot, effects),
                (frame, Some(host)) => self.control(host, frame, effects),
                (_, None) => {}
            },
        }
    }

    /// Readers at another node have applied this: a writer here may forget it.
    fn applied_elsewhere(&mut self, positions: Positions, effects: &mut Effects) {
        for (channel, position) in positions {
            if let (Channel::Up(_), Some(state)) = (channel, self.channels.get_mut(&channel))
                && !state.log.applied_elsewhere(position)
            {
                continue;
            }
            if let Some(writer) = self.writer_of(channel) {
                self.control(writer, Stable { pos: [(channel, position)].into() }, effects);
            }
        }
    }

    /// A reader here has applied this: its writer may be at another node.
    pub(super) fn tell_applied(&self, positions: &Positions, effects: &mut Effects) {
        let elsewhere = |channel: &Channel| {
            *channel != Channel::Down && self.is_elsewhere(super::logged::writing(*channel))
        };
        let positions: Positions =
            positions.iter().filter(|(ch, _)| elsewhere(ch)).map(|(c, p)| (*c, *p)).collect();
        if !positions.is_empty() {
            effects.then.push(Effect::Bus(BusFrame::Applied { positions }));
        }
    }

    /// Something was stored in a channel: if nothing follows soon, the other nodes are told where it ends.
    pub(super) fn owe_tail(&mut self, channel: Channel, env: &Env<'_>) {
        let due = self.is_read_elsewhere(channel).then(|| env.now.mono + TAIL_AFTER);
        if let Some(state) = self.channels.get_mut(&channel) {
            state.tail_due = due;
        }
    }

    /// Tells the other nodes where the logs end that have been quiet.
    pub(super) fn tell_tails(&mut self, env: &Env<'_>, effects: &mut Effects) {
        for (channel, state) in &mut self.channels {
            let due = state.tail_due.take_if(|at| *at <= env.now.mono);
            if let (Some(_), Some(tail)) = (due, state.log.tail()) {
                let channel = *channel;
                effects.then.push(Effect::Bus(BusFrame::Tail { channel, tail }));
            }
        }
    }

    /// A pair request waits for a host; if that is nowhere any more, it ends.
    pub(super) fn host_may_have_left(&self, effects: &mut Effects) {
        if !self.is_connected(Principal::Host) {
            effects.then.push(Effect::Feed(Input::HostLeft));
        }
    }
}

/// Reasons of another node as this one says them.
fn known_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 4] =
        ["stopped_by_desktop", "idle_timeout", "retention_expired", "session_ended"];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("session_ended")
}

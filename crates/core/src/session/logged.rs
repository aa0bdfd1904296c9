//! Between the channels of a session and the log that stores them.

use belay_wire::{Accepted, Channel, ConnectionId, Epoch, NackReason, Notice, Positions, Stable};

use super::{Effect, Effects, Event, Input, LogTold, Session, delivery::retry_of};
use crate::{
    Env,
    delivery::{Ask, Outcome, Refused},
    token::Principal,
};

impl Session {
    /// Touches every channel that this session may use, so that its log is read.
    pub(super) fn open_logs(&mut self, env: &Env<'_>) {
        let members: Vec<_> = self.record.active_devices().map(|d| d.member).collect();
        self.channel(Channel::Down, env.policy);
        for member in members {
            self.channel(Channel::DownTo(member), env.policy);
            self.channel(Channel::Up(member), env.policy);
        }
    }

    /// Takes what the logs ask for, and tells clients of trouble.
    pub(super) fn ask_logs(&mut self, env: &Env<'_>, effects: &mut Effects) {
        if !std::mem::take(&mut self.asks) {
            return;
        }
        for (channel, state) in &mut self.channels {
            while let Some(ask) = state.log.ask(env.now) {
                effects.log.push((*channel, ask));
            }
        }
        let degraded = self.channels.values().any(|state| state.log.is_in_trouble());
        if degraded != self.degraded {
            self.degraded = degraded;
            effects.events.push(Event::Degraded { degraded });
            let all: Vec<_> = self.connections.keys().copied().collect();
            for id in all {
                self.control(id, health(degraded), effects);
            }
        }
    }

    /// The channel is gone: so is its log.
    pub(super) fn forget_log(&mut self, channel: Channel, effects: &mut Effects) {
        if self.channels.remove(&channel).is_some() {
            effects.log.push((channel, Ask::Forget));
        }
    }

    /// Storing works again: what waits is tried at once.
    pub(super) fn log_works(&mut self) {
        self.asks = true;
        self.channels.values_mut().for_each(|state| state.log.works());
    }

    /// No log can be reached: clients hear of it before they write.
    pub(super) fn log_away(&mut self) {
        self.asks = true;
        self.channels.values_mut().for_each(|state| state.log.is_away());
    }

    /// All logs are compared with what is known of them.
    pub(super) fn doubt_logs(&mut self) {
        self.asks = true;
        self.channels.values_mut().for_each(|state| state.log.doubt());
    }

    /// Everything that is connected goes on without the store; what needs it waits.
    pub(super) fn tell_of_store(&mut self, away: bool, effects: &mut Effects) {
        let (code, text) = if away {
            (
                "store_away",
                "the relay cannot reach its store: what is connected goes on; new connections, \
                 pairing and removing devices wait",
            )
        } else {
            ("store_back", "the relay reaches its store again")
        };
        let all: Vec<_> = self.connections.keys().copied().collect();
        for id in all {
            self.control(id, Notice { code: code.to_owned(), text: text.to_owned() }, effects);
        }
    }

    /// Tells whether storing messages is in trouble.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    pub(super) fn log_told(
        &mut self,
        channel: Channel,
        told: LogTold,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(state) = self.channels.get_mut(&channel) else { return };
        self.asks = true;
        let appended = matches!(told, LogTold::Appended(Ok(_)));
        let outcome = match told {
            LogTold::Loaded(answer) => state.log.on_loaded(answer, env.now),
            LogTold::Appended(answer) => state.log.on_appended(&answer, env.now),
            LogTold::Stored { previous, tail, entry } => {
                state.log.on_stored(previous, tail, entry, env.now)
            }
            LogTold::Hint(tail) => {
                state.log.on_hint(tail);
                return;
            }
            LogTold::Tail(tail) => {
                state.log.on_tail(tail);
                return;
            }
            LogTold::Doubt => {
                state.log.doubt();
                return;
            }
        };
        if appended {
            self.owe_tail(channel, env);
        }
        self.log_moved(channel, outcome, env, effects);
    }

    /// The same for a log that is read before anybody uses the session: what it asks for is asked with
    /// the next input.
    pub fn log_read(&mut self, channel: Channel, told: LogTold, env: &mut Env<'_>) {
        self.log_told(channel, told, env, &mut Effects::default());
    }

    fn log_moved(
        &mut self,
        ch: Channel,
        outcome: Outcome,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let moved = outcome.changed || outcome.reset || !outcome.stored.is_empty();
        let stored = outcome.stored.into_iter();
        if !outcome.opened {
            effects.events.extend(stored.map(|bytes| Event::MessageStored { bytes }));
        }
        if outcome.went_back {
            effects.events.push(Event::LogWentBack);
        }
        if outcome.broken {
            effects.events.push(Event::LogBroken);
        }
        if outcome.reset {
            let readers = self.connections.values_mut().flat_map(|c| &mut c.readers);
            readers.filter(|r| r.channel == ch).for_each(|r| r.cursor.reset());
        }
        if moved && !ch.is_written_by_host() {
            // A log that was lost may get again what its host applied long ago: it is not sent that once
            // more, so no acknowledgement follows.
            let reader = |host: &mut super::Connection| {
                host.readers.iter().find(|r| r.channel == ch).and_then(|r| r.applied)
            };
            if let Some(at) = self.host().and_then(reader) {
                self.take_as_applied(&[(ch, at)], effects);
            }
        }
        if moved {
            effects.wake.extend(self.readers_of(ch));
        }
        let writer = self.writer_of(ch);
        if outcome.opened
            && let Some(writer) = writer
        {
            self.log_opened(writer, ch, env, effects);
        }
        for overdue in outcome.lost {
            effects.events.push(Event::CommandsExpired { count: overdue.messages });
            effects.then.push(Effect::Feed(Input::CommandsLost { channel: ch, overdue }));
        }
        let Some(writer) = writer else { return };
        if let Some(applied) = outcome.applied {
            self.control(writer, Stable { pos: Positions::from([(ch, applied)]) }, effects);
        }
        let has_head = |state: &super::ChannelState| state.log.ring().head().is_some();
        if moved && self.channels.get(&ch).is_some_and(has_head) {
            self.owe_ack(writer, ch, env, effects);
        }
        let nack = outcome.nack.or_else(|| self.closed_by_another(writer, ch));
        if let Some((epoch, refused)) = nack {
            self.nack(writer, ch, epoch, refused, retry_of(refused.reason), effects);
        }
    }

    /// A former life of the writer, or a copy of it, may announce an epoch late and close the one that is
    /// written here: who has nothing to send would never hear of it.
    fn closed_by_another(&self, writer: ConnectionId, ch: Channel) -> Option<(Epoch, Refused)> {
        let connection = self.connections.get(&writer)?;
        let epoch = *connection.writing.get(&ch)?;
        let log = &self.channels.get(&ch)?.log;
        let head = log.projected().filter(|head| head.epoch != epoch)?;
        let was_told = connection.nacked.get(&ch).is_some_and(|(told, _)| *told == epoch);
        let refused = Refused { reason: NackReason::EpochClosed, expect: head.seq.next() };
        (!was_told).then_some((epoch, refused))
    }

    /// The connection that writes a channel now.
    pub(super) fn writer_of(&self, ch: Channel) -> Option<ConnectionId> {
        self.connection_of(writing(ch)).map(|c| c.id)
    }

    /// A log that could not be read when its writer came can be read now.
    fn log_opened(
        &mut self,
        writer: ConnectionId,
        ch: Channel,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get_mut(&writer) else { return };
        let Some(base) = connection.bases.remove(&ch) else { return };
        let principal = connection.principal;
        let Some(accepted) = self.channel(ch, env.policy).log.announce(base, env.now) else {
            return;
        };
        if accepted.epoch == base.epoch
            && let Some(connection) = self.connections.get_mut(&writer)
        {
            connection.writing.insert(ch, base.epoch);
        }
        self.control(writer, Accepted { pos: Positions::from([(ch, accepted)]) }, effects);
        self.tell_lost(writer, principal, &Positions::from([(ch, base)]), effects);
    }
}

/// Who writes a channel.
pub(super) fn writing(ch: Channel) -> Principal {
    match ch {
        Channel::Down | Channel::DownTo(_) => Principal::Host,
        Channel::Up(member) => Principal::Member(member),
    }
}

pub(super) fn health(degraded: bool) -> Notice {
    let (code, text) = if degraded {
        ("degraded", "the relay cannot store messages now; they wait where they were written")
    } else {
        ("recovered", "the relay stores messages again")
    };
    Notice { code: code.to_owned(), text: text.to_owned() }
}

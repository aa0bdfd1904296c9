//! Text frames of desktops and phones.

use belay_wire::{
    Channel, CloseCode, ConnectionId, Epoch, MemberId, Msg, Position, RawJson, Seq,
    compat::{Checked, Command, FromDesktop, FromPhone, Kind, Refusal, Told, supports_requests},
};

use super::{
    super::{Effect, Effects, Event, Input, Session},
    Allowance, Link,
};
use crate::{
    Env,
    delivery::{Accepted, Record},
    env::draw,
    token::Principal,
};

/// Ids of commands that one connection remembers.
const IDS_MAX: usize = 256;

impl Session {
    pub(in super::super) fn compat_text(
        &mut self,
        id: ConnectionId,
        text: &str,
        commit: bool,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get(&id).filter(|c| c.is_serving()) else { return };
        match connection.principal {
            Principal::Host => self.desktop_text(id, text, env, effects),
            Principal::Member(member) => {
                if commit && self.commit_offer(id, env, effects) {
                    let (connection, text) = (id, text.to_owned());
                    let later = Input::CompatText { connection, text, commit: false };
                    let first = Input::Committed { connection };
                    return effects.then.extend([first, later].map(Effect::Feed));
                }
                self.phone_text(id, member, text, env, effects);
            }
        }
    }

    fn desktop_text(
        &mut self,
        id: ConnectionId,
        text: &str,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let own = |named: &Option<String>, session: &str| {
            named.as_deref().is_none_or(|named| named == session)
        };
        let session = self.compat_id();
        match FromDesktop::parse(text) {
            FromDesktop::Malformed => {
                effects.events.push(Event::FrameRefused { error: "invalid_json" });
                self.close(id, CloseCode::ProtocolError, effects);
            }
            FromDesktop::Auth => {
                effects.events.push(Event::FrameRefused { error: "second_auth" });
            }
            FromDesktop::PairDecision { session_id, request_id, approved } => {
                if !own(&session_id, &session) || request_id.is_empty() {
                    effects.events.push(Event::FrameRefused { error: "invalid_session" });
                    return;
                }
                self.join_decided(&request_id, approved, env, effects);
                let told = Told::PairResult { session_id: session, request_id, approved };
                let told = Input::CompatTell { connection: id, told: Box::new(told) };
                effects.then.push(Effect::Feed(told));
            }
            FromDesktop::Forward { session_id, .. } if !own(&session_id, &session) => {
                effects.events.push(Event::FrameRefused { error: "invalid_session" });
            }
            FromDesktop::Forward { envelope, .. } => {
                if let Some(supports) = supports_requests(&envelope) {
                    self.compat.supports = Some(supports);
                    if self.clustered {
                        effects.then.push(Effect::Feed(Input::Supports { supports }));
                    }
                }
                let is_read = self.readers_of(Channel::Down).next().is_some();
                if is_read || self.is_read_elsewhere(Channel::Down) {
                    self.relay_append(id, Channel::Down, envelope, env);
                } else {
                    self.say_to_nobody(id, envelope, env, effects);
                }
            }
        }
    }

    fn phone_text(
        &mut self,
        id: ConnectionId,
        member: MemberId,
        text: &str,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let session = self.compat_id();
        let frame = FromPhone::parse(text, &session, env.policy.compat.command_text_bytes);
        let judged = self.judge_phone(id, member, &frame, &session, env).and_then(|()| {
            let name = self.name_to_desktop(id, env);
            frame
                .stamped(&name.to_string(), &member.to_string())
                .ok_or_else(|| refusal("invalid_payload", "Expected one JSON object."))
        });
        self.tell_budgets(env, effects);
        let passed = judged.and_then(|envelope| {
            if self.relay_append(id, Channel::Up(member), envelope, env) {
                return Ok(());
            }
            Err(refusal("command_rate_limited", "The desktop does not keep up. Try again shortly."))
        });
        match passed {
            Ok(()) => self.remember(id, &frame),
            Err(Refusal { error, message }) => {
                effects.events.push(Event::FrameRefused { error });
                let (command_id, seq) = (frame.command_id, frame.seq);
                let link = self.connections.get_mut(&id).and_then(|c| c.compat.as_mut());
                if let Some(link) = link.filter(|link| seq > Some(link.last_seq)) {
                    link.renames = true;
                }
                self.tell(id, Told::Error { error, message, command_id, seq }, effects);
            }
        }
    }

    /// In the order that clients know: session, desktop, form, sequence, budgets, what is asked.
    fn judge_phone(
        &mut self,
        id: ConnectionId,
        member: MemberId,
        frame: &FromPhone,
        session: &str,
        env: &Env<'_>,
    ) -> Result<(), Refusal> {
        if frame.session_id.as_deref().is_some_and(|named| named != session) {
            return Err(refusal("invalid_session", "sessionID is another session's."));
        }
        if frame.kind != Kind::Other && !self.is_connected(Principal::Host) {
            let why = "Mac is offline. Reconnect desktop and try again.";
            return Err(refusal("desktop_offline", why));
        }
        match frame.checked.as_ref().map_err(Clone::clone)? {
            Checked::Snapshot => {
                self.compat.budgets.take(Allowance::Snapshots(member), env).map_err(|_| {
                    refusal(
                        "snapshot_rate_limited",
                        "Too many snapshot requests. Try again shortly.",
                    )
                })
            }
            Checked::Command(command) => {
                self.judge_sequence(id, command)?;
                self.take_command(member, env)?;
                command.asks.clone()
            }
        }
    }

    fn judge_sequence(&self, id: ConnectionId, command: &Command) -> Result<(), Refusal> {
        let link = self.connections.get(&id).and_then(|c| c.compat.as_ref());
        let Some(link) = link else { return Ok(()) };
        if command.seq <= link.last_seq {
            let why = "Command sequence was replayed or out of order.";
            return Err(refusal("replayed_command", why));
        }
        if command.id.as_ref().is_some_and(|id| link.ids.contains(id)) {
            return Err(refusal("replayed_command", "This commandID was sent before."));
        }
        Ok(())
    }

    fn take_command(&mut self, member: MemberId, env: &Env<'_>) -> Result<(), Refusal> {
        let budgets = &mut self.compat.budgets;
        budgets.take(Allowance::Commands(member), env).map_err(|_| {
            let why = "Too many commands from this device. Try again shortly.";
            refusal("command_rate_limited", why)
        })?;
        budgets.take(Allowance::Session, env).map_err(|_| {
            let why = "Too many commands in this session. Try again shortly.";
            refusal("command_rate_limited", why)
        })
    }

    /// The desktop did not take a command in its time.
    pub(in super::super) fn tell_expired(&mut self, id: ConnectionId, effects: &mut Effects) {
        let told = Told::Error {
            error: "desktop_offline",
            message: "The desktop did not take a command in time. Send it again.".to_owned(),
            command_id: None,
            seq: None,
        };
        self.tell(id, told, effects);
    }

    /// The name under which a phone's frame goes to the desktop.
    fn name_to_desktop(&mut self, id: ConnectionId, env: &mut Env<'_>) -> ConnectionId {
        let link = self.connections.get_mut(&id).and_then(|c| c.compat.as_mut());
        let Some(link) = link else { return id };
        if std::mem::take(&mut link.renames) {
            link.name = Some(ConnectionId::from_bytes(draw(env.entropy)));
        }
        link.name.unwrap_or(id)
    }

    /// What was on its way to a desktop that went may be lost: its phones get new names.
    pub(in super::super) fn rename_phones(&mut self) {
        let links = self.connections.values_mut().filter_map(|c| c.compat.as_mut());
        // One that has passed nothing on keeps its first name.
        links.filter(|link| link.last_seq > 0).for_each(|link| link.renames = true);
    }

    /// A command that was passed on takes its number and its id.
    fn remember(&mut self, id: ConnectionId, frame: &FromPhone) {
        let Ok(Checked::Command(command)) = &frame.checked else { return };
        let link = self.connections.get_mut(&id).and_then(|c| c.compat.as_mut());
        let Some(Link { last_seq, ids, .. }) = link else { return };
        *last_seq = command.seq;
        ids.extend(command.id.clone());
        if ids.len() > IDS_MAX {
            ids.pop_front();
        }
    }

    /// Appends a message under the next number; `false` if the log is full.
    pub(super) fn relay_append(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        envelope: RawJson,
        env: &mut Env<'_>,
    ) -> bool {
        let fresh = Epoch(u64::from_le_bytes(draw(env.entropy)));
        let log = &self.channel(ch, env.policy).log;
        let head = log.projected().unwrap_or(Position::new(fresh, Seq::ZERO));
        let position = Position::new(head.epoch, head.seq.next());
        match log.judge(position, Some(envelope.text().as_bytes())) {
            Ok(Accepted::Next) => {}
            Ok(Accepted::Stored | Accepted::Queued) | Err(_) => return false,
        }
        let (epoch, seq, at) = (position.epoch, position.seq, env.now.unix_ms);
        let from = Some(self.from(id));
        let msg = Msg {
            ch,
            epoch,
            seq,
            flags: None,
            key: None,
            was: Vec::new(),
            at: Some(at),
            from,
            p: envelope,
        };
        self.channel(ch, env.policy).log.enqueue(Record::message(&msg, at));
        true
    }
}

fn refusal(error: &'static str, message: &str) -> Refusal {
    Refusal { error, message: message.to_owned() }
}

//! Frames of a connection: messages to append, acknowledgements, and everything else.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use belay_wire::{
    Ack, Channel, CloseCode, ConnectionId, Epoch, Frame, Msg, Nack, NackReason, Pong, Position,
    Positions, REASON_BYTES_MAX, Seq, Skip, Snapshot, Stable, Void,
    binary::{BinaryFrame, BinaryKind, MsgHeader, VolHeader},
};

use super::{Effect, Effects, Event, Session, connection::ControlFull};
use crate::{
    Capability, Env,
    delivery::{Accepted, Put, Record, Refused, Volatile},
    env::millis,
    ports::BusFrame,
    token::Principal,
};

/// A writer that met a full or absent log tries again after so long.
const RETRY_MS: u64 = 1_000;

impl Session {
    pub(super) fn handle_frame(
        &mut self,
        id: ConnectionId,
        frame: Frame,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| c.is_serving()) else {
            return;
        };
        if let Some(replaced) = connection.replaces.take() {
            self.close(replaced, CloseCode::Moved, effects);
        }
        let Some(principal) = self.connections.get(&id).map(|c| c.principal) else { return };
        let may = |capability| principal.may(capability);
        match frame {
            Frame::Msg(msg) => self.handle_msg(id, msg, env, effects),
            Frame::Vol(vol) => {
                let (ch, size) = (vol.ch, vol.p.text().len());
                self.handle_vol(id, ch, vol.into(), size, env, effects);
            }
            Frame::Ack(ack) => self.handle_ack(id, &ack.pos, effects),
            Frame::Void(void) => self.handle_void(id, void, env, effects),
            Frame::Skip(skip) => self.handle_skip(id, &skip, env, effects),
            Frame::EpochFrame(epoch) => {
                let base = Position::new(epoch.new, epoch.base);
                self.handle_epoch(id, epoch.ch, base, env, effects);
            }
            Frame::Open(open) => self.handle_open(id, &open, effects),
            Frame::Ping(ping) => self.control(id, Pong { n: ping.n, t: ping.t }, effects),
            Frame::Pong(_) => {}
            Frame::TokenConfirm(confirm) => self.confirm_token(id, &confirm.token, env, effects),
            Frame::Snapshot(snapshot) if may(Capability::SessionWatch) => {
                self.handle_snapshot(id, snapshot, effects);
            }
            Frame::PairNonce(nonce) if may(Capability::SessionPair) => {
                self.pair_nonce(&nonce, env, effects);
            }
            Frame::PairDecision(decision) if may(Capability::SessionPair) => {
                self.pair_decision(&decision, env, effects);
            }
            Frame::DeviceList(_) if may(Capability::SessionDevices) => self.mark_devices(effects),
            Frame::DeviceRevoke(revoke) if may(Capability::SessionDevices) => {
                self.revoke(revoke.member, env, effects);
            }
            other => {
                self.protocol_error(id, &format!("{} is not yours to send", other.kind()), effects);
            }
        }
    }

    /// Closes a connection that broke the protocol.
    pub fn protocol_error(&mut self, id: ConnectionId, cause: &str, effects: &mut Effects) {
        effects.events.push(Event::ProtocolError { cause: cause.to_owned() });
        self.close(id, CloseCode::ProtocolError, effects);
    }

    pub(super) fn control(
        &mut self,
        id: ConnectionId,
        frame: impl Into<Frame>,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.send(frame) {
            Ok(()) => effects.wake.push(id),
            Err(ControlFull) => self.close(id, CloseCode::SlowConsumer, effects),
        }
    }

    fn handle_msg(&mut self, id: ConnectionId, mut msg: Msg, env: &Env<'_>, effects: &mut Effects) {
        if is_too_long(msg.key.as_deref()) {
            return self.protocol_error(id, "key of a message is too long", effects);
        }
        if msg.was.len() > belay_wire::FORMER_NAMES_MAX {
            return self.protocol_error(id, "a message with too many former names", effects);
        }
        let position = Position::new(msg.epoch, msg.seq);
        let Some(verdict) =
            self.judge_message(id, msg.ch, position, Some(msg.p.text().as_bytes()), env, effects)
        else {
            return;
        };
        match verdict {
            Accepted::Stored => self.owe_ack(id, msg.ch, env, effects),
            Accepted::Queued => {}
            Accepted::Next => {
                msg.at = Some(env.now.unix_ms);
                msg.from = Some(self.from(id));
                let state = self.channel(msg.ch, env.policy);
                if let Some(key) = &msg.key {
                    state.volatiles.outdate(key, position);
                }
                state.log.enqueue(Record::message(&msg, env.now.unix_ms));
            }
        }
    }

    pub(super) fn handle_binary(
        &mut self,
        id: ConnectionId,
        frame: BinaryFrame,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get(&id).filter(|c| c.is_serving()) else { return };
        let Some((ch, epoch)) = connection.opened.get(&frame.channel).copied() else {
            return self.protocol_error(
                id,
                "binary frame of a channel that was not opened",
                effects,
            );
        };
        if frame.kind == BinaryKind::Vol {
            let Some(header) = frame.header.as_deref().and_then(VolHeader::decode) else {
                return self.protocol_error(
                    id,
                    "binary volatile message without `after` and `key`",
                    effects,
                );
            };
            let size = frame.payload.len();
            let message = Volatile::binary(epoch, frame.seq.value(), header, frame.payload);
            return self.handle_vol(id, ch, message, size, env, effects);
        }
        let header = frame.header.as_deref().map_or(Some(MsgHeader::default()), MsgHeader::decode);
        let Some(mut header) = header else {
            return self.protocol_error(id, "header of a binary message is not one", effects);
        };
        if is_too_long(header.key.as_deref()) {
            return self.protocol_error(id, "key of a message is too long", effects);
        }
        if header.was.len() > belay_wire::FORMER_NAMES_MAX {
            return self.protocol_error(id, "a message with too many former names", effects);
        }
        let position = Position::new(epoch, frame.seq);
        let Some(verdict) =
            self.judge_message(id, ch, position, Some(&frame.payload), env, effects)
        else {
            return;
        };
        match verdict {
            Accepted::Stored => self.owe_ack(id, ch, env, effects),
            Accepted::Queued => {}
            Accepted::Next => {
                header.at = Some(env.now.unix_ms);
                header.from = Some(self.from(id));
                let state = self.channel(ch, env.policy);
                if let Some(key) = &header.key {
                    state.volatiles.outdate(key, position);
                }
                let (header, at) = (header.encode(), env.now.unix_ms);
                state.log.enqueue(Record::binary(position, header, frame.payload, at));
            }
        }
    }

    pub(super) fn from(&self, id: ConnectionId) -> belay_wire::From {
        let member = self.connections.get(&id).and_then(super::Connection::member);
        belay_wire::From { member, connection: id }
    }

    /// Permission, rate, size and place of a message. `None`: it was refused or is ignored.
    fn judge_message(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        position: Position,
        payload: Option<&[u8]>,
        env: &Env<'_>,
        effects: &mut Effects,
    ) -> Option<Accepted> {
        let connection = self.connections.get_mut(&id)?;
        if let Some((epoch, expect)) = connection.nacked.get(&ch).copied() {
            if epoch == position.epoch && position.seq > expect {
                return None;
            }
            connection.nacked.remove(&ch);
        }
        let writes = connection.writes(ch);
        let refusal = if !writes {
            Some((NackReason::NotAllowed, None))
        } else if payload.is_some_and(|p| p.len() > connection.message_bytes_max()) {
            Some((NackReason::TooLarge, None))
        } else {
            let taken = connection.rate.take(env.now.mono);
            taken.err().map(|wait| (NackReason::RateLimited, Some(millis(wait).max(1))))
        };
        if writes && !self.channel_may_exist(ch) {
            self.take_for_nobody(id, ch, position, effects);
            return None;
        }
        let verdict = if let Some((reason, retry)) = refusal {
            Err((Refused { reason, expect: position.seq }, retry))
        } else {
            let log = &mut self.channel(ch, env.policy).log;
            let judged = log.judge(position, payload);
            if judged.is_err_and(|refused| refused.reason == NackReason::Full) {
                // The host may have applied some of it at another node.
                log.doubt();
            }
            judged.map_err(|refused| (refused, retry_of(refused.reason)))
        };
        match verdict {
            Ok(accepted) => Some(accepted),
            Err((refused, retry_ms)) => {
                self.nack(id, ch, position.epoch, refused, retry_ms, effects);
                None
            }
        }
    }

    /// A host may not know yet that a member is gone: what it writes there counts as done.
    fn take_for_nobody(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        position: Position,
        effects: &mut Effects,
    ) {
        self.control(id, Ack { pos: Positions::from([(ch, position)]) }, effects);
    }

    pub(super) fn nack(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        epoch: Epoch,
        refused: Refused,
        retry_ms: Option<u64>,
        effects: &mut Effects,
    ) {
        effects.events.push(Event::MessageRefused { reason: refused.reason });
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.nacked.insert(ch, (epoch, refused.expect));
        }
        let (expect, reason) = (Some(refused.expect), refused.reason);
        self.control(id, Nack { ch, epoch: Some(epoch), expect, reason, retry_ms }, effects);
    }

    pub(super) fn owe_ack(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.owe_ack(ch, env.now.mono);
            effects.wake.push(id);
        }
    }

    fn handle_vol(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        message: Volatile,
        size: usize,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.writes(ch) || size > connection.message_bytes_max() {
            return self.protocol_error(id, "volatile message not allowed here", effects);
        }
        // A phone has no stream to send; what floods gives way to its own newest.
        if !connection.is_host() && connection.rate.take(env.now.mono).is_err() {
            return effects.events.push(Event::VolatileReplaced);
        }
        if is_too_long(Some(&message.key)) {
            return self.protocol_error(id, "key of a volatile message is too long", effects);
        }
        if !self.channel_may_exist(ch) {
            return;
        }
        let elsewhere = self.is_read_elsewhere(ch).then(|| message.clone());
        match self.channel(ch, env.policy).volatiles.put(message) {
            Put::Kept => {}
            Put::Replaced => effects.events.push(Event::VolatileReplaced),
            Put::Outdated => return,
        }
        if let Some(message) = elsewhere {
            effects.then.push(Effect::Bus(BusFrame::Volatile { channel: ch, message }));
        }
        effects.wake.extend(self.readers_of(ch));
    }

    fn handle_ack(&mut self, id: ConnectionId, positions: &Positions, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let clamped = connection.window.acknowledge(positions);
        effects.wake.push(id);
        let is_ahead = |r: &&super::connection::Reader| {
            positions.get(&r.channel).is_some_and(|position| r.cursor.is_passed_by(*position))
        };
        if connection.readers.iter().any(|r| is_ahead(&r)) {
            effects.events.push(Event::PositionAhead { what: "ack" });
        }
        for (channel, position) in &clamped {
            if let Some(reader) = connection.readers.iter_mut().find(|r| r.channel == *channel) {
                reader.applied = Some(*position);
            }
        }
        for (channel, position) in clamped {
            let writer = match channel {
                Channel::Down => continue,
                Channel::DownTo(_) => Principal::Host,
                Channel::Up(member) => Principal::Member(member),
            };
            if let (Channel::Up(_), Some(state)) = (channel, self.channels.get_mut(&channel)) {
                state.log.applied(position);
                self.asks = true;
            }
            let pos = Positions::from([(channel, position)]);
            if let Some(writer) = self.connection_of(writer).map(|c| c.id) {
                self.control(writer, Stable { pos }, effects);
            } else {
                self.tell_applied(&pos, effects);
            }
        }
    }

    fn handle_void(&mut self, id: ConnectionId, void: Void, env: &Env<'_>, effects: &mut Effects) {
        if void.reason.len() > REASON_BYTES_MAX {
            return self.protocol_error(id, "reason of a void is too long", effects);
        }
        let (ch, position) = (void.ch, Position::new(void.epoch, void.seq));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.nacked.remove(&ch);
        }
        let Some(verdict) = self.judge_message(id, ch, position, None, env, effects) else {
            return;
        };
        match verdict {
            Accepted::Stored => self.owe_ack(id, ch, env, effects),
            Accepted::Queued => {}
            Accepted::Next => {
                let record = Record::void(void, env.now.unix_ms);
                self.channel(ch, env.policy).log.enqueue(record);
            }
        }
    }

    /// Permission, rate and room for a record that is no message. `false`: it was refused.
    fn may_note(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        position: Position,
        env: &Env<'_>,
        effects: &mut Effects,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        connection.nacked.remove(&ch);
        if !connection.writes(ch) {
            self.protocol_error(id, "a record of a channel that is not yours", effects);
            return false;
        }
        let taken = connection.rate.take(env.now.mono);
        if !self.channel_may_exist(ch) {
            self.take_for_nobody(id, ch, position, effects);
            return false;
        }
        let log = &self.channel(ch, env.policy).log;
        let refusal = match taken {
            Err(wait) => Some((NackReason::RateLimited, millis(wait).max(1))),
            Ok(()) if !log.is_open() => Some((NackReason::LogUnavailable, RETRY_MS)),
            Ok(()) if log.is_full() => Some((NackReason::Full, RETRY_MS)),
            Ok(()) if log.is_busy(0) => Some((NackReason::Busy, RETRY_MS)),
            Ok(()) => None,
        };
        let Some((reason, retry)) = refusal else { return true };
        let refused = Refused { reason, expect: position.seq };
        self.nack(id, ch, position.epoch, refused, Some(retry), effects);
        false
    }

    fn handle_skip(&mut self, id: ConnectionId, skip: &Skip, env: &Env<'_>, effects: &mut Effects) {
        if skip.reason.len() > REASON_BYTES_MAX {
            return self.protocol_error(id, "reason of a skip is too long", effects);
        }
        if !self.may_note(id, skip.ch, Position::new(skip.epoch, skip.to), env, effects) {
            return;
        }
        let log = &mut self.channel(skip.ch, env.policy).log;
        log.skip(Position::new(skip.epoch, skip.to), &skip.reason, env.now.unix_ms);
        if log.is_settled() {
            self.owe_ack(id, skip.ch, env, effects);
        }
    }

    fn handle_epoch(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        base: Position,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        if base.seq == Seq::ZERO {
            return self.protocol_error(id, "base of an epoch is 0", effects);
        }
        if !self.may_note(id, ch, base, env, effects) {
            return;
        }
        let named = Position { fresh: true, ..base };
        let log = &mut self.channel(ch, env.policy).log;
        // `may_note` saw that it is open.
        let Some(head) = log.announce(named, env.now) else { return };
        let is_settled = log.is_settled();
        if head.epoch != base.epoch {
            let refused = Refused { reason: NackReason::EpochClosed, expect: head.seq.next() };
            return self.nack(id, ch, base.epoch, refused, None, effects);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.writing.insert(ch, base.epoch);
        }
        if is_settled {
            self.owe_ack(id, ch, env, effects);
        }
    }

    /// Tells whether a channel's member, if it has one, is paired.
    pub(super) fn channel_may_exist(&self, ch: Channel) -> bool {
        ch.member().is_none_or(|m| self.member_exists(m))
    }

    fn handle_open(&mut self, id: ConnectionId, open: &belay_wire::Open, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let full = connection.opened.len() >= belay_wire::BINARY_CHANNELS_MAX;
        if !connection.writes(open.ch) || (full && !connection.opened.contains_key(&open.id)) {
            return self.protocol_error(id, "open of a channel that is not yours", effects);
        }
        connection.opened.insert(open.id, (open.ch, open.epoch));
    }

    fn handle_snapshot(&mut self, id: ConnectionId, mut snapshot: Snapshot, effects: &mut Effects) {
        if snapshot.id.len().max(snapshot.reason.len()) > REASON_BYTES_MAX {
            return self.protocol_error(id, "id or reason of a snapshot is too long", effects);
        }
        snapshot.from = self.connections.get(&id).and_then(super::Connection::member);
        if self.host().is_some() {
            self.ask_snapshot(snapshot, effects);
        } else if self.is_elsewhere(Principal::Host) {
            self.tell_host(snapshot.into(), effects);
        } else {
            let (ch, reason) = (Channel::Down, NackReason::HostOffline);
            let nack = Nack { ch, epoch: None, expect: None, reason, retry_ms: None };
            self.control(id, nack, effects);
        }
    }

    /// Asks a host here.
    pub(super) fn ask_snapshot(&mut self, snapshot: Snapshot, effects: &mut Effects) {
        if let Some(host) = self.host() {
            // One request per member: the newest stands for those that wait.
            host.control.retain(|f| !matches!(f, Frame::Snapshot(s) if s.from == snapshot.from));
            let host = host.id;
            self.control(host, snapshot, effects);
        }
    }
}

fn is_too_long(key: Option<&str>) -> bool {
    key.is_some_and(|key| key.len() > belay_wire::KEY_BYTES_MAX)
}

pub(super) fn retry_of(reason: NackReason) -> Option<u64> {
    let waits = matches!(reason, NackReason::Full | NackReason::Busy | NackReason::LogUnavailable);
    waits.then_some(RETRY_MS)
}

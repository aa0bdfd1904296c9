//! Messages, as text and as bytes.

use belay_wire::{
    Ack, Channel, ConnectionId, FORMER_NAMES_MAX, Msg, NackReason, Position, Positions,
    binary::{BinaryFrame, BinaryKind, MsgHeader, VolHeader},
};

use super::{
    super::{Effects, Session, connection::Connection},
    is_too_long, retry_of,
};
use crate::{
    Env,
    delivery::{Accepted, Record, Refused, Volatile},
    env::millis,
};

impl Session {
    pub(super) fn handle_msg(
        &mut self,
        id: ConnectionId,
        mut msg: Msg,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        if is_too_long(msg.key.as_deref()) {
            return self.protocol_error(id, "key of a message is too long", effects);
        }
        if msg.was.len() > FORMER_NAMES_MAX {
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

    pub(in super::super) fn handle_binary(
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
        if header.was.len() > FORMER_NAMES_MAX {
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

    pub(in super::super) fn from(&self, id: ConnectionId) -> belay_wire::From {
        let member = self.connections.get(&id).and_then(Connection::member);
        belay_wire::From { member, connection: id }
    }

    /// Permission, rate, size and place of a message. `None`: it was refused or is ignored.
    pub(super) fn judge_message(
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
    pub(super) fn take_for_nobody(
        &mut self,
        id: ConnectionId,
        ch: Channel,
        position: Position,
        effects: &mut Effects,
    ) {
        self.control(id, Ack { pos: Positions::from([(ch, position)]) }, effects);
    }
}

//! Records that are no messages: voids, skips, epochs.

use belay_wire::{Channel, ConnectionId, NackReason, Position, REASON_BYTES_MAX, Seq, Skip, Void};

use super::{
    super::{Effects, Session},
    RETRY_MS,
};
use crate::{
    Env,
    delivery::{Accepted, Record, Refused},
    env::millis,
};

impl Session {
    pub(super) fn handle_void(
        &mut self,
        id: ConnectionId,
        void: Void,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
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

    pub(super) fn handle_skip(
        &mut self,
        id: ConnectionId,
        skip: &Skip,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
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

    pub(super) fn handle_epoch(
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
}

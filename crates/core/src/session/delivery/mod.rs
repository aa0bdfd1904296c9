//! Frames of a connection: messages to append, acknowledgements, and everything else.

mod ack;
mod message;
mod note;
mod snapshot;
mod volatile;

use belay_wire::{
    BINARY_CHANNELS_MAX, Channel, CloseCode, ConnectionId, Frame, KEY_BYTES_MAX, NackReason, Open,
    Pong, Position,
};

use super::{Effects, Event, Session, connection::ControlFull};
use crate::{Capability, Env};

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
        #[expect(clippy::wildcard_enum_match_arm, reason = "a client may send few of all frames")]
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

    fn handle_open(&mut self, id: ConnectionId, open: &Open, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let full = connection.opened.len() >= BINARY_CHANNELS_MAX;
        if !connection.writes(open.ch) || (full && !connection.opened.contains_key(&open.id)) {
            return self.protocol_error(id, "open of a channel that is not yours", effects);
        }
        connection.opened.insert(open.id, (open.ch, open.epoch));
    }

    /// Tells whether a channel's member, if it has one, is paired.
    pub(super) fn channel_may_exist(&self, ch: Channel) -> bool {
        ch.member().is_none_or(|m| self.member_exists(m))
    }
}

fn is_too_long(key: Option<&str>) -> bool {
    key.is_some_and(|key| key.len() > KEY_BYTES_MAX)
}

pub(super) fn retry_of(reason: NackReason) -> Option<u64> {
    let waits = matches!(reason, NackReason::Full | NackReason::Busy | NackReason::LogUnavailable);
    waits.then_some(RETRY_MS)
}

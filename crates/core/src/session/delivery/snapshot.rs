//! A member asks the host for a snapshot.

use belay_wire::{Channel, ConnectionId, Frame, Nack, NackReason, REASON_BYTES_MAX, Snapshot};

use super::super::{Effects, Session, connection::Connection};
use crate::token::Principal;

impl Session {
    pub(super) fn handle_snapshot(
        &mut self,
        id: ConnectionId,
        mut snapshot: Snapshot,
        effects: &mut Effects,
    ) {
        if snapshot.id.len().max(snapshot.reason.len()) > REASON_BYTES_MAX {
            return self.protocol_error(id, "id or reason of a snapshot is too long", effects);
        }
        snapshot.from = self.connections.get(&id).and_then(Connection::member);
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
    pub(in super::super) fn ask_snapshot(&mut self, snapshot: Snapshot, effects: &mut Effects) {
        if let Some(host) = self.host() {
            // One request per member: the newest stands for those that wait.
            host.control.retain(|f| !matches!(f, Frame::Snapshot(s) if s.from == snapshot.from));
            let host = host.id;
            self.control(host, snapshot, effects);
        }
    }
}

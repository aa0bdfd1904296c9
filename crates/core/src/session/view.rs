//! What can be seen of a session from outside.

use belay_wire::{Channel, ClientInfo, ConnectionId, MemberId};

use super::{Connection, Session, connection::Reader};
use crate::{SessionRecord, token::Principal};

impl Session {
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

    /// Who a connection belongs to, and what its client calls itself.
    pub fn who(&self, id: ConnectionId) -> Option<(Principal, &ClientInfo)> {
        self.connections.get(&id).map(|c| (c.principal, &c.client))
    }

    /// Messages that a connection lags behind.
    pub fn lag(&self, id: ConnectionId) -> u64 {
        let Some(connection) = self.connections.get(&id) else { return 0 };
        let lag =
            |r: &Reader| self.channels.get(&r.channel).map_or(0, |state| r.cursor.lag(&state.log));
        connection.readers.iter().map(lag).max().unwrap_or(0)
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
    pub(super) fn is_quiet(&self) -> bool {
        self.connections.is_empty()
            && self.waiters.is_empty()
            && self.record.pairing.pending.is_none()
            && self.channels.values().all(|c| c.log.is_settled())
    }
}

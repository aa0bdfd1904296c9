//! What a connection of the compat protocol writes next.

use belay_wire::{CloseCode, ConnectionId, compat::Told};

use super::{
    super::{OutFrame, Pulled, Session, pull::pull_reader},
    Known,
};
use crate::{Env, token::Principal};

impl Session {
    pub(in super::super) fn pull_compat(&mut self, id: ConnectionId, env: &Env<'_>) -> Pulled {
        let mut out = Pulled::default();
        // Who comes is told before what they say, who goes after all that they said.
        let arrival = self.news(id, |before, now| now >= before);
        let Some(connection) = self.connections.get_mut(&id) else { return out };
        // Frames of the other protocol say nothing here.
        connection.control.clear();
        connection.ack_due.clear();
        let told = connection.compat.as_mut().map(|link| std::mem::take(&mut link.told));
        for told in told.into_iter().flatten().chain(arrival) {
            out.push(OutFrame::Text(told.encode().into()));
        }
        let is_held = connection.compat.as_ref().is_some_and(|link| link.held_until.is_some());
        if !connection.is_serving() || is_held {
            return out;
        }
        let mut readers = std::mem::take(&mut connection.readers);
        for reader in &mut readers {
            let Some(state) = self.channels.get(&reader.channel) else { continue };
            reader.deficit = usize::MAX;
            out.more |= pull_reader(connection, reader, state, env.now.mono, &mut out);
        }
        connection.readers = readers;
        if !out.more
            && let Some(departure) = self.news(id, |_, _| true)
        {
            out.push(OutFrame::Text(departure.encode().into()));
        }
        // A gap cannot be told in this protocol: the client reconnects and asks for a snapshot.
        out.close = (!out.gaps.is_empty()).then_some(CloseCode::SlowConsumer);
        out
    }

    /// Who else is connected, when that changed; `may` looks at how many there were and are.
    fn news(&mut self, id: ConnectionId, may: impl Fn(usize, usize) -> bool) -> Option<Told> {
        let known = self.known(id)?;
        let connection = self.connections.get_mut(&id).filter(|c| c.is_serving())?;
        let is_host = connection.is_host();
        let link = connection.compat.as_mut()?;
        let count = known.connections.len();
        let before = link.known.as_ref().map_or(0, |known| known.connections.len());
        if link.known.as_ref() == Some(&known) || !may(before, count) {
            return None;
        }
        link.known = Some(known);
        let session_id = self.compat_id();
        Some(if is_host {
            Told::DeviceCount { session_id, connected_device_count: count }
        } else {
            Told::DesktopStatus { session_id, desktop_connected: count > 0 }
        })
    }

    /// A desktop looks at its phones, a phone at its desktop.
    pub(super) fn known(&self, id: ConnectionId) -> Option<Known> {
        let is_host = self.connections.get(&id)?.is_host();
        let here = self.connections.values().filter(|c| c.is_serving());
        let here = here.map(|c| (c.principal, c.id));
        let elsewhere = self.remote.iter().map(|seat| (seat.principal, seat.connection));
        let others = elsewhere.filter(|(principal, _)| self.connection_of(*principal).is_none());
        let others = here.chain(others);
        let others = others.filter(|(principal, _)| (*principal == Principal::Host) != is_host);
        let mut connections: Vec<_> = others.map(|(_, id)| id).collect();
        connections.sort_unstable();
        Some(Known { connections, revokes: if is_host { self.compat.revokes } else { 0 } })
    }
}

//! Devices of a session as the host sees them: list, revoke, presence.

use belay_wire::{
    Channel, CloseCode, ConnectionId, DeviceListed, DeviceRevoked, DeviceView, Frame, Gap,
    MemberId, Position, Presence, PresenceMember, Seq,
};

use super::{Effect, Effects, Event, Input, Session};
use crate::{Env, SessionRecord, ports::BusFrame, token::Principal};

/// Tombstones of revoked devices that a record keeps; older ones answer "unknown" instead of
/// "revoked", and the second place still refuses them.
const TOMBSTONES_MAX: usize = 64;

impl Session {
    pub(super) fn revoke(&self, member: MemberId, env: &Env<'_>, effects: &mut Effects) {
        self.revoke_because(member, None, env, effects);
    }

    /// `because` tells the host more than that it is gone.
    pub(super) fn revoke_because(
        &self,
        member: MemberId,
        because: Option<&'static str>,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let mut record = self.draft(env);
        let Some(device) = record.device_mut(member) else { return };
        effects.then.push(Effect::Revoke { member });
        if device.revoked_at.is_some() {
            // The second place may still miss it.
            return;
        }
        device.revoked_at = Some(env.now.unix_ms);
        device.revoked_because = because.map(str::to_owned);
        forget_old_tombstones(&mut record);
        effects.save = Some(record);
        effects.events.push(Event::DeviceRevoked { member, cause: because.unwrap_or("revoked") });
        let told = Box::new(DeviceRevoked { member, durable: false }.into());
        effects.then.push(Effect::Feed(Input::TellHost(told)));
    }

    /// A device that stands in the second place of revocations has no connection.
    pub(super) fn expel(&mut self, member: MemberId, effects: &mut Effects) {
        let theirs: Vec<ConnectionId> = self
            .connections
            .values()
            .filter(|c| c.principal == Principal::Member(member))
            .map(|c| c.id)
            .collect();
        for connection in theirs {
            self.close(connection, CloseCode::Revoked, effects);
        }
    }

    pub(super) fn revoke_durable(&mut self, member: MemberId, effects: &mut Effects) {
        self.tell_host(DeviceRevoked { member, durable: true }.into(), effects);
    }

    /// Tells the host, at whichever node it is.
    pub(super) fn tell_host(&mut self, frame: Frame, effects: &mut Effects) {
        if let Some(id) = self.connection_of(Principal::Host).map(|host| host.id) {
            self.control(id, frame, effects);
        } else if self.is_elsewhere(Principal::Host) {
            effects.then.push(Effect::Bus(BusFrame::ToHost { frame: Box::new(frame) }));
        }
    }

    /// The host sees its devices anew with the next write.
    pub(super) fn mark_devices(&mut self, effects: &mut Effects) {
        if let Some(host) = self.host() {
            host.devices_due = true;
            let id = host.id;
            effects.wake.push(id);
        }
    }

    /// Everyone sees who is connected with the next write.
    pub(super) fn mark_presence(&mut self, effects: &mut Effects) {
        for connection in self.connections.values_mut().filter(|c| c.is_serving()) {
            connection.presence_due = true;
            connection.devices_due |= connection.is_host();
            effects.wake.push(connection.id);
        }
    }

    /// What a principal must know as soon as it is in.
    pub(super) fn greet(&mut self, principal: Principal, effects: &mut Effects) {
        if principal == Principal::Host {
            self.tell_host_of_pairing(effects);
        }
    }

    pub(super) fn presence(&self, for_host: bool) -> Presence {
        let host_connected = self.is_connected(Principal::Host);
        let members = for_host.then(|| {
            let seen = |d: &crate::DeviceRecord| PresenceMember {
                member: d.member,
                connected: self.is_connected(Principal::Member(d.member)),
                seen_at: self.seen_at(Principal::Member(d.member), d.seen_at),
            };
            self.record.active_devices().map(seen).collect()
        });
        let host_seen_at = Some(self.seen_at(Principal::Host, self.record.host.seen_at));
        Presence { host_connected, host_seen_at, members }
    }

    /// When somebody was seen last, which may not be stored yet.
    fn seen_at(&self, principal: Principal, stored: u64) -> u64 {
        self.seen.get(&principal).map_or(stored, |at| *at.max(&stored))
    }

    /// The devices, for the host and for operators.
    pub fn device_list(&self, allowed: usize) -> DeviceListed {
        let view = |d: &crate::DeviceRecord| DeviceView {
            member: d.member,
            name: d.info.name.clone(),
            platform: d.info.platform.clone(),
            added_at: d.added_at,
            seen_at: self.seen_at(Principal::Member(d.member), d.seen_at),
            connected: self.is_connected(Principal::Member(d.member)),
        };
        let devices: Vec<_> = self.record.active_devices().map(view).collect();
        DeviceListed { used: devices.len(), devices, allowed }
    }

    /// Closes a connection: nothing more is written but its `bye`.
    pub(super) fn close(&mut self, id: ConnectionId, code: CloseCode, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.closing.is_some() {
            return;
        }
        connection.closing = Some(code);
        effects.events.push(Event::Closed { connection: id, code });
        effects.then.push(Effect::Close { connection: id, code });
    }
}

fn forget_old_tombstones(record: &mut SessionRecord) {
    let mut revoked: Vec<_> =
        record.devices.iter().filter_map(|d| d.revoked_at.map(|at| (at, d.member))).collect();
    revoked.sort_unstable();
    let excess = revoked.len().saturating_sub(TOMBSTONES_MAX);
    let gone: Vec<_> = revoked.into_iter().take(excess).map(|(_, member)| member).collect();
    record.devices.retain(|d| !gone.contains(&d.member));
}

/// Commands of a removed member that its host was not sent are gone.
pub(super) fn undelivered(
    ch: Channel,
    read: Option<Position>,
    head: Option<Position>,
) -> Option<Gap> {
    let head = head?;
    let from = read.filter(|at| at.epoch == head.epoch).map_or(Seq::ZERO, |at| at.seq).next();
    let (epoch, to, reason) = (head.epoch, head.seq, "revoked".to_owned());
    (from <= to).then_some(Gap { ch, epoch, from, to, reason })
}

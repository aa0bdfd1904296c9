//! Devices of a session as the host sees them: list, revoke, presence.

use belay_wire::{
    Channel, CloseCode, ConnectionId, DeviceListed, DeviceRevoked, DeviceView, Frame, Gap,
    MemberId, Position, Presence, PresenceMember, Seq,
};

use super::{Effect, Effects, Event, Input, Session};
use crate::{Env, token::Principal};

/// Tombstones of revoked devices that a record keeps; older ones answer "unknown" instead of
/// "revoked", and the second place still refuses them.
const TOMBSTONES_MAX: usize = 64;

impl Session {
    pub(super) fn revoke(&mut self, member: MemberId, env: &mut Env<'_>, effects: &mut Effects) {
        self.revoke_because(member, "revoked", env, effects);
    }

    pub(super) fn revoke_because(
        &mut self,
        member: MemberId,
        cause: &'static str,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let now = env.now.unix_ms;
        self.compat.forget(member);
        let Some(device) = self.record.device_mut(member) else { return };
        if device.revoked_at.is_some() {
            // The second place may still miss it.
            return effects.then.push(Effect::Revoke { member });
        }
        device.revoked_at = Some(now);
        self.forget_old_tombstones();
        effects.events.push(Event::DeviceRevoked { member, cause });
        effects.save = Some(self.next_version());
        effects.then.push(Effect::Revoke { member });
        self.compat.revokes += 1;
        let theirs: Vec<ConnectionId> = self
            .connections
            .values()
            .filter(|c| c.principal == Principal::Member(member))
            .map(|c| c.id)
            .collect();
        for connection in theirs {
            self.close(connection, CloseCode::Revoked, effects);
        }
        self.forget_log(Channel::DownTo(member), effects);
        let up = Channel::Up(member);
        let head = self.channels.get(&up).and_then(|c| c.log.projected());
        self.forget_log(up, effects);
        if let Some(host) = self.host() {
            let read = host.readers.iter().find(|r| r.channel == up).map(|r| r.cursor.at());
            host.readers.retain(|r| r.channel != up);
            self.tell_undelivered(up, read.flatten(), head, effects);
        }
        let told = Box::new(DeviceRevoked { member, durable: false }.into());
        effects.then.push(Effect::Feed(Input::TellHost(told)));
        self.mark_devices(effects);
        self.mark_presence(effects);
    }

    /// Commands of a removed member that the host was not sent are gone, and it is told.
    fn tell_undelivered(
        &mut self,
        ch: Channel,
        read: Option<Position>,
        head: Option<Position>,
        effects: &mut Effects,
    ) {
        let Some(head) = head else { return };
        let from = read.filter(|at| at.epoch == head.epoch).map_or(Seq::ZERO, |at| at.seq).next();
        if from <= head.seq {
            let (epoch, to, reason) = (head.epoch, head.seq, "revoked".to_owned());
            self.tell_host(Gap { ch, epoch, from, to, reason }.into(), effects);
        }
    }

    pub(super) fn revoke_durable(&mut self, member: MemberId, effects: &mut Effects) {
        self.tell_host(DeviceRevoked { member, durable: true }.into(), effects);
    }

    pub(super) fn tell_host(&mut self, frame: Frame, effects: &mut Effects) {
        if let Some(id) = self.connection_of(Principal::Host).map(|host| host.id) {
            self.control(id, frame, effects);
        }
    }

    fn forget_old_tombstones(&mut self) {
        let mut revoked: Vec<_> = self
            .record
            .devices
            .iter()
            .filter_map(|d| d.revoked_at.map(|at| (at, d.member)))
            .collect();
        revoked.sort_unstable();
        let excess = revoked.len().saturating_sub(TOMBSTONES_MAX);
        let gone: Vec<_> = revoked.into_iter().take(excess).map(|(_, member)| member).collect();
        self.record.devices.retain(|d| !gone.contains(&d.member));
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
        let host_connected = self.connection_of(Principal::Host).is_some();
        let members = for_host.then(|| {
            let seen = |d: &crate::DeviceRecord| PresenceMember {
                member: d.member,
                connected: self.connection_of(Principal::Member(d.member)).is_some(),
                seen_at: d.seen_at,
            };
            self.record.active_devices().map(seen).collect()
        });
        Presence { host_connected, host_seen_at: Some(self.host_seen_at), members }
    }

    /// The devices, for the host and for operators.
    pub fn device_list(&self, allowed: usize) -> DeviceListed {
        let view = |d: &crate::DeviceRecord| DeviceView {
            member: d.member,
            name: d.info.name.clone(),
            platform: d.info.platform.clone(),
            added_at: d.added_at,
            seen_at: d.seen_at,
            connected: self.connection_of(Principal::Member(d.member)).is_some(),
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

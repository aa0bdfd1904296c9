//! Where a connection goes on reading and writing.

use std::collections::BTreeMap;

use belay_wire::{Channel, MemberId, Position, Positions, Resumed, Seq, Stable};

use super::super::{
    Effects, Event, Session,
    connection::{Connection, Reader},
};
use crate::{Env, delivery::Cursor, env::Policy, token::Principal};

impl Session {
    pub(super) fn readers_for(&self, principal: Principal, resume: &Positions) -> Vec<Reader> {
        let channels = match principal {
            Principal::Host => {
                self.record.active_devices().map(|d| Channel::Up(d.member)).collect()
            }
            Principal::Member(member) => vec![Channel::Down, Channel::DownTo(member)],
        };
        channels.into_iter().map(|c| reader(c, resume.get(&c).copied())).collect()
    }

    /// A new member's commands reach a host that is already connected.
    pub(in super::super) fn read_new_member(&mut self, member: MemberId, policy: &Policy) {
        self.channel(Channel::DownTo(member), policy);
        self.channel(Channel::Up(member), policy);
        if let Some(host) = self.host() {
            host.readers.push(reader(Channel::Up(member), None));
        }
    }

    pub(super) fn announce_bases(
        &mut self,
        connection: &mut Connection,
        bases: &Positions,
        env: &Env<'_>,
    ) -> Positions {
        let mut accepted = Positions::new();
        for (channel, base) in bases {
            if connection.writes(*channel) && self.channel_may_exist(*channel) {
                let log = &mut self.channel(*channel, env.policy).log;
                let at_least_one = Position { seq: base.seq.max(Seq::ZERO.next()), ..*base };
                let Some(head) = log.announce(at_least_one, env.now) else {
                    connection.bases.insert(*channel, at_least_one);
                    continue;
                };
                accepted.insert(*channel, head);
                if head.epoch == base.epoch {
                    connection.writing.insert(*channel, base.epoch);
                }
            }
        }
        for (channel, state) in &self.channels {
            if let Some(head) = state.log.ring().head()
                && connection.writes(*channel)
            {
                accepted.entry(*channel).or_insert(head);
            }
        }
        accepted
    }

    pub(super) fn describe_resume(
        &mut self,
        connection: &mut Connection,
        policy: &Policy,
        effects: &mut Effects,
    ) -> BTreeMap<Channel, Resumed> {
        let mut resumed = BTreeMap::new();
        for reader in &mut connection.readers {
            let log = &self.channel(reader.channel, policy).log;
            if !log.is_open() {
                continue;
            }
            let gap = reader.cursor.resolve(reader.channel, log);
            if log.ring().head().is_some_and(|head| reader.cursor.is_ahead_of(head)) {
                effects.events.push(Event::PositionAhead { what: "resume" });
            }
            let from = reader.cursor.at().map_or(Seq::ZERO, |p| p.seq).next();
            let count = if log.ring().head().is_some() { reader.cursor.lag(log) } else { 0 };
            resumed.insert(reader.channel, Resumed { gap: gap.is_some(), from, count });
            if let Some(gap) = gap {
                connection.control.push_back(gap.into());
            }
        }
        resumed
    }

    /// What a host resumes from it has applied, although its acknowledgement may be lost.
    pub(in super::super) fn take_as_applied(
        &mut self,
        readers: &[(Channel, Position)],
        effects: &mut Effects,
    ) {
        for (channel, at) in readers.iter().filter(|(ch, _)| !ch.is_written_by_host()) {
            let Some(state) = self.channels.get_mut(channel) else { continue };
            if state.log.applied(*at) {
                self.asks = true;
                let member = channel.member().map(Principal::Member);
                let pos = Positions::from([(*channel, *at)]);
                if let Some(id) = member.and_then(|m| self.connection_of(m)).map(|c| c.id) {
                    self.control(id, Stable { pos }, effects);
                } else {
                    self.tell_applied(&pos, effects);
                }
            }
        }
    }
}

fn reader(channel: Channel, resume: Option<Position>) -> Reader {
    Reader { channel, cursor: Cursor::new(resume), applied: resume, stamp: 0, deficit: 0 }
}

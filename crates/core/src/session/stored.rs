//! What is stored of a session, and what follows from a new version of it, whoever made it.

use std::time::Duration;

use belay_wire::{Channel, CloseCode, MemberId, Notice};

use super::{Effect, Effects, Event, Input, Session, device::undelivered};
use crate::{Env, SessionRecord, token::Principal};

/// What could not be stored is tried again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Inputs that wait to be tried again: each is about a channel or a pair request of this session.
const RETRIES_MAX: usize = 256;

impl Session {
    /// The next version of the record, to be changed and stored.
    pub(super) fn draft(&self, env: &Env<'_>) -> SessionRecord {
        let mut record = self.record.clone();
        record.succeed();
        for (principal, at) in &self.seen {
            let seen_at = match principal {
                Principal::Host => Some(&mut record.host.seen_at),
                Principal::Member(member) => record.device_mut(*member).map(|d| &mut d.seen_at),
            };
            if let Some(seen_at) = seen_at {
                *seen_at = *at.max(seen_at);
            }
        }
        record.pairing.decided.retain(|decided| decided.until > env.now.unix_ms);
        record
    }

    /// Tells whether times wait to be stored; one that has ended is not in the store any more.
    pub(super) fn is_unsaved(&self) -> bool {
        !self.seen.is_empty() && !self.compat.is_over()
    }

    /// Another version is stored: what is live follows.
    pub(super) fn take_record(
        &mut self,
        new: SessionRecord,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        if new.created_at != self.record.created_at {
            // It was ended elsewhere, and another one was made under its name.
            return self.end("session_ended", effects);
        }
        if new.version == self.record.version {
            return;
        }
        let old = std::mem::replace(&mut self.record, new);
        if self.record.lineage.has_lost(self.record.version, old.version) {
            effects.events.push(Event::StoreWentBack);
            effects.then.push(Effect::Feed(Input::Heal(Box::new(old.clone()))));
        }
        let record = &self.record;
        let stored = |principal: &Principal| match principal {
            Principal::Host => record.host.seen_at,
            Principal::Member(member) => record.device(*member).map_or(u64::MAX, |d| d.seen_at),
        };
        self.seen.retain(|principal, at| stored(principal) < *at);
        self.members_changed(&old, env, effects);
        self.lost_changed(&old, effects);
        self.pairing_changed(&old.pairing, env, effects);
    }

    fn members_changed(&mut self, old: &SessionRecord, env: &Env<'_>, effects: &mut Effects) {
        let ids = |record: &SessionRecord| -> Vec<_> {
            record.active_devices().map(|d| d.member).collect()
        };
        let (before, now) = (ids(old), ids(&self.record));
        for member in before.iter().filter(|member| !now.contains(member)) {
            self.remote.retain(|seat| seat.principal != Principal::Member(*member));
            self.member_left(*member, effects);
        }
        for member in now.iter().filter(|member| !before.contains(member)) {
            self.read_new_member(*member, env.policy);
        }
        if before != now {
            self.mark_devices(effects);
            self.mark_presence(effects);
        }
    }

    /// A device was removed: nothing of it stays here.
    fn member_left(&mut self, member: MemberId, effects: &mut Effects) {
        self.compat.forget(member);
        self.compat.revokes += 1;
        self.expel(member, effects);
        self.forget_log(Channel::DownTo(member), effects);
        let up = Channel::Up(member);
        let head = self.channels.get(&up).and_then(|c| c.log.projected());
        self.forget_log(up, effects);
        let Some(host) = self.host() else { return };
        let read = host.readers.iter().find(|r| r.channel == up).and_then(|r| r.cursor.at());
        host.readers.retain(|r| r.channel != up);
        let id = host.id;
        if let Some(gap) = undelivered(up, read, head) {
            self.control(id, gap, effects);
        }
        let because = self.record.device(member).and_then(|d| d.revoked_because.clone());
        if because.as_deref() == Some("token_reused") {
            self.control(id, token_reused(), effects);
        }
    }

    fn lost_changed(&mut self, old: &SessionRecord, effects: &mut Effects) {
        let mut news = Vec::new();
        for device in self.record.active_devices().filter(|d| !d.lost.is_empty()) {
            let known = old.device(device.member).map_or(&[][..], |d| &d.lost);
            let connection = self.connection_of(Principal::Member(device.member)).map(|c| c.id);
            let is_known = |lost: &&belay_wire::Lost| {
                known.iter().any(|l| (l.epoch, l.from, l.to) == (lost.epoch, lost.from, lost.to))
            };
            let new = device.lost.iter().filter(|lost| !is_known(lost)).cloned();
            news.extend(connection.into_iter().flat_map(|id| new.clone().map(move |l| (id, l))));
        }
        for (id, lost) in news {
            self.control(id, lost, effects);
        }
    }

    /// The store lost the session: what is known here is stored as if it were new. Of several nodes that know
    /// it one is first, and the others add what that one did not know.
    pub(super) fn restore(&mut self, known: u64, env: &Env<'_>, effects: &mut Effects) {
        if self.compat.is_over() || self.record.version != known {
            return;
        }
        let mut record = self.draft(env);
        record.begin_again();
        effects.events.push(Event::StoreWentBack);
        effects.save = Some(record);
    }

    /// The store went back behind what is known here: devices, revocations and tokens that it lost are
    /// stored once more. A pair request that it lost is asked again by its phone.
    pub(super) fn heal(&mut self, known: &SessionRecord, env: &Env<'_>, effects: &mut Effects) {
        let (mut healed, mut lost) = (self.draft(env), false);
        if known.host.token.generation > healed.host.token.generation {
            healed.host.token = known.host.token;
            lost = true;
        }
        for device in &known.devices {
            let Some(there) = healed.device_mut(device.member) else {
                healed.devices.push(device.clone());
                lost = true;
                continue;
            };
            if device.token.generation > there.token.generation {
                there.token = device.token;
                lost = true;
            }
            if there.revoked_at.is_none() && device.revoked_at.is_some() {
                there.revoked_at = device.revoked_at;
                there.revoked_because.clone_from(&device.revoked_because);
                lost = true;
            }
        }
        if let (Some(there), Some(known)) = (&mut healed.compat, &known.compat)
            && known.join_used
            && !there.join_used
            && known.join_token == there.join_token
        {
            there.join_used = true;
            lost = true;
        }
        if lost {
            effects.save = Some(healed);
        }
    }

    /// An input that wanted something stored, while nothing can be stored: what becomes of it here. Who
    /// waits for an answer of a call is told by the node.
    pub fn not_stored(&mut self, input: Input, env: &Env<'_>) -> Effects {
        let mut effects = Effects::default();
        #[expect(clippy::wildcard_enum_match_arm, reason = "most inputs are simply refused")]
        match input {
            Input::Attach(attach) | Input::Admit(attach) => {
                let cause = if attach.compat {
                    "token_rotation_persist_failed"
                } else {
                    "store_unavailable"
                };
                super::attach::refuse(
                    attach.connection,
                    CloseCode::Unavailable,
                    cause,
                    &mut effects,
                );
            }
            Input::CompatText { connection, text, commit: true } => {
                // The offered token is current with its first use, or with a later text.
                let input = Input::CompatText { connection, text, commit: false };
                effects.then.push(Effect::Feed(input));
            }
            Input::Frame { connection, .. } => {
                self.control(connection, not_stored_notice(), &mut effects);
            }
            Input::CommandsLost { .. }
            | Input::LostHeard { .. }
            | Input::Abandoned { .. }
            | Input::HostLeft
            | Input::Heal(_)
                if self.retries.len() < RETRIES_MAX =>
            {
                self.retries.push(input);
            }
            _ => {}
        }
        self.retry_at = Some(env.now.mono + RETRY_AFTER);
        effects
    }

    /// What could not be stored is tried again.
    pub(super) fn retry(&mut self, env: &Env<'_>, effects: &mut Effects) {
        if self.retry_at.is_some_and(|at| at <= env.now.mono) {
            self.retry_at = None;
            effects.then.extend(self.retries.drain(..).map(Effect::Feed));
        }
    }

    /// Stores the times of who left, which are not worth a save that could fail while others work.
    pub(super) fn flush(&self, env: &Env<'_>, effects: &mut Effects) {
        if self.is_unsaved() {
            effects.save = Some(self.draft(env));
        }
    }
}

fn not_stored_notice() -> Notice {
    Notice {
        code: "store_unavailable".to_owned(),
        text: "the relay cannot store this now, so it was not done; try again".to_owned(),
    }
}

fn token_reused() -> Notice {
    Notice {
        code: "token_reused".to_owned(),
        text: "an outdated key of a device was used again, so the device was removed; \
               pair it again and check who else may hold its data"
            .to_owned(),
    }
}

//! Pairing of the compat protocol: one call that waits until the desktop decides.

use belay_wire::{
    MemberId, RequestId,
    compat::{DEVICE_NAME_CHARS, Told, format_time},
    pair::{DeviceInfo, PairOutcome, is_hidden},
};

use super::{
    super::{Effect, Effects, Event, PairAnswer, PairError, Session, effect::WaiterId},
    CompatJoin, CompatRefresh, Joined, Pending, join_hash,
};
use crate::{
    DeviceRecord, Env, TokenState, Unknown,
    env::draw,
    token::{Claims, Principal, token_hash},
};

/// A phone waits at least this long, however near the end of its join token is.
const WAIT_MIN: std::time::Duration = std::time::Duration::from_secs(5);

impl Session {
    pub(in super::super) fn refresh(
        &mut self,
        waiter: WaiterId,
        refresh: CompatRefresh,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        if self.compat.is_over() {
            let answer = Err(PairError::HostLeft);
            return effects.then.push(Effect::Answer { waiter, answer });
        }
        let Some(compat) = &mut self.record.compat else { return };
        compat.join_token = join_hash(&refresh.join_token, env.hash_key);
        compat.join_expires_at = refresh.join_expires_at;
        compat.join_used = false;
        compat.active_at = env.now.unix_ms;
        if let Some(url) = refresh.ws_url {
            compat.ws_url = url;
        }
        if let Some(idle) = refresh.idle_secs {
            compat.idle_secs = idle;
        }
        effects.save = Some(self.next_version());
        effects.then.push(Effect::Answer { waiter, answer: Ok(PairAnswer::Done) });
    }

    pub(in super::super) fn join(
        &mut self,
        waiter: WaiterId,
        join: CompatJoin,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.may_join(&join, env) {
            return effects.then.push(Effect::Answer { waiter, answer: Err(error) });
        }
        let Some(compat) = &self.record.compat else { return };
        let (join_token, join_expires_at) = (compat.join_token, compat.join_expires_at);
        let left =
            std::time::Duration::from_millis(join_expires_at.saturating_sub(env.now.unix_ms));
        let wait = env.policy.approval_ttl.min(left).max(WAIT_MIN);
        let pending = Pending {
            id: RequestId::from_bytes(draw(env.entropy)),
            waiter,
            device_name: join.device_name.as_deref().and_then(name_of),
            address: join.address,
            requested_at: env.now.unix_ms,
            expires_at: env.now.unix_after(wait),
            join_token,
            join_expires_at,
            deadline: env.now.mono + wait,
        };
        effects.events.push(Event::PairingStarted { request: pending.id });
        self.compat.pending = Some(pending);
        self.tell_pending(effects);
    }

    /// The token is compared before anything about it is told.
    fn may_join(&self, join: &CompatJoin, env: &Env<'_>) -> Result<(), PairError> {
        if self.compat.is_over() {
            return Err(PairError::HostLeft);
        }
        let compat = self.record.compat.as_ref().ok_or(PairError::CodeWrong)?;
        if !join_hash(&join.join_token, env.hash_key).matches(&compat.join_token) {
            return Err(PairError::CodeWrong);
        }
        if env.now.unix_ms >= compat.join_expires_at {
            return Err(PairError::CodeExpired);
        }
        if compat.join_used {
            return Err(PairError::CodeUsed);
        }
        let (used, allowed) = (self.record.active_devices().count(), env.policy.devices_max);
        if used >= allowed {
            return Err(PairError::DeviceLimit { used, allowed });
        }
        if self.connection_of(Principal::Host).is_none() {
            return Err(PairError::HostOffline);
        }
        match &self.compat.pending {
            Some(p) => Err(PairError::JoinInProgress { request: p.id, expires_at: p.expires_at }),
            None => Ok(()),
        }
    }

    /// Asks the desktop, also one that comes back while a phone waits.
    pub(super) fn tell_pending(&mut self, effects: &mut Effects) {
        let Some(pending) = &self.compat.pending else { return };
        let told = Told::PairRequest {
            session_id: self.compat_id(),
            request_id: pending.id.to_string(),
            device_name: pending.device_name.clone(),
            requester_ip: pending.address.clone(),
            requested_at: format_time(pending.requested_at),
            expires_at: format_time(pending.expires_at),
        };
        if let Some(host) = self.connection_of(Principal::Host).map(|c| c.id) {
            self.tell(host, told, effects);
        }
    }

    /// The desktop decided; a decision about nobody changes nothing.
    pub(super) fn join_decided(
        &mut self,
        request_id: &str,
        approved: bool,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let fits = self.compat.pending.as_ref().is_some_and(|p| p.id.to_string() == request_id);
        if !fits {
            return;
        }
        let Some(pending) = self.compat.pending.take() else { return };
        let result = if approved { self.let_in(&pending, env) } else { Err(PairError::Rejected) };
        let outcome = match &result {
            Ok(_) => PairOutcome::Paired,
            Err(PairError::DeviceLimit { .. }) => PairOutcome::DeviceLimit,
            Err(PairError::CodeExpired) => PairOutcome::Expired,
            Err(_) => PairOutcome::Rejected,
        };
        effects.events.push(Event::PairingEnded { request: pending.id, outcome });
        if let Ok(joined) = &result {
            effects.save = Some(self.next_version());
            self.read_new_member(joined.device, env.policy);
        }
        let answer = result.map(PairAnswer::Joined);
        effects.then.push(Effect::Answer { waiter: pending.waiter, answer });
    }

    fn let_in(&mut self, pending: &Pending, env: &mut Env<'_>) -> Result<Joined, PairError> {
        let now = env.now.unix_ms;
        let (used, allowed) = (self.record.active_devices().count(), env.policy.devices_max);
        if used >= allowed {
            return Err(PairError::DeviceLimit { used, allowed });
        }
        let compat = self.record.compat.as_mut().ok_or(PairError::CodeWrong)?;
        if now >= pending.join_expires_at {
            return Err(PairError::CodeExpired);
        }
        // One that was made while this phone waited is another phone's.
        compat.join_used |= compat.join_token.matches(&pending.join_token);
        let device = MemberId::from_bytes(draw(env.entropy));
        let nonce = draw(env.entropy);
        let claims = Claims {
            session: self.record.id,
            principal: Principal::Member(device),
            issued_at: now,
            generation: 1,
            nonce,
        };
        let name = pending.device_name.clone().unwrap_or_else(|| "Mobile Device".to_owned());
        self.record.devices.push(DeviceRecord {
            member: device,
            info: DeviceInfo { name, platform: "compat".to_owned() },
            key: None,
            token: TokenState {
                generation: 1,
                nonce: token_hash(env.hash_key, &nonce),
                committed_at: now,
            },
            added_at: now,
            seen_at: now,
            revoked_at: None,
            revoked_because: None,
            lost: Vec::new(),
            unknown: Unknown::new(),
        });
        Ok(Joined { device, token: env.keys.mint(&claims) })
    }

    fn end_join(&mut self, error: PairError, outcome: PairOutcome, effects: &mut Effects) {
        let Some(pending) = self.compat.pending.take() else { return };
        effects.events.push(Event::PairingEnded { request: pending.id, outcome });
        effects.then.push(Effect::Answer { waiter: pending.waiter, answer: Err(error) });
    }

    pub(in super::super) fn expire_join(&mut self, env: &Env<'_>, effects: &mut Effects) {
        if self.compat.pending.as_ref().is_some_and(|p| p.deadline <= env.now.mono) {
            self.end_join(PairError::ApprovalExpired, PairOutcome::Expired, effects);
        }
    }

    /// A phone that hangs up makes room for the next one.
    pub(in super::super) fn join_waiter_gone(&mut self, waiter: WaiterId, effects: &mut Effects) {
        if let Some(pending) = self.compat.pending.take_if(|p| p.waiter == waiter) {
            let outcome = PairOutcome::Expired;
            effects.events.push(Event::PairingEnded { request: pending.id, outcome });
        }
    }

    /// Nobody can approve any more.
    pub(in super::super) fn compat_host_left(&mut self, effects: &mut Effects) {
        if self.record.compat.is_some() && self.connection_of(Principal::Host).is_none() {
            self.end_join(PairError::HostLeft, PairOutcome::HostGone, effects);
        }
    }
}

/// A name without blanks around it, cut; `None` if nothing is left.
fn name_of(given: &str) -> Option<String> {
    let drawn: String = given.chars().filter(|c| !is_hidden(*c)).collect();
    let name: String = drawn.trim().chars().take(DEVICE_NAME_CHARS).collect();
    Some(name).filter(|name| !name.is_empty())
}

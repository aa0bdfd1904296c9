//! Pairing of the compat protocol: one call that waits until the desktop decides.

use belay_wire::{
    RequestId,
    compat::{DEVICE_NAME_CHARS, Told, format_time},
    pair::{DeviceInfo, is_hidden},
};

use super::{
    super::{
        Effect, Effects, Event, Input, PairAnswer, PairError, Session, WaiterId, Waiting,
        pairing::{check_capacity, new_device},
    },
    CompatJoin, CompatRefresh, join_hash,
};
use crate::{
    Env, PairDecided, PairStage, PendingPair, SessionRecord, crypto::SecretHash, env::draw,
    token::Principal,
};

/// A phone waits at least this long, however near the end of its join token is.
pub(in super::super) const WAIT_MIN: std::time::Duration = std::time::Duration::from_secs(5);

impl Session {
    pub(in super::super) fn refresh(
        &self,
        waiter: WaiterId,
        refresh: CompatRefresh,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        if self.compat.is_over() {
            let answer = Err(PairError::HostLeft);
            return effects.then.push(Effect::Answer { waiter, answer });
        }
        let mut record = self.draft(env);
        let Some(compat) = &mut record.compat else { return };
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
        effects.save = Some(record);
        effects.then.push(Effect::Answer { waiter, answer: Ok(PairAnswer::Done) });
    }

    pub(in super::super) fn join(
        &self,
        waiter: WaiterId,
        join: &CompatJoin,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.may_join(join, env) {
            return effects.then.push(Effect::Answer { waiter, answer: Err(error) });
        }
        let Some(compat) = &self.record.compat else { return };
        let (join_token, join_expires_at) = (compat.join_token, compat.join_expires_at);
        let left =
            std::time::Duration::from_millis(join_expires_at.saturating_sub(env.now.unix_ms));
        let wait = env.policy.approval_ttl.min(left).max(WAIT_MIN);
        let id = RequestId::from_bytes(draw(env.entropy));
        let name = join.device_name.as_deref().and_then(name_of).unwrap_or_default();
        let mut record = self.draft(env);
        record.pairing.pending = Some(PendingPair {
            id,
            device: DeviceInfo { name, platform: "compat".to_owned() },
            address: join.address.clone(),
            expires_at: env.now.unix_after(wait),
            stage: PairStage::Joining {
                requested_at: env.now.unix_ms,
                join_token,
                join_expires_at,
            },
        });
        effects.events.push(Event::PairingStarted { request: id });
        effects.save = Some(record);
        let waiting = Waiting::Decision(id);
        effects.then.push(Effect::Feed(Input::Await { waiter, waiting }));
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
        check_capacity(&self.record, env)?;
        if !self.is_connected(Principal::Host) {
            return Err(PairError::HostOffline);
        }
        match &self.record.pairing.pending {
            Some(p) => Err(PairError::JoinInProgress { request: p.id, expires_at: p.expires_at }),
            None => Ok(()),
        }
    }

    /// Asks the desktop, also one that comes back while a phone waits.
    pub(in super::super) fn tell_pending(&mut self, effects: &mut Effects) {
        let Some(pending) = &self.record.pairing.pending else { return };
        let PairStage::Joining { requested_at, .. } = pending.stage else { return };
        let told = Told::PairRequest {
            session_id: self.compat_id(),
            request_id: pending.id.to_string(),
            device_name: Some(pending.device.name.clone()).filter(|name| !name.is_empty()),
            requester_ip: pending.address.clone(),
            requested_at: format_time(requested_at),
            expires_at: format_time(pending.expires_at),
        };
        if let Some(host) = self.connection_of(Principal::Host).map(|c| c.id) {
            self.tell(host, told, effects);
        }
    }

    /// The desktop decided; a decision about nobody changes nothing.
    pub(super) fn join_decided(
        &self,
        request_id: &str,
        approved: bool,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let pending = self.record.pairing.pending.as_ref();
        let Some(pending) = pending.filter(|p| p.id.to_string() == request_id) else { return };
        let PairStage::Joining { join_token, join_expires_at, .. } = pending.stage else { return };
        let mut record = self.draft(env);
        let result = if approved {
            let_in(&mut record, pending, join_token, join_expires_at, env)
        } else {
            Err(PairError::Rejected)
        };
        record.decide(result.unwrap_or_else(PairDecided::Failed), env, effects);
        effects.save = Some(record);
    }

    /// Nobody can approve any more.
    pub(in super::super) fn host_left(&self, env: &Env<'_>, effects: &mut Effects) {
        let pending = self.record.pairing.pending.as_ref();
        let waits = pending.is_some_and(|p| matches!(p.stage, PairStage::Joining { .. }));
        if waits && !self.is_connected(Principal::Host) {
            let mut record = self.draft(env);
            record.decide(PairDecided::Failed(PairError::HostLeft), env, effects);
            effects.save = Some(record);
        }
    }
}

fn let_in(
    record: &mut SessionRecord,
    pending: &PendingPair,
    join_token: SecretHash,
    join_expires_at: u64,
    env: &mut Env<'_>,
) -> Result<PairDecided, PairError> {
    check_capacity(record, env)?;
    if env.now.unix_ms >= join_expires_at {
        return Err(PairError::CodeExpired);
    }
    let compat = record.compat.as_mut().ok_or(PairError::CodeWrong)?;
    // One that was made while this phone waited is another phone's.
    compat.join_used |= compat.join_token.matches(&join_token);
    let nonce = draw(env.entropy);
    let mut device = new_device(pending, None, &nonce, env);
    if device.info.name.is_empty() {
        "Mobile Device".clone_into(&mut device.info.name);
    }
    Ok(record.add_device(device, None, nonce))
}

/// A name without blanks around it, cut; `None` if nothing is left.
fn name_of(given: &str) -> Option<String> {
    let drawn: String = given.chars().filter(|c| !is_hidden(*c)).collect();
    let name: String = drawn.trim().chars().take(DEVICE_NAME_CHARS).collect();
    Some(name).filter(|name| !name.is_empty())
}

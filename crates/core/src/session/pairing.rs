//! Pairing: join lease, commitment, host's nonce, opening, approval.
//!
//! One request at a time. A second key within the wait denies both. What was decided is remembered
//! until the request's expiry, so a phone whose answer got lost asks again and gets the same one. All of it
//! stands in the record: the host and the phone may be at different nodes, and either may change its node.

use std::time::Duration;

use belay_wire::{
    Bytes32, Bytes64, CODE_CHARS, Frame, MemberId, Notice, PairCommitted, PairDecision, PairEnded,
    PairNonce, PairRequested, PairWaiting, PublicKey, RendezvousId, RequestId, Secret,
    pair::{CodeMade, PairOutcome, PairStarted, Paired, RevealPair, StartPair},
    proof::{commitment, decision_transcript, key_hash},
};

use super::{
    Effect, Effects, Event, Input, Session, Waiting,
    effect::{PairAnswer, PairError, WaiterId},
};
use crate::{
    DecidedPair, DeviceRecord, Env, HashKey, LeaseRecord, PairDecided, PairStage, PairingRecord,
    PendingPair, SessionRecord, TokenState, Unknown,
    crypto::{SecretHash, verify_signature},
    env::draw,
    session::compat::Joined,
    token::{Claims, Principal, token_hash},
};

/// HTTP calls that may wait for one request: a phone that reloads a lot stays below it.
const WAITERS_MAX: usize = 128;
/// Crockford's base 32: no letter that looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How a lease is found in the store.
#[derive(Debug, Clone, Copy)]
pub enum LeaseKey {
    /// By the token that a desktop of the compat protocol made.
    Desktop(SecretHash),
    /// By the QR's rendezvous.
    Rendezvous(SecretHash),
    /// A pair request, pending or decided a moment ago.
    Request(RequestId),
    /// By a typed code: all leases that share its first three characters, and its hash.
    Code { prefix: [u8; 3], hash: SecretHash },
}

impl LeaseKey {
    /// The key of a rendezvous.
    pub fn rendezvous(id: RendezvousId, hash_key: &HashKey) -> Self {
        Self::Rendezvous(hash_key.hash("rendezvous", id.as_bytes()))
    }

    /// The key of a typed code: case, spaces and hyphens do not count, `O` reads as 0, `I` and `L`
    /// as 1. `None` if it cannot be a code.
    pub fn code(typed: &Secret, hash_key: &HashKey) -> Option<Self> {
        let code: Vec<u8> = typed
            .expose()
            .bytes()
            .filter(|b| !matches!(b, b' ' | b'-'))
            .map(|b| match b.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            })
            .collect();
        if code.len() != CODE_CHARS || !code.iter().all(|b| ALPHABET.contains(b)) {
            return None;
        }
        let prefix = code[..3].try_into().expect("the length was checked");
        Some(Self::Code { prefix, hash: hash_key.hash("code", &code) })
    }
}

/// A pair request and what it waits for; each step has a time of its own.
pub(super) type Step = (RequestId, u8);

/// Decided requests that a record keeps.
const DECIDED_MAX: usize = 8;

pub(super) fn make_lease(env: &mut Env<'_>) -> (LeaseRecord, CodeMade) {
    let rendezvous = RendezvousId::from_bytes(draw(env.entropy));
    let code: [u8; CODE_CHARS] = draw(env.entropy);
    let code = code.map(|b| ALPHABET[usize::from(b & 31)]);
    let expires_at = env.now.unix_after(env.policy.code_ttl);
    let lease = LeaseRecord {
        rendezvous: env.hash_key.hash("rendezvous", rendezvous.as_bytes()),
        code: env.hash_key.hash("code", &code),
        code_prefix: code[..3].try_into().expect("codes have eight characters"),
        expires_at,
        tries: 0,
        taken: false,
    };
    let code = String::from_utf8_lossy(&code).into_owned();
    (lease, CodeMade { rendezvous, code: Secret::new(code), expires_at })
}

impl PendingPair {
    /// What it waits for, as a number.
    fn step(&self) -> Step {
        let stage = match self.stage {
            PairStage::Committed { .. } => 0,
            PairStage::Nonced { .. } => 1,
            PairStage::Waiting { .. } => 2,
            PairStage::Joining { .. } => 3,
        };
        (self.id, stage)
    }

    /// `None` in the compat protocol.
    fn commit(&self) -> Option<Bytes32> {
        match self.stage {
            PairStage::Committed { commit, .. }
            | PairStage::Nonced { commit, .. }
            | PairStage::Waiting { commit, .. } => Some(commit),
            PairStage::Joining { .. } => None,
        }
    }
}

impl SessionRecord {
    /// Ends the pending request, and remembers how.
    pub(super) fn decide(&mut self, outcome: PairDecided, env: &Env<'_>, effects: &mut Effects) {
        let Some(pending) = self.pairing.pending.take() else { return };
        let told = outcome_of(&outcome);
        effects.events.push(Event::PairingEnded { request: pending.id, outcome: told });
        let until = env.now.unix_after(env.policy.approval_ttl);
        let decided = &mut self.pairing.decided;
        decided.push(DecidedPair { id: pending.id, commit: pending.commit(), outcome, until });
        let excess = decided.len().saturating_sub(DECIDED_MAX);
        decided.drain(..excess);
    }

    /// Adds a device with its first token.
    pub(super) fn add_device(
        &mut self,
        device: DeviceRecord,
        signature: Option<(Bytes64, u64)>,
        nonce: [u8; 16],
    ) -> PairDecided {
        let (member, issued_at) = (device.member, device.added_at);
        self.devices.push(device);
        let (signature, approval_expires_at) =
            signature.map_or((None, 0), |(signature, at)| (Some(signature), at));
        PairDecided::Paired { member, nonce, issued_at, signature, approval_expires_at }
    }
}

/// A device that is paired now.
pub(super) fn new_device(
    pending: &PendingPair,
    key: Option<PublicKey>,
    nonce: &[u8; 16],
    env: &mut Env<'_>,
) -> DeviceRecord {
    let now = env.now.unix_ms;
    DeviceRecord {
        member: MemberId::from_bytes(draw(env.entropy)),
        info: pending.device.clone(),
        key,
        token: TokenState {
            generation: 1,
            nonce: token_hash(env.hash_key, nonce),
            committed_at: now,
        },
        added_at: now,
        seen_at: now,
        revoked_at: None,
        revoked_because: None,
        lost: Vec::new(),
        unknown: Unknown::new(),
    }
}

pub(super) fn outcome_of(decided: &PairDecided) -> PairOutcome {
    match decided {
        PairDecided::Paired { .. } => PairOutcome::Paired,
        PairDecided::Failed(error) => match error {
            PairError::Conflict => PairOutcome::Conflict,
            PairError::Mismatch => PairOutcome::Mismatch,
            PairError::DeviceLimit { .. } => PairOutcome::DeviceLimit,
            PairError::HostOffline | PairError::HostLeft => PairOutcome::HostGone,
            PairError::ApprovalExpired | PairError::CodeExpired => PairOutcome::Expired,
            PairError::CodeWrong
            | PairError::CodeUsed
            | PairError::CodeBurnt
            | PairError::Rejected
            | PairError::RequestUnknown
            | PairError::TooManyWaiters
            | PairError::JoinInProgress { .. } => PairOutcome::Rejected,
        },
    }
}

impl Session {
    /// A step of a pair request that is new here gets its time, by the clock of this node.
    pub(super) fn note_pairing(&mut self, env: &Env<'_>) {
        let Some(pending) = &self.record.pairing.pending else {
            self.pair_deadline = None;
            return;
        };
        let step = pending.step();
        if self.pair_deadline.is_some_and(|(known, _)| known == step) {
            return;
        }
        let left = pending.expires_at.saturating_sub(env.now.unix_ms);
        let left = Duration::from_millis(left).min(env.policy.approval_ttl);
        let time = match pending.stage {
            PairStage::Committed { .. } => env.policy.nonce_timeout,
            PairStage::Nonced { .. } | PairStage::Waiting { .. } => left,
            PairStage::Joining { .. } => left.max(super::compat::WAIT_MIN),
        };
        self.pair_deadline = Some((step, env.now.mono + time));
    }

    pub(super) fn new_code(&self, waiter: WaiterId, env: &mut Env<'_>, effects: &mut Effects) {
        let mut record = self.draft(env);
        let (lease, made) = make_lease(env);
        record.lease = Some(lease);
        effects.save = Some(record);
        effects.events.push(Event::CodeMade);
        effects.then.push(Effect::Answer { waiter, answer: Ok(PairAnswer::Code(made)) });
    }

    pub(super) fn start_pair(
        &self,
        waiter: WaiterId,
        start: &StartPair,
        address: String,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.check_lease(start, env, effects) {
            return answer(waiter, Err(error), effects);
        }
        let mut record = self.draft(env);
        if let Some(pending) = &self.record.pairing.pending {
            if pending.commit() == Some(start.commit) {
                let waiting = Waiting::Start(pending.id);
                return effects.then.push(Effect::Feed(Input::Await { waiter, waiting }));
            }
            record.decide(PairDecided::Failed(PairError::Conflict), env, effects);
            effects.save = Some(record);
            effects.then.push(Effect::Feed(Input::TellHost(Box::new(conflict(&address)))));
            return answer(waiter, Err(PairError::Conflict), effects);
        }
        let decided = self.decided(env).find(|d| d.commit == Some(start.commit));
        if let Some(decided) = decided {
            return answer(waiter, Err(failure_of(&decided.outcome)), effects);
        }
        if self.record.lease.is_none_or(|lease| lease.taken) {
            return answer(waiter, Err(PairError::CodeUsed), effects);
        }
        if let Err(error) = check_capacity(&self.record, env) {
            return answer(waiter, Err(error), effects);
        }
        if !self.is_connected(Principal::Host) {
            return answer(waiter, Err(PairError::HostOffline), effects);
        }
        if let Some(lease) = record.lease.as_mut() {
            lease.taken = true;
        }
        let id = RequestId::from_bytes(draw(env.entropy));
        record.pairing.pending = Some(PendingPair {
            id,
            device: start.device.clone(),
            address,
            stage: PairStage::Committed { commit: start.commit, typed: start.code.is_some() },
            expires_at: env.now.unix_after(env.policy.nonce_timeout),
        });
        effects.events.push(Event::PairingStarted { request: id });
        effects.save = Some(record);
        let waiting = Waiting::Start(id);
        effects.then.push(Effect::Feed(Input::Await { waiter, waiting }));
    }

    /// Decided requests that are still remembered.
    fn decided(&self, env: &Env<'_>) -> impl Iterator<Item = &DecidedPair> + use<'_> {
        let now = env.now.unix_ms;
        self.record.pairing.decided.iter().filter(move |decided| decided.until > now)
    }

    fn check_lease(
        &self,
        start: &StartPair,
        env: &Env<'_>,
        effects: &mut Effects,
    ) -> Result<(), PairError> {
        let key = match (&start.rendezvous, &start.code) {
            (Some(rendezvous), None) => Some(LeaseKey::rendezvous(*rendezvous, env.hash_key)),
            (None, Some(code)) => LeaseKey::code(code, env.hash_key),
            _ => None,
        };
        let lease = self.record.lease.as_ref().ok_or(PairError::CodeExpired)?;
        let matches = match key {
            Some(LeaseKey::Rendezvous(hash)) => hash.matches(&lease.rendezvous),
            Some(LeaseKey::Desktop(_) | LeaseKey::Request(_)) | None => false,
            Some(LeaseKey::Code { hash, .. }) => {
                if lease.tries >= env.policy.code_tries {
                    return Err(PairError::CodeBurnt);
                }
                hash.matches(&lease.code)
            }
        };
        if matches {
            let pending = self.record.pairing.pending.is_some();
            let live = env.now.unix_ms < lease.expires_at || pending;
            return if live { Ok(()) } else { Err(PairError::CodeExpired) };
        }
        if start.code.is_none() {
            return Err(PairError::CodeExpired);
        }
        let mut record = self.draft(env);
        let tries = lease.tries + 1;
        if let Some(lease) = &mut record.lease {
            lease.tries = tries;
        }
        let burnt = tries >= env.policy.code_tries;
        effects.events.push(Event::CodeMissed { burnt });
        effects.save = Some(record);
        Err(if burnt { PairError::CodeBurnt } else { PairError::CodeWrong })
    }

    /// The pending request, if it is this one.
    fn pending(&self, id: RequestId) -> Option<&PendingPair> {
        self.record.pairing.pending.as_ref().filter(|pending| pending.id == id)
    }

    /// A call waits for a step of a request, unless that is there already.
    pub(super) fn wait_for(
        &mut self,
        waiter: WaiterId,
        waiting: Waiting,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let theirs = self.waiters.values().filter(|w| w.request() == waiting.request()).count();
        if theirs >= WAITERS_MAX {
            return answer(waiter, Err(PairError::TooManyWaiters), effects);
        }
        self.waiters.insert(waiter, waiting);
        self.answer_waiters(env, effects);
    }

    /// Answers the calls whose step is there.
    fn answer_waiters(&mut self, env: &Env<'_>, effects: &mut Effects) {
        let waiters = std::mem::take(&mut self.waiters);
        for (waiter, waiting) in waiters {
            match self.answer_of(waiting, env) {
                Some(given) => answer(waiter, given, effects),
                None => {
                    self.waiters.insert(waiter, waiting);
                }
            }
        }
    }

    /// What a call can be answered now.
    fn answer_of(&self, waiting: Waiting, env: &Env<'_>) -> Option<Result<PairAnswer, PairError>> {
        let id = waiting.request();
        if let Some(decided) = self.record.pairing.decided.iter().find(|d| d.id == id) {
            return Some(match waiting {
                Waiting::Start(_) => Err(failure_of(&decided.outcome)),
                Waiting::Decision(_) => self.answer_decided(&decided.outcome, env),
            });
        }
        let Some(pending) = self.pending(id) else { return Some(Err(PairError::RequestUnknown)) };
        match (waiting, &pending.stage) {
            (
                Waiting::Start(_),
                PairStage::Nonced { nonce, rendezvous, .. }
                | PairStage::Waiting { nonce, rendezvous, .. },
            ) => {
                let started = PairStarted {
                    request: id,
                    host_name: self.record.host.name.clone(),
                    host_public_key: self.record.host.key?,
                    host_nonce: *nonce,
                    rendezvous: *rendezvous,
                    expires_at: pending.expires_at,
                };
                Some(Ok(PairAnswer::Started(started)))
            }
            (Waiting::Start(_) | Waiting::Decision(_), _) => None,
        }
    }

    /// The token is made anew from its nonce: the same bytes for everybody who asks.
    fn answer_decided(
        &self,
        decided: &PairDecided,
        env: &Env<'_>,
    ) -> Result<PairAnswer, PairError> {
        match decided {
            PairDecided::Failed(error) => Err(*error),
            PairDecided::Paired { member, nonce, issued_at, signature, approval_expires_at } => {
                let session = self.record.id;
                let token = env.keys.mint(&Claims {
                    session,
                    principal: Principal::Member(*member),
                    issued_at: *issued_at,
                    generation: 1,
                    nonce: *nonce,
                });
                Ok(match signature {
                    Some(signature) => PairAnswer::Paired(Paired {
                        session,
                        member: *member,
                        token,
                        signature: *signature,
                        approval_expires_at: *approval_expires_at,
                    }),
                    None => PairAnswer::Joined(Joined { device: *member, token }),
                })
            }
        }
    }

    /// What is stored of pair requests changed: who waits for it is told.
    pub(super) fn pairing_changed(
        &mut self,
        old: &PairingRecord,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let known = |id: RequestId| old.decided.iter().any(|decided| decided.id == id);
        let decided = self.record.pairing.decided.iter().filter(|decided| !known(decided.id));
        let ended: Vec<PairEnded> = decided
            // The compat protocol has no such frame.
            .filter(|decided| decided.commit.is_some())
            .map(|decided| {
                let member = match decided.outcome {
                    PairDecided::Paired { member, .. } => Some(member),
                    PairDecided::Failed(_) => None,
                };
                PairEnded { id: decided.id, outcome: outcome_of(&decided.outcome), member }
            })
            .collect();
        if let Some(host) = self.host().map(|host| host.id) {
            for ended in ended {
                self.control(host, ended, effects);
            }
        }
        if self.record.pairing.pending != old.pending {
            let step = |pairing: &PairingRecord| pairing.pending.as_ref().map(PendingPair::step);
            if step(old) == step(&self.record.pairing) {
                self.tell_host_of_waiting(effects);
            } else {
                self.tell_host_of_pairing(effects);
            }
        }
        self.answer_waiters(env, effects);
        self.still_waiting(effects);
    }

    /// Another node said that nobody waits any more, and somebody waits here.
    fn still_waiting(&self, effects: &mut Effects) {
        let Some(pending) = &self.record.pairing.pending else { return };
        let gone = matches!(pending.stage, PairStage::Waiting { present: false, .. });
        if gone && self.has_waiter(Waiting::Decision(pending.id)) {
            let request = pending.id;
            effects.then.push(Effect::Feed(Input::Abandoned { request }));
        }
    }

    fn has_waiter(&self, waiting: Waiting) -> bool {
        self.waiters.values().any(|w| *w == waiting)
    }

    /// Tells a host here what it must do next about the pending request; also after it reconnects.
    pub(super) fn tell_host_of_pairing(&mut self, effects: &mut Effects) {
        let Some(pending) = self.record.pairing.pending.clone() else { return };
        let Some(host) = self.host().map(|host| host.id) else { return };
        let PendingPair { id, device, address, expires_at, .. } = pending;
        match pending.stage {
            PairStage::Committed { commit, typed } => {
                self.control(host, PairCommitted { id, device, address, commit, typed }, effects);
            }
            PairStage::Nonced { .. } => {}
            PairStage::Waiting { key, opening, .. } => {
                let asked = PairRequested { id, device, address, key, opening, expires_at };
                self.control(host, asked, effects);
            }
            PairStage::Joining { .. } => self.tell_pending(effects),
        }
    }

    pub(super) fn pair_nonce(&self, frame: &PairNonce, env: &Env<'_>, effects: &mut Effects) {
        let Some(pending) = self.pending(frame.id) else { return };
        let PairStage::Committed { commit, .. } = pending.stage else { return };
        let mut record = self.draft(env);
        if let Some(pending) = &mut record.pairing.pending {
            let (nonce, rendezvous) = (frame.nonce, frame.rendezvous);
            pending.stage = PairStage::Nonced { commit, nonce, rendezvous };
            pending.expires_at = env.now.unix_after(env.policy.approval_ttl);
        }
        effects.save = Some(record);
    }

    pub(super) fn reveal_pair(
        &self,
        waiter: WaiterId,
        id: RequestId,
        reveal: &RevealPair,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let commit = commitment(&reveal.public_key, &reveal.opening);
        let mut decided = self.decided(env);
        if let Some(decided) = decided.find(|decided| decided.id == id) {
            let own = decided.commit == Some(commit);
            let given = match &decided.outcome {
                PairDecided::Paired { .. } if !own => Err(PairError::Conflict),
                PairDecided::Paired { .. } | PairDecided::Failed(_) => {
                    self.answer_decided(&decided.outcome, env)
                }
            };
            return answer(waiter, given, effects);
        }
        let Some(pending) = self.pending(id) else {
            return answer(waiter, Err(PairError::RequestUnknown), effects);
        };
        let mut record = self.draft(env);
        if pending.commit() != Some(commit) {
            record.decide(PairDecided::Failed(PairError::Mismatch), env, effects);
            effects.save = Some(record);
            return answer(waiter, Err(PairError::Mismatch), effects);
        }
        let (key, opening, present) = (reveal.public_key, reveal.opening, true);
        let stage = match pending.stage {
            PairStage::Committed { .. } | PairStage::Joining { .. } => {
                return answer(waiter, Err(PairError::RequestUnknown), effects);
            }
            PairStage::Nonced { nonce, rendezvous, .. }
            | PairStage::Waiting { nonce, rendezvous, .. } => {
                PairStage::Waiting { commit, nonce, rendezvous, key, opening, present }
            }
        };
        if stage != pending.stage
            && let Some(pending) = &mut record.pairing.pending
        {
            pending.stage = stage;
            effects.save = Some(record);
        }
        let waiting = Waiting::Decision(id);
        effects.then.push(Effect::Feed(Input::Await { waiter, waiting }));
    }

    fn tell_host_of_waiting(&mut self, effects: &mut Effects) {
        let Some(pending) = &self.record.pairing.pending else { return };
        let PairStage::Waiting { present: waiting, .. } = pending.stage else { return };
        let id = pending.id;
        if let Some(host) = self.host().map(|host| host.id) {
            self.control(host, PairWaiting { id, waiting }, effects);
        }
    }

    pub(super) fn waiter_gone(&mut self, waiter: WaiterId, effects: &mut Effects) {
        let Some(Waiting::Decision(request)) = self.waiters.remove(&waiter) else { return };
        if !self.has_waiter(Waiting::Decision(request)) {
            effects.then.push(Effect::Feed(Input::Abandoned { request }));
        }
    }

    /// Whether somebody waits here for the decision is stored, for the host to know.
    pub(super) fn abandoned(&self, request: RequestId, env: &Env<'_>, effects: &mut Effects) {
        let waits = self.has_waiter(Waiting::Decision(request));
        let mut record = self.draft(env);
        let Some(pending) = record.pairing.pending.as_mut().filter(|p| p.id == request) else {
            return;
        };
        match &mut pending.stage {
            PairStage::Waiting { present, .. } if *present != waits => *present = waits,
            // A phone that hangs up makes room for the next one.
            PairStage::Joining { .. } if !waits => {
                let outcome = PairOutcome::Expired;
                effects.events.push(Event::PairingEnded { request, outcome });
                record.pairing.pending = None;
            }
            PairStage::Committed { .. }
            | PairStage::Nonced { .. }
            | PairStage::Waiting { .. }
            | PairStage::Joining { .. } => return,
        }
        effects.save = Some(record);
    }

    pub(super) fn pair_decision(
        &mut self,
        decision: &PairDecision,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let pending = self.pending(decision.id).cloned();
        let waiting = pending.and_then(|pending| match pending.stage {
            PairStage::Waiting { key, present, .. } => Some((pending, key, present)),
            PairStage::Committed { .. } | PairStage::Nonced { .. } | PairStage::Joining { .. } => {
                None
            }
        });
        let Some((pending, key, present)) = waiting else {
            return self.tell_host_unknown_pairing(decision.id, effects);
        };
        let outcome = match self.check_decision(decision, &pending, &key) {
            Err(error) => {
                if error == PairError::Mismatch {
                    let cause = "decision signature".to_owned();
                    effects.events.push(Event::ProtocolError { cause });
                }
                Err(error)
            }
            Ok(()) if !present => return self.tell_host_of_waiting(effects),
            Ok(()) => check_capacity(&self.record, env),
        };
        let mut record = self.draft(env);
        let decided = if let Err(error) = outcome {
            PairDecided::Failed(error)
        } else {
            let nonce = draw(env.entropy);
            let device = new_device(&pending, Some(key), &nonce, env);
            let signed = (decision.signature, decision.expires_at);
            record.add_device(device, Some(signed), nonce)
        };
        record.decide(decided, env, effects);
        effects.save = Some(record);
    }

    fn check_decision(
        &self,
        decision: &PairDecision,
        pending: &PendingPair,
        key: &PublicKey,
    ) -> Result<(), PairError> {
        let transcript =
            decision_transcript(decision.id, decision.approved, &decision.key, decision.expires_at);
        let host = self.record.host.key;
        let signed = decision.key == key_hash(key)
            && decision.expires_at == pending.expires_at
            && host.is_some_and(|k| verify_signature(&k.sign, &transcript, &decision.signature));
        if !signed {
            return Err(PairError::Mismatch);
        }
        if decision.approved { Ok(()) } else { Err(PairError::Rejected) }
    }

    fn tell_host_unknown_pairing(&mut self, id: RequestId, effects: &mut Effects) {
        if let Some(host) = self.host().map(|host| host.id) {
            let outcome = PairOutcome::Expired;
            self.control(host, PairEnded { id, outcome, member: None }, effects);
        }
    }

    /// The pending request waited too long.
    pub(super) fn pair_overdue(&self, env: &Env<'_>, effects: &mut Effects) {
        let overdue = self.pair_deadline.is_some_and(|(_, at)| at <= env.now.mono);
        let Some(pending) = self.record.pairing.pending.as_ref().filter(|_| overdue) else {
            return;
        };
        let error = match pending.stage {
            PairStage::Committed { .. } => PairError::HostOffline,
            PairStage::Nonced { .. } | PairStage::Waiting { .. } | PairStage::Joining { .. } => {
                PairError::ApprovalExpired
            }
        };
        let mut record = self.draft(env);
        record.decide(PairDecided::Failed(error), env, effects);
        effects.save = Some(record);
    }

    /// How many HTTP calls wait for this session's pairing.
    pub fn waiters(&self) -> usize {
        self.waiters.len()
    }
}

/// What a call is told that starts a request which was decided already.
fn failure_of(decided: &PairDecided) -> PairError {
    match decided {
        PairDecided::Paired { .. } => PairError::CodeUsed,
        PairDecided::Failed(error) => *error,
    }
}

fn conflict(address: &str) -> Frame {
    let text = format!(
        "a second device ({address}) used the same pairing code, so both were denied; \
         show a new code where nobody else can see it"
    );
    Notice { code: "pair_conflict".to_owned(), text }.into()
}

fn answer(waiter: WaiterId, answer: Result<PairAnswer, PairError>, effects: &mut Effects) {
    effects.then.push(Effect::Answer { waiter, answer });
}

pub(super) fn check_capacity(record: &SessionRecord, env: &Env<'_>) -> Result<(), PairError> {
    let (used, allowed) = (record.active_devices().count(), env.policy.devices_max);
    if used >= allowed { Err(PairError::DeviceLimit { used, allowed }) } else { Ok(()) }
}

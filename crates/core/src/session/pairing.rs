//! Pairing: join lease, commitment, host's nonce, opening, approval.
//!
//! One request at a time. A second key within the wait denies both. What was decided is remembered
//! until the request's expiry, so a phone whose answer got lost asks again and gets the same one.

use std::{collections::BTreeSet, time::Instant};

use belay_wire::{
    Bytes32, CODE_CHARS, MemberId, Notice, PairCommitted, PairDecision, PairEnded, PairNonce,
    PairRequested, PairWaiting, PublicKey, RendezvousId, RequestId, Secret,
    pair::{CodeMade, DeviceInfo, PairOutcome, PairStarted, Paired, RevealPair, StartPair},
    proof::{commitment, decision_transcript, key_hash},
};

use super::{
    Effect, Effects, Event, Input, Session,
    effect::{PairAnswer, PairError, WaiterId},
};
use crate::{
    DeviceRecord, Env, HashKey, LeaseRecord, TokenState, Unknown,
    crypto::{SecretHash, verify_signature},
    env::draw,
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

#[derive(Debug, Clone)]
enum Stage {
    /// The host has not answered the commitment yet.
    Committed,
    /// Waiting for the phone to open its commitment.
    Nonced { nonce: Bytes32, rendezvous: RendezvousId },
    /// Waiting for the person at the desktop.
    Waiting { nonce: Bytes32, rendezvous: RendezvousId, key: PublicKey, opening: Bytes32 },
}

/// The pending pair request.
#[derive(Debug, Clone)]
pub(super) struct PairRequest {
    id: RequestId,
    device: DeviceInfo,
    address: String,
    commit: Bytes32,
    typed: bool,
    stage: Stage,
    deadline: Instant,
    /// Unix milliseconds.
    expires_at: u64,
    start_waiters: BTreeSet<WaiterId>,
    reveal_waiters: BTreeSet<WaiterId>,
}

impl PairRequest {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// A decided request.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    id: RequestId,
    commit: Bytes32,
    answer: Result<Paired, PairError>,
    pub(super) until: Instant,
}

impl Session {
    pub(super) fn make_lease(&mut self, env: &mut Env<'_>) -> CodeMade {
        let rendezvous = RendezvousId::from_bytes(draw(env.entropy));
        let code: [u8; CODE_CHARS] = draw(env.entropy);
        let code = code.map(|b| ALPHABET[usize::from(b & 31)]);
        let expires_at = env.now.unix_after(env.policy.code_ttl);
        self.record.lease = Some(LeaseRecord {
            rendezvous: env.hash_key.hash("rendezvous", rendezvous.as_bytes()),
            code: env.hash_key.hash("code", &code),
            code_prefix: code[..3].try_into().expect("codes have eight characters"),
            expires_at,
            tries: 0,
            taken: false,
        });
        let code = String::from_utf8_lossy(&code).into_owned();
        CodeMade { rendezvous, code: Secret::new(code), expires_at }
    }

    pub(super) fn new_code(&mut self, waiter: WaiterId, env: &mut Env<'_>, effects: &mut Effects) {
        let made = self.make_lease(env);
        effects.save = Some(self.next_version());
        effects.events.push(Event::CodeMade);
        effects.then.push(Effect::Answer { waiter, answer: Ok(PairAnswer::Code(made)) });
    }

    pub(super) fn start_pair(
        &mut self,
        waiter: WaiterId,
        start: StartPair,
        address: String,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        if let Err(error) = self.check_lease(&start, env, effects) {
            return answer(waiter, Err(error), effects);
        }
        if let Some(request) = &mut self.pairing {
            if request.commit == start.commit {
                return self.join_start(waiter, effects);
            }
            self.end_pairing(PairOutcome::Conflict, Err(PairError::Conflict), env, effects);
            self.warn_of_conflict(&address, effects);
            return answer(waiter, Err(PairError::Conflict), effects);
        }
        if let Some(remembered) = self.outcomes.iter().find(|o| o.commit == start.commit) {
            let error = remembered.answer.as_ref().err().copied();
            return answer(waiter, Err(error.unwrap_or(PairError::CodeUsed)), effects);
        }
        if self.record.lease.is_none_or(|lease| lease.taken) {
            return answer(waiter, Err(PairError::CodeUsed), effects);
        }
        if let Err(error) = check_capacity(&self.record, env) {
            return answer(waiter, Err(error), effects);
        }
        if self.connection_of(Principal::Host).is_none() {
            return answer(waiter, Err(PairError::HostOffline), effects);
        }
        if let Some(lease) = self.record.lease.as_mut() {
            lease.taken = true;
        }
        let request = PairRequest {
            id: RequestId::from_bytes(draw(env.entropy)),
            device: start.device,
            address,
            commit: start.commit,
            typed: start.code.is_some(),
            stage: Stage::Committed,
            deadline: env.now.mono + env.policy.nonce_timeout,
            expires_at: env.now.unix_after(env.policy.nonce_timeout),
            start_waiters: BTreeSet::from([waiter]),
            reveal_waiters: BTreeSet::new(),
        };
        effects.events.push(Event::PairingStarted { request: request.id });
        self.pairing = Some(request);
        effects.save = Some(self.next_version());
        self.tell_host_of_pairing(effects);
    }

    fn join_start(&mut self, waiter: WaiterId, effects: &mut Effects) {
        let host = &self.record.host;
        let Some(request) = &mut self.pairing else { return };
        let Some(host_public_key) = host.key else { return };
        match &request.stage {
            Stage::Committed if request.start_waiters.len() >= WAITERS_MAX => {
                answer(waiter, Err(PairError::TooManyWaiters), effects);
            }
            Stage::Committed => {
                request.start_waiters.insert(waiter);
            }
            Stage::Nonced { nonce, rendezvous } | Stage::Waiting { nonce, rendezvous, .. } => {
                let started = PairStarted {
                    request: request.id,
                    host_name: host.name.clone(),
                    host_public_key,
                    host_nonce: *nonce,
                    rendezvous: *rendezvous,
                    expires_at: request.expires_at,
                };
                answer(waiter, Ok(PairAnswer::Started(started)), effects);
            }
        }
    }

    fn check_lease(
        &mut self,
        start: &StartPair,
        env: &Env<'_>,
        effects: &mut Effects,
    ) -> Result<(), PairError> {
        let key = match (&start.rendezvous, &start.code) {
            (Some(rendezvous), None) => Some(LeaseKey::rendezvous(*rendezvous, env.hash_key)),
            (None, Some(code)) => LeaseKey::code(code, env.hash_key),
            _ => None,
        };
        let lease = self.record.lease.as_mut().ok_or(PairError::CodeExpired)?;
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
            let live = env.now.unix_ms < lease.expires_at || self.pairing.is_some();
            return if live { Ok(()) } else { Err(PairError::CodeExpired) };
        }
        if start.code.is_none() {
            return Err(PairError::CodeExpired);
        }
        lease.tries += 1;
        let burnt = lease.tries >= env.policy.code_tries;
        effects.events.push(Event::CodeMissed { burnt });
        effects.save = Some(self.next_version());
        Err(if burnt { PairError::CodeBurnt } else { PairError::CodeWrong })
    }

    /// Tells the host what it must do next about the pending request; also after it reconnects.
    pub(super) fn tell_host_of_pairing(&mut self, effects: &mut Effects) {
        let Some(request) = &self.pairing else { return };
        let (id, device, address) = (request.id, request.device.clone(), request.address.clone());
        let frame: Option<belay_wire::Frame> = match &request.stage {
            Stage::Committed => {
                let (commit, typed) = (request.commit, request.typed);
                Some(PairCommitted { id, device, address, commit, typed }.into())
            }
            Stage::Nonced { .. } => None,
            Stage::Waiting { key, opening, .. } => {
                let (key, opening, expires_at) = (*key, *opening, request.expires_at);
                Some(PairRequested { id, device, address, key, opening, expires_at }.into())
            }
        };
        if let (Some(frame), Some(host)) = (frame, self.host()) {
            let _ = host.send(frame);
            let id = host.id;
            effects.wake.push(id);
        }
    }

    pub(super) fn pair_nonce(&mut self, frame: &PairNonce, env: &Env<'_>, effects: &mut Effects) {
        let Some(request) = self.pairing.as_mut().filter(|r| r.id == frame.id) else { return };
        if !matches!(request.stage, Stage::Committed) {
            return;
        }
        let (nonce, rendezvous) = (frame.nonce, frame.rendezvous);
        request.stage = Stage::Nonced { nonce, rendezvous };
        request.deadline = env.now.mono + env.policy.approval_ttl;
        request.expires_at = env.now.unix_after(env.policy.approval_ttl);
        for waiter in std::mem::take(&mut request.start_waiters) {
            self.join_start(waiter, effects);
        }
    }

    pub(super) fn reveal_pair(
        &mut self,
        waiter: WaiterId,
        id: RequestId,
        reveal: &RevealPair,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let commit = commitment(&reveal.public_key, &reveal.opening);
        if let Some(remembered) = self.outcomes.iter().find(|o| o.id == id) {
            let given = match &remembered.answer {
                Ok(paired) if remembered.commit == commit => Ok(PairAnswer::Paired(paired.clone())),
                Ok(_) => Err(PairError::Conflict),
                Err(error) => Err(*error),
            };
            return answer(waiter, given, effects);
        }
        let Some(request) = self.pairing.as_mut().filter(|r| r.id == id) else {
            return answer(waiter, Err(PairError::RequestUnknown), effects);
        };
        if request.commit != commit {
            self.end_pairing(PairOutcome::Mismatch, Err(PairError::Mismatch), env, effects);
            return answer(waiter, Err(PairError::Mismatch), effects);
        }
        if request.reveal_waiters.len() >= WAITERS_MAX {
            return answer(waiter, Err(PairError::TooManyWaiters), effects);
        }
        match &request.stage {
            Stage::Committed => answer(waiter, Err(PairError::RequestUnknown), effects),
            Stage::Nonced { nonce, rendezvous } => {
                let (nonce, rendezvous) = (*nonce, *rendezvous);
                let (key, opening) = (reveal.public_key, reveal.opening);
                request.stage = Stage::Waiting { nonce, rendezvous, key, opening };
                request.reveal_waiters.insert(waiter);
                self.tell_host_of_pairing(effects);
            }
            Stage::Waiting { .. } => {
                let first = request.reveal_waiters.is_empty();
                request.reveal_waiters.insert(waiter);
                if first {
                    self.tell_host_of_waiting(effects);
                }
            }
        }
    }

    fn tell_host_of_waiting(&mut self, effects: &mut Effects) {
        let Some(request) = &self.pairing else { return };
        let (id, waiting) = (request.id, !request.reveal_waiters.is_empty());
        if let Some(host) = self.host() {
            let _ = host.send(PairWaiting { id, waiting });
            let id = host.id;
            effects.wake.push(id);
        }
    }

    pub(super) fn waiter_gone(&mut self, waiter: WaiterId, effects: &mut Effects) {
        self.join_waiter_gone(waiter, effects);
        let Some(request) = &mut self.pairing else { return };
        request.start_waiters.remove(&waiter);
        if request.reveal_waiters.remove(&waiter) && request.reveal_waiters.is_empty() {
            self.tell_host_of_waiting(effects);
        }
    }

    pub(super) fn pair_decision(
        &mut self,
        decision: &PairDecision,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(request) = self.pairing.as_ref().filter(|r| r.id == decision.id) else {
            return self.tell_host_unknown_pairing(decision.id, effects);
        };
        let Stage::Waiting { key, .. } = request.stage else {
            return self.tell_host_unknown_pairing(decision.id, effects);
        };
        let transcript =
            decision_transcript(decision.id, decision.approved, &decision.key, decision.expires_at);
        let signed = decision.key == key_hash(&key)
            && decision.expires_at == request.expires_at
            && self
                .record
                .host
                .key
                .is_some_and(|k| verify_signature(&k.sign, &transcript, &decision.signature));
        if !signed {
            effects.events.push(Event::ProtocolError { cause: "decision signature".to_owned() });
            return self.end_pairing(PairOutcome::Mismatch, Err(PairError::Mismatch), env, effects);
        }
        if !decision.approved {
            return self.end_pairing(PairOutcome::Rejected, Err(PairError::Rejected), env, effects);
        }
        if request.reveal_waiters.is_empty() {
            return self.tell_host_of_waiting(effects);
        }
        if let Err(error) = check_capacity(&self.record, env) {
            return self.end_pairing(PairOutcome::DeviceLimit, Err(error), env, effects);
        }
        let paired = self.add_device(key, decision, env);
        let member = paired.member;
        self.end_pairing(PairOutcome::Paired, Ok(paired), env, effects);
        self.read_new_member(member, env.policy);
        self.mark_devices(effects);
    }

    fn tell_host_unknown_pairing(&mut self, id: RequestId, effects: &mut Effects) {
        if let Some(host) = self.host() {
            let outcome = PairOutcome::Expired;
            let _ = host.send(PairEnded { id, outcome, member: None });
            let id = host.id;
            effects.wake.push(id);
        }
    }

    fn add_device(&mut self, key: PublicKey, decision: &PairDecision, env: &mut Env<'_>) -> Paired {
        let member = MemberId::from_bytes(draw(env.entropy));
        let nonce = draw(env.entropy);
        let claims = Claims {
            session: self.record.id,
            principal: Principal::Member(member),
            issued_at: env.now.unix_ms,
            generation: 1,
            nonce,
        };
        let info = self.pairing.as_ref().map(|r| r.device.clone());
        self.record.devices.push(DeviceRecord {
            member,
            info: info.unwrap_or(DeviceInfo { name: String::new(), platform: String::new() }),
            key: Some(key),
            token: TokenState {
                generation: 1,
                nonce: token_hash(env.hash_key, &nonce),
                committed_at: env.now.unix_ms,
            },
            added_at: env.now.unix_ms,
            seen_at: env.now.unix_ms,
            revoked_at: None,
            revoked_because: None,
            lost: Vec::new(),
            unknown: Unknown::new(),
        });
        Paired {
            session: self.record.id,
            member,
            token: env.keys.mint(&claims),
            signature: decision.signature,
            approval_expires_at: decision.expires_at,
        }
    }

    /// Ends the pending request: answers who waits, tells the host, remembers the answer.
    fn end_pairing(
        &mut self,
        outcome: PairOutcome,
        result: Result<Paired, PairError>,
        env: &Env<'_>,
        effects: &mut Effects,
    ) {
        let Some(request) = self.pairing.take() else { return };
        effects.events.push(Event::PairingEnded { request: request.id, outcome });
        effects.save = Some(self.next_version());
        let reveal = result.clone().map(PairAnswer::Paired);
        for waiter in request.reveal_waiters {
            answer(waiter, reveal.clone(), effects);
        }
        let start = result.as_ref().err().copied().unwrap_or(PairError::CodeUsed);
        for waiter in request.start_waiters {
            answer(waiter, Err(start), effects);
        }
        let member = result.as_ref().ok().map(|p| p.member);
        self.outcomes.push(Remembered {
            id: request.id,
            commit: request.commit,
            answer: result,
            until: env.now.mono + env.policy.approval_ttl,
        });
        let told = Box::new(PairEnded { id: request.id, outcome, member }.into());
        effects.then.push(Effect::Feed(Input::TellHost(told)));
    }

    fn warn_of_conflict(&mut self, address: &str, effects: &mut Effects) {
        if let Some(host) = self.host() {
            let _ = host.send(Notice {
                code: "pair_conflict".to_owned(),
                text: format!(
                    "a second device ({address}) used the same pairing code, so both were denied; \
                     show a new code where nobody else can see it"
                ),
            });
            let id = host.id;
            effects.wake.push(id);
        }
    }

    pub(super) fn expire_pairing(&mut self, env: &Env<'_>, effects: &mut Effects) {
        let now = env.now.mono;
        self.outcomes.retain(|o| o.until > now);
        let Some(request) = self.pairing.as_ref().filter(|r| r.deadline <= now) else { return };
        let (outcome, error) = match request.stage {
            Stage::Committed => (PairOutcome::HostGone, PairError::HostOffline),
            Stage::Nonced { .. } | Stage::Waiting { .. } => {
                (PairOutcome::Expired, PairError::ApprovalExpired)
            }
        };
        self.end_pairing(outcome, Err(error), env, effects);
    }

    /// Tells whether a pairing is pending or remembered here.
    pub fn knows_pairing(&self, id: RequestId) -> bool {
        self.pairing.as_ref().is_some_and(|r| r.id == id)
            || self.outcomes.iter().any(|o| o.id == id)
    }

    /// How many HTTP calls wait for this session's pairing.
    pub fn waiters(&self) -> usize {
        self.pairing.as_ref().map_or(0, |r| r.start_waiters.len() + r.reveal_waiters.len())
    }
}

fn answer(waiter: WaiterId, answer: Result<PairAnswer, PairError>, effects: &mut Effects) {
    effects.then.push(Effect::Answer { waiter, answer });
}

fn check_capacity(record: &crate::SessionRecord, env: &Env<'_>) -> Result<(), PairError> {
    let (used, allowed) = (record.active_devices().count(), env.policy.devices_max);
    if used >= allowed { Err(PairError::DeviceLimit { used, allowed }) } else { Ok(()) }
}

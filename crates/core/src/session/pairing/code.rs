//! The join lease: a rendezvous for the QR, and a code that is typed.

use belay_wire::{
    CODE_CHARS, RendezvousId, RequestId, Secret,
    pair::{CodeMade, StartPair},
};

use super::super::{Effect, Effects, Event, PairAnswer, PairError, Session, WaiterId};
use crate::{Env, HashKey, LeaseRecord, crypto::SecretHash, env::draw};

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

pub(in super::super) fn make_lease(env: &mut Env<'_>) -> (LeaseRecord, CodeMade) {
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

impl Session {
    pub(in super::super) fn new_code(
        &self,
        waiter: WaiterId,
        env: &mut Env<'_>,
        effects: &mut Effects,
    ) {
        let mut record = self.draft(env);
        let (lease, made) = make_lease(env);
        record.lease = Some(lease);
        effects.save = Some(record);
        effects.events.push(Event::CodeMade);
        effects.then.push(Effect::Answer { waiter, answer: Ok(PairAnswer::Code(made)) });
    }

    pub(super) fn check_lease(
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
}

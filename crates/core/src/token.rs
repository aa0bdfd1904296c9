//! Self-authenticating tokens and the table that judges them.
//!
//! A token is version, key id, kind, session, member, issue time, generation, 128-bit nonce and a
//! MAC by a key that is not in the store. The MAC is verified before anything is read.

mod judge;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use belay_wire::{MemberId, Secret, SessionId};
use subtle::ConstantTimeEq;

use crate::{crypto::hmac, env::draw};

pub(crate) use judge::token_hash;
pub use judge::{CompatJudgement, Judgement, Presented, judge, judge_compat};

const VERSION: u8 = 1;
const BODY_LEN: usize = 1 + 4 + 1 + 16 + 16 + 8 + 8 + 16;
const MAC_LEN: usize = 32;

/// Who holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// The host of the session.
    Host,
    /// A paired device.
    Member(MemberId),
}

impl Principal {
    /// 16 bytes that name the principal in transcripts; all zero for the host.
    pub fn as_bytes(&self) -> [u8; 16] {
        match self {
            Self::Host => [0; 16],
            Self::Member(member) => *member.as_bytes(),
        }
    }
}

/// What a token says once its MAC was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    pub session: SessionId,
    pub principal: Principal,
    /// Unix milliseconds.
    pub issued_at: u64,
    pub generation: u64,
    pub nonce: [u8; 16],
}

/// Why a token was not even looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of the form.
    #[error("not a token of this relay")]
    Invalid,
    /// Of the form, and its MAC is wrong.
    #[error("a forged token")]
    Forged,
    /// Signed by a key that this node does not have yet: try again later, never a refusal.
    #[error("signed by a key that this node does not have")]
    UnknownKey,
}

/// The keys that sign tokens: the first signs, all verify.
#[derive(Clone)]
pub struct TokenKeys {
    signing: u32,
    keys: BTreeMap<u32, [u8; 32]>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").field("ids", &self.keys.keys()).finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Takes keys by id, the signing one first; `None` for an empty list.
    pub fn new(keys: impl IntoIterator<Item = (u32, [u8; 32])>) -> Option<Self> {
        let mut keys = keys.into_iter().peekable();
        let signing = keys.peek()?.0;
        Some(Self { signing, keys: keys.collect() })
    }

    /// All of them by id, the signing one first.
    pub(crate) fn signing_first(&self) -> impl Iterator<Item = (u32, &[u8; 32])> {
        let signing = self.keys.get_key_value(&self.signing);
        let others = self.keys.iter().filter(|(id, _)| **id != self.signing);
        signing.into_iter().chain(others).map(|(id, key)| (*id, key))
    }

    /// Makes the token of these claims.
    pub fn mint(&self, claims: &Claims) -> Secret {
        let mut token = Vec::with_capacity(BODY_LEN + MAC_LEN);
        token.push(VERSION);
        token.extend_from_slice(&self.signing.to_be_bytes());
        token.push(u8::from(claims.principal != Principal::Host));
        token.extend_from_slice(claims.session.as_bytes());
        token.extend_from_slice(&claims.principal.as_bytes());
        token.extend_from_slice(&claims.issued_at.to_be_bytes());
        token.extend_from_slice(&claims.generation.to_be_bytes());
        token.extend_from_slice(&claims.nonce);
        let mac = self.mac(self.signing, &token).expect("the signing key is one of the keys");
        token.extend_from_slice(&mac);
        Secret::new(BASE64URL.encode(token))
    }

    /// Verifies a token's form and MAC.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &Secret) -> Result<Claims, TokenError> {
        let bytes = BASE64URL.decode(token.expose()).map_err(|_| TokenError::Invalid)?;
        if bytes.len() != BODY_LEN + MAC_LEN || bytes[0] != VERSION {
            return Err(TokenError::Invalid);
        }
        let (body, mac) = bytes.split_at(BODY_LEN);
        let key_id = u32::from_be_bytes(take(body, 1));
        let expected = self.mac(key_id, body).ok_or(TokenError::UnknownKey)?;
        if !bool::from(expected.ct_eq(mac)) {
            return Err(TokenError::Forged);
        }
        let principal = match body[5] {
            0 => Principal::Host,
            _ => Principal::Member(MemberId::from_bytes(take(body, 22))),
        };
        Ok(Claims {
            session: SessionId::from_bytes(take(body, 6)),
            principal,
            issued_at: u64::from_be_bytes(take(body, 38)),
            generation: u64::from_be_bytes(take(body, 46)),
            nonce: take(body, 54),
        })
    }

    /// Makes a nonce for `hello`: random bytes, issue time and a MAC, so that a node recognises its
    /// own without keeping it.
    pub fn hello_nonce(&self, env: &mut dyn crate::Entropy, unix_ms: u64) -> String {
        let mut bytes = draw::<16>(env).to_vec();
        bytes.extend_from_slice(&unix_ms.to_be_bytes());
        let mac = self.mac(self.signing, &bytes).expect("the signing key is one of the keys");
        bytes.extend_from_slice(&mac[..16]);
        BASE64URL.encode(bytes)
    }

    fn mac(&self, key_id: u32, body: &[u8]) -> Option<[u8; MAC_LEN]> {
        self.keys.get(&key_id).map(|key| hmac(key, &[b"belay.v1/token", body]))
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the length was checked")
}

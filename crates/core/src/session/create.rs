//! A session is made, or comes back from what is stored.

use std::collections::BTreeMap;

use belay_wire::{
    SessionId,
    pair::{HostInfo, SessionCreated},
};

use super::{Session, compat::Live, pairing::make_lease};
use crate::{
    Env, HostRecord, Lineage, PairingRecord, SessionRecord, TokenState, Unknown,
    env::draw,
    token::{Claims, Principal, token_hash},
};

impl Session {
    /// Makes a session and its first join lease. The record must be stored before the answer is
    /// told.
    pub fn create(host: HostInfo, env: &mut Env<'_>) -> (Self, SessionCreated) {
        let id = SessionId::from_bytes(draw(env.entropy));
        let nonce = draw(env.entropy);
        let claims = Claims {
            session: id,
            principal: Principal::Host,
            issued_at: env.now.unix_ms,
            generation: 1,
            nonce,
        };
        let record = SessionRecord {
            id,
            version: 1,
            created_at: env.now.unix_ms,
            host: HostRecord {
                name: host.name,
                platform: host.platform,
                key: Some(host.public_key),
                token: TokenState {
                    generation: 1,
                    nonce: token_hash(env.hash_key, &nonce),
                    committed_at: env.now.unix_ms,
                },
                seen_at: env.now.unix_ms,
            },
            devices: Vec::new(),
            lease: None,
            compat: None,
            lineage: Lineage::default(),
            pairing: PairingRecord::default(),
            unknown: Unknown::new(),
        };
        let mut session = Self::load(record);
        let (lease, made) = make_lease(env);
        session.record.lease = Some(lease);
        let created = SessionCreated {
            session: id,
            host_token: env.keys.mint(&claims),
            rendezvous: made.rendezvous,
            code: made.code,
            expires_at: made.expires_at,
        };
        (session, created)
    }

    /// Brings a stored session back to life, with nobody connected and empty logs.
    pub fn load(record: SessionRecord) -> Self {
        Self {
            record,
            connections: BTreeMap::new(),
            channels: BTreeMap::new(),
            waiters: BTreeMap::new(),
            pair_deadline: None,
            remote: Vec::new(),
            clustered: false,
            seen: BTreeMap::new(),
            retries: Vec::new(),
            retry_at: None,
            quiet_since: None,
            asks: false,
            degraded: false,
            compat: Live::default(),
        }
    }
}

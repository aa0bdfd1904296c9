//! Who there is: sessions, devices and their tokens, all told by a number, so that each process knows
//! them without asking. They are written into the store as pairing leaves them.

use belay_adapters::Keys;
use belay_core::{
    DeviceRecord, HostRecord, Lineage, PairingRecord, SessionRecord, TokenState, Unknown,
    token::{Claims, Principal},
};
use belay_wire::{MemberId, PublicKey, Secret, SessionId, pair::DeviceInfo};

/// Keys of all relays here.
pub(crate) const TOKEN_KEYS: &str =
    "1:1111111111111111111111111111111111111111111111111111111111111111";
pub(crate) const STORE_KEY: &str =
    "1:2222222222222222222222222222222222222222222222222222222222222222";

/// Keys, and when everybody was paired (Unix milliseconds).
pub(crate) struct World {
    keys: Keys,
    paired_at: u64,
}

impl World {
    pub(crate) fn new(paired_at: u64) -> anyhow::Result<Self> {
        // Both keys are given, so neither a folder nor randomness is used.
        let folder = std::path::Path::new("");
        let keys = Keys::open(folder, Some(TOKEN_KEYS), Some(STORE_KEY), &mut |_| ())?;
        Ok(Self { keys, paired_at })
    }

    /// The current token of one end of a pair.
    pub(crate) fn token(&self, pair: u64, principal: Principal) -> Secret {
        self.keys.tokens.mint(&Claims {
            session: session(pair),
            principal,
            issued_at: self.paired_at,
            generation: 1,
            nonce: id(pair, 3),
        })
    }

    /// The session of a pair as it is stored once its device is paired; both ends have this key.
    pub(crate) fn record(&self, pair: u64, key: PublicKey) -> SessionRecord {
        let at = self.paired_at;
        let nonce = self.keys.hash.hash("token", &id(pair, 3));
        let token = TokenState { generation: 1, nonce, committed_at: at };
        let device = DeviceRecord {
            member: member(pair),
            info: DeviceInfo { name: "Ana's phone".to_owned(), platform: "Android".to_owned() },
            key: Some(key),
            token,
            added_at: at,
            seen_at: at,
            revoked_at: None,
            revoked_because: None,
            lost: Vec::new(),
            unknown: Unknown::new(),
        };
        SessionRecord {
            id: session(pair),
            version: 1,
            created_at: at,
            host: HostRecord {
                name: "desk".to_owned(),
                platform: "linux".to_owned(),
                key: Some(key),
                token,
                seen_at: at,
            },
            devices: vec![device],
            lease: None,
            compat: None,
            lineage: Lineage::default(),
            pairing: PairingRecord::default(),
            unknown: Unknown::new(),
        }
    }
}

pub(crate) fn session(pair: u64) -> SessionId {
    SessionId::from_bytes(id(pair, 1))
}

pub(crate) fn member(pair: u64) -> MemberId {
    MemberId::from_bytes(id(pair, 2))
}

/// Spread over all first bytes, as random ids are.
fn id(pair: u64, what: u64) -> [u8; 16] {
    let number = u128::from(pair * 4 + what) + 1;
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes()
}

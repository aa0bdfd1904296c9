//! What a store keeps of a session. Secrets stand here as keyed hashes only.

use belay_wire::{Lost, MemberId, PublicKey, SessionId, pair::DeviceInfo};
use serde::{Deserialize, Serialize};

use crate::crypto::SecretHash;

/// The current token of a host or device: `{G, hash(N), committed_at}`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct TokenState {
    /// Generation of the token that was last used.
    pub generation: u64,
    /// Keyed hash of its nonce.
    pub nonce: SecretHash,
    /// When it became current, Unix milliseconds in store time.
    pub committed_at: u64,
}

/// The host of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostRecord {
    pub name: String,
    pub platform: String,
    /// Absent for hosts of the compat protocol.
    pub key: Option<PublicKey>,
    pub token: TokenState,
    /// Unix milliseconds.
    pub seen_at: u64,
}

/// A paired device. A revoked one stays as a tombstone, so that it is told why.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceRecord {
    pub member: MemberId,
    pub info: DeviceInfo,
    /// Absent only for devices that cannot hold a key.
    pub key: Option<PublicKey>,
    pub token: TokenState,
    /// Unix milliseconds.
    pub added_at: u64,
    /// Unix milliseconds.
    pub seen_at: u64,
    /// Unix milliseconds.
    pub revoked_at: Option<u64>,
    /// Commands of it that will not reach the host, until it has heard so.
    #[serde(default)]
    pub lost: Vec<Lost>,
}

/// The right to ask for one pairing.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LeaseRecord {
    pub rendezvous: SecretHash,
    pub code: SecretHash,
    /// First three characters of the code: a wrong typed code counts against the leases that it
    /// could have meant.
    pub code_prefix: [u8; 3],
    /// Unix milliseconds.
    pub expires_at: u64,
    /// Wrong typed codes so far.
    pub tries: u32,
    /// Redeemed or burnt.
    pub taken: bool,
}

/// What a session of the compat protocol keeps besides.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CompatRecord {
    /// The id as its desktop made it.
    pub session_id: String,
    pub desktop_token: SecretHash,
    pub join_token: SecretHash,
    /// Unix milliseconds.
    pub join_expires_at: u64,
    pub join_used: bool,
    /// The websocket address that its desktop and phones are told.
    pub ws_url: String,
    /// How long it stays without sockets and devices, in seconds.
    pub idle_secs: u64,
    /// Last call of its desktop, Unix milliseconds.
    pub active_at: u64,
}

/// One session, stored by compare-and-set on `version`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionRecord {
    pub id: SessionId,
    /// Grows by one with every save.
    pub version: u64,
    /// Unix milliseconds.
    pub created_at: u64,
    pub host: HostRecord,
    pub devices: Vec<DeviceRecord>,
    pub lease: Option<LeaseRecord>,
    /// Present if the session speaks the compat protocol.
    pub compat: Option<CompatRecord>,
}

impl SessionRecord {
    /// The devices that are not revoked.
    pub fn active_devices(&self) -> impl Iterator<Item = &DeviceRecord> {
        self.devices.iter().filter(|d| d.revoked_at.is_none())
    }

    /// A device, also a revoked one.
    pub fn device(&self, member: MemberId) -> Option<&DeviceRecord> {
        self.devices.iter().find(|d| d.member == member)
    }

    pub(crate) fn device_mut(&mut self, member: MemberId) -> Option<&mut DeviceRecord> {
        self.devices.iter_mut().find(|d| d.member == member)
    }
}

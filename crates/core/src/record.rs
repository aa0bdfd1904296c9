//! What a store keeps of a session. Secrets stand here as keyed hashes only.

use belay_wire::{
    Bytes32, Bytes64, Lost, MemberId, PublicKey, RendezvousId, RequestId, SessionId,
    pair::DeviceInfo,
};
use serde::{Deserialize, Serialize};

use crate::{crypto::SecretHash, lineage::Lineage, session::PairError};

/// Members of a stored object that this version does not know.
pub type Unknown = serde_json::Map<String, serde_json::Value>;

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
    /// Why, if it was not its host's or an operator's wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_because: Option<String>,
    /// Commands of it that will not reach the host, until it has heard so.
    #[serde(default)]
    pub lost: Vec<Lost>,
    /// What a newer version keeps of it: this one gives it back unchanged.
    #[serde(flatten)]
    pub unknown: Unknown,
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

/// Pair requests of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingRecord {
    /// The one that waits: any node can decide it.
    pub pending: Option<PendingPair>,
    /// Those that were decided a moment ago: a phone whose answer got lost asks again.
    pub decided: Vec<DecidedPair>,
}

impl PairingRecord {
    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.pending.is_none() && self.decided.is_empty()
    }

    /// The ids of all of its requests.
    pub fn ids(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.pending.iter().map(|p| p.id).chain(self.decided.iter().map(|d| d.id))
    }
}

/// A pair request that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingPair {
    pub id: RequestId,
    /// The name may be empty in the compat protocol.
    pub device: DeviceInfo,
    pub address: String,
    /// When it ends as its parties are told, Unix milliseconds.
    pub expires_at: u64,
    pub stage: PairStage,
}

/// What a pair request waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairStage {
    /// For the host's nonce.
    Committed { commit: Bytes32, typed: bool },
    /// For the phone to open its commitment.
    Nonced { commit: Bytes32, nonce: Bytes32, rendezvous: RendezvousId },
    /// For the person at the desktop.
    Waiting {
        commit: Bytes32,
        nonce: Bytes32,
        rendezvous: RendezvousId,
        key: PublicKey,
        opening: Bytes32,
        /// A call of the phone waits for the answer.
        present: bool,
    },
    /// For the desktop of the compat protocol.
    Joining {
        /// Unix milliseconds.
        requested_at: u64,
        /// The join token that it came with, and the end of that.
        join_token: SecretHash,
        join_expires_at: u64,
    },
}

/// A decided pair request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedPair {
    pub id: RequestId,
    /// Absent in the compat protocol.
    pub commit: Option<Bytes32>,
    pub outcome: PairDecided,
    /// Until when it is remembered, Unix milliseconds.
    pub until: u64,
}

/// How a pair request was decided. The nonce makes a token only with a key that is not in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairDecided {
    Paired {
        member: MemberId,
        nonce: [u8; 16],
        issued_at: u64,
        /// Absent in the compat protocol, as is the next.
        signature: Option<Bytes64>,
        approval_expires_at: u64,
    },
    Failed(PairError),
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
    /// What the desktop said about answering requests, where nodes share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports: Option<bool>,
}

/// One session, stored by compare-and-set on `version`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionRecord {
    pub id: SessionId,
    /// Grows with every save: by one, or by more where nodes share a store.
    pub version: u64,
    /// Versions that came before this one.
    #[serde(default, skip_serializing_if = "Lineage::is_empty")]
    pub lineage: Lineage,
    /// Unix milliseconds.
    pub created_at: u64,
    pub host: HostRecord,
    pub devices: Vec<DeviceRecord>,
    pub lease: Option<LeaseRecord>,
    /// Present if the session speaks the compat protocol.
    pub compat: Option<CompatRecord>,
    #[serde(default)]
    pub pairing: PairingRecord,
    /// What a newer version keeps of it: this one gives it back unchanged.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl SessionRecord {
    /// Makes this the next version.
    pub(crate) fn succeed(&mut self) {
        self.version = self.lineage.follow(self.version);
    }

    /// Gives a version that was not stored yet a number that is greater by `step`, so that what two nodes make
    /// of one version differs also in its number.
    pub fn stride(&mut self, step: u64) {
        self.version = self.lineage.stride(self.version, step);
    }

    /// The store lost the session: this is to be stored as if it were new.
    pub(crate) fn begin_again(&mut self) {
        self.lineage.begin_again(self.version);
    }

    /// The version that must be stored for this one to take its place, 0 for a session that is new. `None`:
    /// nothing can be before version 0.
    pub fn replaces(&self) -> Option<u64> {
        self.lineage.replaced_by(self.version)
    }

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

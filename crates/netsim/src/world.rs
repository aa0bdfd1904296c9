//! A paired desktop and two phones, and the relay's store that knows them.

use std::{path::Path, sync::Arc};

use belay_adapters::{Keys, MemoryStore};
use belay_client::Identity;
use belay_core::{
    DeviceRecord, Entropy, HostRecord, SessionRecord, TokenState,
    ports::SessionStore,
    token::{Claims, Principal},
};
use belay_sim::Rng;
use belay_wire::{Channel, MemberId, Secret, SessionId, pair::DeviceInfo};

use crate::{
    net::{BEGIN_MS, Trace},
    party::Party,
    setup::{Phase, Setup},
};

pub(crate) const SESSION: SessionId = SessionId::from_bytes([9; 16]);
const NONCE: [u8; 16] = [3; 16];

/// All that outlives the processes of a simulation.
pub(crate) struct World {
    pub(crate) keys: Keys,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) parties: Vec<Arc<Party>>,
    pub(crate) phase: Phase,
}

impl World {
    /// Draws keys, pairs everybody. The last phone keeps no outbox: each start of it forgets what it sent.
    pub(crate) fn new(seed: u64, folder: &Path, trace: &Trace) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let keys = Keys::ephemeral(&mut |bytes| rng.fill(bytes));
        let members = [1, 2].map(|n| MemberId::from_bytes([n; 16]));
        let phase = Phase::default();
        let setup = |name, member: Option<MemberId>, writes, reads, keeps: bool| Setup {
            name,
            member,
            writes,
            reads,
            token: token_of(&keys, member),
            identity: Identity::generate(),
            outbox: keeps.then(|| folder.join(name)),
            rng: Rng::new(seed ^ name.bytes().map(u64::from).sum::<u64>()),
        };
        let [first, second] = members;
        let (ups, down) = ([Channel::Up(first), Channel::Up(second)], Channel::Down);
        let to = Channel::DownTo(first);
        let setups = [
            setup("desk", None, vec![down, to], ups.to_vec(), true),
            setup("phone1", Some(first), vec![ups[0]], vec![down, to], true),
            setup("phone2", Some(second), vec![ups[1]], vec![down], false),
        ];
        let party = |setup| Arc::new(Party::new(setup, phase.clone(), trace.clone()));
        let parties: Vec<_> = setups.into_iter().map(party).collect();
        let store = Arc::new(MemoryStore::default());
        // The store in memory does its work when it is called.
        drop(store.save(record(&keys, &parties)));
        Self { keys, store, parties, phase }
    }
}

fn token_of(keys: &Keys, member: Option<MemberId>) -> Secret {
    let principal = member.map_or(Principal::Host, Principal::Member);
    let claims =
        Claims { session: SESSION, principal, issued_at: BEGIN_MS, generation: 1, nonce: NONCE };
    keys.tokens.mint(&claims)
}

fn record(keys: &Keys, parties: &[Arc<Party>]) -> SessionRecord {
    let hash = keys.hash.hash("token", &NONCE);
    let token = TokenState { generation: 1, nonce: hash, committed_at: BEGIN_MS };
    let device = |party: &Arc<Party>| {
        let info = DeviceInfo { name: party.name.into(), platform: "simulated".into() };
        Some(DeviceRecord {
            member: party.member?,
            info,
            key: Some(party.identity.public()),
            token,
            added_at: BEGIN_MS,
            seen_at: BEGIN_MS,
            revoked_at: None,
            revoked_because: None,
            lost: Vec::new(),
            unknown: belay_core::Unknown::new(),
        })
    };
    let desk = parties.iter().find(|party| party.member.is_none());
    SessionRecord {
        id: SESSION,
        version: 1,
        created_at: BEGIN_MS,
        host: HostRecord {
            name: "desk".into(),
            platform: "simulated".into(),
            key: desk.map(|desk| desk.identity.public()),
            token,
            seen_at: BEGIN_MS,
        },
        devices: parties.iter().filter_map(device).collect(),
        lease: None,
        compat: None,
        lineage: belay_core::Lineage::default(),
        pairing: belay_core::PairingRecord::default(),
        unknown: belay_core::Unknown::new(),
    }
}

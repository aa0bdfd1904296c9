//! What every adapter must do, as one suite that their tests run.

pub mod cluster;
pub mod log;
mod shared;

use std::sync::Arc;

use belay_wire::{
    Bytes32, Bytes64, Channel, Epoch, Lost, MemberId, PublicKey, RendezvousId, RequestId, Seq,
    SessionId, pair::DeviceInfo,
};

pub use shared::shared_store;

use super::{Revocations, SessionStore, StoreError};
use crate::{
    CompatRecord, DecidedPair, DeviceRecord, HashKey, HostRecord, LeaseRecord, Lineage,
    PairDecided, PairError, PairStage, PairingRecord, PendingPair, SessionRecord, TokenState,
    Unknown, session::LeaseKey,
};

const KEY: HashKey = HashKey::new([9; 32]);

fn token(generation: u64) -> TokenState {
    TokenState { generation, nonce: KEY.hash("token", b"nonce"), committed_at: 1_700_000_000_000 }
}

fn public_key(n: u8) -> PublicKey {
    PublicKey { sign: Bytes32([n; 32]), agree: Bytes32([n + 1; 32]) }
}

/// A first version of a session with a lease whose code starts with `prefix`.
pub fn sample(n: u8, prefix: [u8; 3]) -> SessionRecord {
    SessionRecord {
        id: SessionId::from_bytes([n; 16]),
        version: 1,
        created_at: 1_700_000_000_000 + u64::from(n),
        host: HostRecord {
            name: format!("desk '{n}'"),
            platform: "linux".to_owned(),
            key: Some(public_key(n)),
            token: token(1),
            seen_at: 1_700_000_000_001,
        },
        devices: Vec::new(),
        lease: Some(LeaseRecord {
            rendezvous: KEY.hash("rendezvous", &[n; 16]),
            code: KEY.hash("code", &[n; 8]),
            code_prefix: prefix,
            expires_at: 1_700_000_120_000,
            tries: 0,
            taken: false,
        }),
        compat: None,
        lineage: Lineage::default(),
        pairing: PairingRecord::default(),
        unknown: Unknown::new(),
    }
}

/// The same session as one of the compat protocol.
pub fn compat_sample(n: u8) -> SessionRecord {
    let sample = sample(n, *b"AAA");
    SessionRecord {
        host: HostRecord { key: None, ..sample.host.clone() },
        lease: None,
        compat: Some(CompatRecord {
            session_id: format!("session-of-a-desktop-{n}"),
            desktop_token: KEY.hash("desktop", &[n; 8]),
            join_token: KEY.hash("join", &[n; 8]),
            join_expires_at: 1_700_000_120_000,
            join_used: true,
            ws_url: "wss://relay.example.org/ws".to_owned(),
            idle_secs: 1_800,
            active_at: 1_700_000_000_000,
            supports: None,
        }),
        ..sample
    }
}

/// A device, which was revoked at some time or is not.
pub fn device(n: u8, revoked_at: Option<u64>) -> DeviceRecord {
    DeviceRecord {
        member: MemberId::from_bytes([n; 16]),
        info: DeviceInfo { name: "Ana's phone; --".to_owned(), platform: "Android".to_owned() },
        key: Some(public_key(n)),
        token: token(7),
        added_at: 1,
        seen_at: 2,
        revoked_at,
        revoked_because: revoked_at.map(|_| "token_reused".to_owned()),
        unknown: Unknown::new(),
        lost: vec![Lost {
            ch: Channel::Up(MemberId::from_bytes([n; 16])),
            epoch: Epoch(u64::from(n)),
            from: Seq::ZERO.next(),
            to: Seq::MAX,
            reason: "expired; --".to_owned(),
        }],
    }
}

/// Runs the whole suite on an empty store.
pub async fn session_store(store: Arc<dyn SessionStore>) {
    store.check().await.expect("an empty store works");
    saves_and_loads(&*store).await;
    refuses_other_versions(&*store).await;
    keeps_devices(&*store).await;
    finds_leases(&*store).await;
    finds_desktops(&*store).await;
    finds_pair_requests(&*store).await;
    lists_and_removes(&*store).await;
}

/// Runs the suite of the second place of revocations on an empty one.
pub async fn revocations(revocations: Arc<dyn Revocations>) {
    let (gone, there) = (MemberId::from_bytes([1; 16]), MemberId::from_bytes([2; 16]));
    assert!(!revocations.contains(gone));

    revocations.add(gone).await.expect("added");
    revocations.add(gone).await.expect("twice is once");

    assert!(revocations.contains(gone) && !revocations.contains(there));
    assert_eq!(revocations.count(), 1);
}

async fn saves_and_loads(store: &dyn SessionStore) {
    let record = sample(1, *b"AAA");
    store.save(record.clone()).await.expect("a new session is stored");

    let loaded = store.load(record.id).await.expect("readable").expect("present");

    assert_eq!(format!("{loaded:?}"), format!("{record:?}"));
    let absent = store.load(SessionId::from_bytes([99; 16])).await.expect("readable");
    assert!(absent.is_none());
}

async fn refuses_other_versions(store: &dyn SessionStore) {
    let mut record = sample(1, *b"AAA");
    for version in [0, 1, 3] {
        record.version = version;
        let refused = store.save(record.clone()).await.expect_err("a wrong version");
        assert!(matches!(refused, StoreError::Conflict), "{version}: {refused}");
    }
    let stored = store.load(record.id).await.expect("readable").expect("present");
    assert_eq!(stored.version, 1);
    record.version = 2;
    "renamed".clone_into(&mut record.host.name);
    store.save(record.clone()).await.expect("the next version");
    let stored = store.load(record.id).await.expect("readable").expect("present");
    assert_eq!(stored.host.name, "renamed");
}

async fn keeps_devices(store: &dyn SessionStore) {
    let mut record = sample(2, *b"AAB");
    record.devices = vec![device(1, None), device(2, Some(5))];
    store.save(record.clone()).await.expect("stored");
    record.version = 2;
    record.devices = vec![device(2, Some(5)), device(3, None)];
    record.lease = None;
    store.save(record.clone()).await.expect("stored");

    let loaded = store.load(record.id).await.expect("readable").expect("present");

    assert_eq!(format!("{loaded:?}"), format!("{record:?}"));
}

async fn finds_leases(store: &dyn SessionStore) {
    let found = store
        .find_lease(LeaseKey::Rendezvous(KEY.hash("rendezvous", &[1; 16])))
        .await
        .expect("readable");
    assert_eq!(found, [SessionId::from_bytes([1; 16])]);
    let gone = store
        .find_lease(LeaseKey::Rendezvous(KEY.hash("rendezvous", &[2; 16])))
        .await
        .expect("readable");
    assert!(gone.is_empty(), "a lease that was cleared is not found");
    store.save(sample(3, *b"AAA")).await.expect("stored");
    let code = LeaseKey::Code { prefix: *b"AAA", hash: KEY.hash("code", &[0; 8]) };
    let mut both = store.find_lease(code).await.expect("readable");
    both.sort_unstable();
    assert_eq!(both, [SessionId::from_bytes([1; 16]), SessionId::from_bytes([3; 16])]);
}

async fn finds_desktops(store: &dyn SessionStore) {
    let mut record = compat_sample(40);
    store.save(record.clone()).await.expect("stored");
    let compat = record.compat.clone().expect("it has one");

    let found = store.find_lease(LeaseKey::Desktop(compat.desktop_token)).await.expect("readable");
    let none = store.find_lease(LeaseKey::Desktop(compat.join_token)).await.expect("readable");
    assert_eq!((found, none), (vec![record.id], vec![]));
    record.version = 2;
    record.compat = Some(CompatRecord { join_used: false, ..compat });
    store.save(record.clone()).await.expect("stored");
    let loaded = store.load(record.id).await.expect("readable").expect("present");
    assert_eq!(format!("{loaded:?}"), format!("{record:?}"));
    store.remove(record.id).await.expect("removed");
}

async fn finds_pair_requests(store: &dyn SessionStore) {
    let mut record = sample(41, *b"AAA");
    let id = |n| RequestId::from_bytes([n; 16]);
    let bytes = Bytes32([7; 32]);
    let stage = PairStage::Waiting {
        commit: bytes,
        nonce: bytes,
        rendezvous: RendezvousId::from_bytes([3; 16]),
        key: public_key(5),
        opening: bytes,
        present: true,
    };
    let (device, address) = (device(9, None).info, "192.0.2.1".to_owned());
    let expires_at = 1_700_000_045_000;
    record.pairing.pending = Some(PendingPair { id: id(1), device, address, expires_at, stage });
    store.save(record.clone()).await.expect("stored");
    let find = |n| store.find_lease(LeaseKey::Request(id(n)));
    assert_eq!(find(1).await.expect("readable"), [record.id]);
    assert_eq!(find(2).await.expect("readable"), []);

    record.version = 2;
    record.pairing.pending = None;
    let decided = |n, outcome| DecidedPair { id: id(n), commit: Some(bytes), outcome, until: 5 };
    let paired = PairDecided::Paired {
        member: MemberId::from_bytes([4; 16]),
        nonce: [1; 16],
        issued_at: 3,
        signature: Some(Bytes64([2; 64])),
        approval_expires_at: 4,
    };
    let full = PairError::DeviceLimit { used: 2, allowed: 2 };
    record.pairing.decided = vec![decided(1, paired), decided(2, PairDecided::Failed(full))];
    store.save(record.clone()).await.expect("stored");

    let loaded = store.load(record.id).await.expect("readable").expect("present");
    assert_eq!(format!("{loaded:?}"), format!("{record:?}"));
    assert_eq!(find(1).await.expect("readable"), [record.id]);
    assert_eq!(find(2).await.expect("readable"), [record.id]);
    store.remove(record.id).await.expect("removed");
    assert_eq!(find(1).await.expect("readable"), []);
}

async fn lists_and_removes(store: &dyn SessionStore) {
    let first = store.list(None, 2).await.expect("readable");
    assert_eq!(first.len(), 2);
    let rest = store.list(first.last().copied(), 10).await.expect("readable");
    assert_eq!(rest.len(), 1);
    assert_eq!(store.count().await.expect("readable"), 3);
    assert_eq!(store.count_devices().await.expect("readable"), 1, "a revoked one is none");
    assert!(!first.contains(&rest[0]));
    store.remove(rest[0]).await.expect("removed");
    store.remove(rest[0]).await.expect("removing twice is harmless");
    assert!(store.load(rest[0]).await.expect("readable").is_none());
}

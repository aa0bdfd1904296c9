use std::{sync::atomic::Ordering, time::Duration};

use belay_adapters::MemoryStore;
use belay_core::{
    Input, PairStage, PendingPair, Session, SessionRecord,
    ports::{Answer, SessionStore, StoreError},
    session::{LeaseKey, Waiting},
};
use belay_wire::{
    Bytes32, MemberId, PublicKey, RequestId,
    pair::{DeviceInfo, HostInfo},
};

use super::*;

/// A store whose saves fail at will.
#[derive(Debug, Default)]
struct Faulty {
    inner: MemoryStore,
    fails: AtomicBool,
    /// What is read arrives a while after it was read.
    slow: AtomicBool,
}

impl SessionStore for Faulty {
    fn save(&self, record: SessionRecord) -> Answer<()> {
        if self.fails.load(Ordering::Acquire) {
            return Box::pin(async { Err(StoreError::Unavailable("full".to_owned())) });
        }
        self.inner.save(record)
    }

    fn load(&self, id: SessionId) -> Answer<Option<SessionRecord>> {
        let read = self.inner.load(id);
        let wait = Duration::from_millis(if self.slow.load(Ordering::Acquire) { 200 } else { 0 });
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            read.await
        })
    }

    fn find_lease(&self, key: LeaseKey) -> Answer<Vec<SessionId>> {
        self.inner.find_lease(key)
    }

    fn list(&self, after: Option<SessionId>, limit: usize) -> Answer<Vec<SessionId>> {
        self.inner.list(after, limit)
    }

    fn count(&self) -> Answer<usize> {
        self.inner.count()
    }

    fn count_devices(&self) -> Answer<usize> {
        self.inner.count_devices()
    }

    fn remove(&self, id: SessionId) -> Answer<()> {
        self.inner.remove(id)
    }

    fn check(&self) -> Answer<()> {
        self.inner.check()
    }
}

fn node(store: Arc<Faulty>) -> Arc<Node> {
    let config = Config::default();
    let origins = Origins::of_listener(config.host, 1, &[], &[]);
    Arc::new(Node::new(Parts {
        keys: Keys::ephemeral(&mut crate::entropy::fill),
        stores: Stores { sessions: store, ..Stores::in_memory() },
        origins,
        admin_token: String::new(),
        id: String::new(),
        stopping: CancellationToken::new(),
        config,
    }))
}

fn device(node: &Node, member: MemberId) -> belay_core::DeviceRecord {
    let nonce = node.keys.hash.hash("token", &[1; 16]);
    belay_core::DeviceRecord {
        member,
        info: DeviceInfo { name: "phone".to_owned(), platform: "test".to_owned() },
        key: None,
        token: belay_core::TokenState { generation: 1, nonce, committed_at: 0 },
        added_at: 0,
        seen_at: 0,
        revoked_at: None,
        revoked_because: None,
        lost: Vec::new(),
        unknown: belay_core::Unknown::new(),
    }
}

#[tokio::test]
async fn a_call_that_waits_when_a_save_fails_is_answered() {
    let store = Arc::new(Faulty::default());
    let node = node(store.clone());
    let id = stored_session(&node, &store, &[]).await;
    let handle = node.session(id).await.expect("readable").expect("there");
    let (waiting, answer) = node.wait(&handle).expect("room");
    store.fails.store(true, Ordering::Release);

    node.drive(&handle, Input::NewCode { waiter: waiting.id }).await;

    assert!(matches!(node.answered(answer).await, Err(CallError::Store)));
}

#[tokio::test]
async fn a_phone_that_hangs_up_before_it_is_known_to_wait_makes_room_for_the_next() {
    let store = Arc::new(Faulty::default());
    let node = node(store.clone());
    let id = stored_session(&node, &store, &[]).await;
    let mut record = store.load(id).await.expect("readable").expect("there");
    record.version += 1;
    let request = RequestId::from_bytes([1; 16]);
    let until = unix_ms() + 60_000;
    record.pairing.pending = Some(PendingPair {
        id: request,
        device: DeviceInfo { name: "phone".to_owned(), platform: "test".to_owned() },
        address: String::new(),
        expires_at: until,
        stage: PairStage::Joining {
            requested_at: 0,
            join_token: node.keys.hash.hash("token", &[1; 16]),
            join_expires_at: until,
        },
    });
    store.save(record).await.expect("stored");
    let handle = node.session(id).await.expect("readable").expect("there");
    let waiter = node.wait(&handle).expect("room").0.id;
    let known = Input::Await { waiter, waiting: Waiting::Decision(request) };

    while node.metrics.pair_waiters.get() > 0 {
        tokio::task::yield_now().await;
    }
    node.drive(&handle, known).await;

    let session = handle.session.lock();
    assert_eq!(session.waiters(), 0);
    assert_eq!(session.record().pairing.pending, None);
}

#[tokio::test]
async fn a_revocation_that_is_in_one_place_only_is_completed_when_its_session_is_loaded() {
    let store = Arc::new(Faulty::default());
    let node = node(store.clone());
    let gone = MemberId::from_bytes([1; 16]);
    let revoked = belay_core::DeviceRecord { revoked_at: Some(1), ..device(&node, gone) };
    let id = stored_session(&node, &store, &[revoked]).await;

    node.session(id).await.expect("readable").expect("there");

    assert!(node.stores.revocations.contains(gone));
}

async fn stored_session(
    node: &Node,
    store: &Faulty,
    devices: &[belay_core::DeviceRecord],
) -> SessionId {
    let key = PublicKey { sign: Bytes32([1; 32]), agree: Bytes32([2; 32]) };
    let (name, platform) = ("desk".to_owned(), "test".to_owned());
    let host = HostInfo { name, platform, public_key: key };
    let (session, _) = node.with_env(|env| Session::create(host, env));
    let mut record = session.record().clone();
    record.devices = devices.to_vec();
    let id = record.id;
    store.save(record).await.expect("stored");
    id
}

#[tokio::test]
async fn what_was_not_stored_did_not_happen_and_is_not_stored_with_what_comes_after_it() {
    let store = Arc::new(Faulty::default());
    let node = node(store.clone());
    let (kept, lost) = (MemberId::from_bytes([1; 16]), MemberId::from_bytes([2; 16]));
    let devices = [device(&node, kept), device(&node, lost)];
    let id = stored_session(&node, &store, &devices).await;

    let handle = node.session(id).await.expect("readable").expect("there");
    store.fails.store(true, Ordering::Release);
    node.drive(&handle, Input::Revoke { member: kept }).await;
    store.fails.store(false, Ordering::Release);
    node.drive(&handle, Input::Revoke { member: lost }).await;
    node.drive(&handle, Input::Tick).await;

    let stored = store.load(id).await.expect("readable").expect("there");
    let active: Vec<_> = stored.active_devices().map(|d| d.member).collect();
    assert_eq!(active, [kept], "the revoke that failed did not happen, the other one did");
}

#[tokio::test]
async fn a_save_that_another_node_was_ahead_of_is_judged_again_on_what_is_stored() {
    let store = Arc::new(Faulty::default());
    let (one, other) = (node(store.clone()), node(store.clone()));
    let (first, second) = (MemberId::from_bytes([1; 16]), MemberId::from_bytes([2; 16]));
    let devices = [device(&one, first), device(&one, second)];
    let id = stored_session(&one, &store, &devices).await;
    let here = one.session(id).await.expect("readable").expect("there");
    let there = other.session(id).await.expect("readable").expect("there");

    one.drive(&here, Input::Revoke { member: first }).await;
    other.drive(&there, Input::Revoke { member: second }).await;
    other.drive(&there, Input::Revoke { member: first }).await;

    let stored = store.load(id).await.expect("readable").expect("there");
    assert_eq!((stored.active_devices().count(), stored.version), (0, 3));
    assert_eq!(there.session.lock().record().active_devices().count(), 0);
}

#[tokio::test]
async fn saves_that_meet_at_one_node_all_happen() {
    let store = Arc::new(Faulty::default());
    let node = node(store.clone());
    let members: Vec<_> = (1..=20).map(|n| MemberId::from_bytes([n; 16])).collect();
    let devices: Vec<_> = members.iter().map(|member| device(&node, *member)).collect();
    let id = stored_session(&node, &store, &devices).await;
    let handle = node.session(id).await.expect("readable").expect("there");

    let revokes = members.into_iter().map(|member| {
        let input = Input::Revoke { member };
        node.drive_to_the_end(&handle, input)
    });
    futures_util::future::join_all(revokes).await;

    let stored = store.load(id).await.expect("readable").expect("there");
    assert_eq!((stored.active_devices().count(), stored.version), (0, 21));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_save_of_this_node_is_not_taken_after_it() {
    let store = Arc::new(Faulty::default());
    let node = node(store.clone());
    let gone = MemberId::from_bytes([1; 16]);
    let id = stored_session(&node, &store, &[device(&node, gone)]).await;
    let handle = node.session(id).await.expect("readable").expect("there");
    store.slow.store(true, Ordering::Release);

    let elsewhere = belay_core::ports::Version { record: 99, seats: 0 };
    let revoking = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        node.drive(&handle, Input::Revoke { member: gone }).await;
    };
    let (read, ()) = tokio::join!(node.refresh(&handle, elsewhere), revoking);

    read.expect("readable");
    let session = handle.session.lock();
    assert_eq!((session.record().version, session.record().active_devices().count()), (2, 0));
    assert_eq!(node.metrics.store_went_back.get(), 0);
}

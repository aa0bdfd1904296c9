//! Pairing as a state machine: swapped keys, forged and replayed decisions, time that passes.

use std::time::{Duration, Instant};

use belay_core::{
    Effect, Effects, Entropy, Env, HashKey, Input, Now, PairAnswer, PairError, Policy, Session,
    session::{Attach, LeaseKey, WaiterId},
    token::{Principal, TokenKeys},
};
use belay_wire::{
    Bytes32, Bytes64, ClientInfo, ConnectionId, Frame, PairDecision, PairNonce, PublicKey,
    RequestId,
    pair::{DeviceInfo, HostInfo, PairOutcome, RevealPair, SessionCreated, StartPair},
    proof::{commitment, decision_transcript, key_hash},
};
use ed25519_dalek::{Signer, SigningKey};

/// Counts instead of drawing, so that a run is the same each time.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

struct World {
    session: Session,
    created: SessionCreated,
    signing: SigningKey,
    entropy: Counting,
    keys: TokenKeys,
    hash_key: HashKey,
    policy: Policy,
    now: Now,
    waiters: u64,
}

const HOST: ConnectionId = ConnectionId::from_bytes([9; 16]);

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
fn some_now() -> Now {
    Now { mono: Instant::now(), unix_ms: 1_700_000_000_000 }
}

fn phone_key(n: u8) -> PublicKey {
    PublicKey { sign: Bytes32([n; 32]), agree: Bytes32([n; 32]) }
}

const OPENING: Bytes32 = Bytes32([4; 32]);

impl World {
    /// A session with its host connected.
    fn new() -> Self {
        let signing = SigningKey::from_bytes(&[7; 32]);
        let sign = Bytes32(signing.verifying_key().to_bytes());
        let public_key = PublicKey { sign, agree: Bytes32([8; 32]) };
        let (name, platform) = ("desk".to_owned(), "test".to_owned());
        let host = HostInfo { name, platform, public_key };
        let mut entropy = Counting(0);
        let keys = TokenKeys::new([(1, [1; 32])]).expect("there is a key");
        let (hash_key, policy, now) = (HashKey::new([2; 32]), Policy::default(), some_now());
        let mut env =
            Env { now, entropy: &mut entropy, keys: &keys, hash_key: &hash_key, policy: &policy };
        let (session, created) = Session::create(host, &mut env);
        let waiters = 0;
        let mut world =
            Self { session, created, signing, entropy, keys, hash_key, policy, now, waiters };
        world.connect_host();
        world
    }

    fn connect_host(&mut self) {
        let claims = self.keys.verify(&self.created.host_token).expect("our own token");
        let text = String::new;
        let client = ClientInfo { name: text(), version: text(), instance: text(), attempt: 1 };
        let attach = Attach {
            connection: HOST,
            claims,
            client,
            resume: belay_wire::Positions::new(),
            base: belay_wire::Positions::new(),
            proof_valid: true,
            nonce_is_old: false,
            revoked_elsewhere: false,
            node: text(),
            offer: false,
            compat: false,
        };
        self.give(Input::Attach(Box::new(attach)));
        assert!(self.session.key_of(Principal::Host).is_some());
    }

    fn give(&mut self, input: Input) -> Effects {
        let mut env = Env {
            now: self.now,
            entropy: &mut self.entropy,
            keys: &self.keys,
            hash_key: &self.hash_key,
            policy: &self.policy,
        };
        let mut effects = self.session.handle(input, &mut env);
        // What may be told once the save is done; here it always is.
        let told = |e: &mut Effect| matches!(e, Effect::Feed(Input::TellHost(_)));
        let told: Vec<_> = effects.then.extract_if(.., told).collect();
        for effect in told {
            if let Effect::Feed(input) = effect {
                self.session.handle(input, &mut env);
            }
        }
        effects
    }

    fn waiter(&mut self) -> WaiterId {
        self.waiters += 1;
        WaiterId(self.waiters)
    }

    /// Frames that the host would be sent now.
    fn host_frames(&mut self) -> Vec<Frame> {
        let env = Env {
            now: self.now,
            entropy: &mut self.entropy,
            keys: &self.keys,
            hash_key: &self.hash_key,
            policy: &self.policy,
        };
        let pulled = self.session.pull(HOST, &env);
        let texts = pulled.frames.into_iter().filter_map(|f| match f {
            belay_core::session::OutFrame::Text(bytes) => Some(bytes),
            belay_core::session::OutFrame::Binary(_) => None,
        });
        let text = |b: bytes::Bytes| String::from_utf8(b.to_vec()).expect("UTF-8");
        texts.map(|b| belay_wire::decode(&text(b)).expect("our own frame")).collect()
    }

    /// Redeems the lease and lets the host answer; gives the request.
    fn start(&mut self, key: u8) -> RequestId {
        let waiter = self.waiter();
        let start = Box::new(StartPair {
            rendezvous: Some(self.created.rendezvous),
            code: None,
            device: DeviceInfo { name: "phone".to_owned(), platform: "test".to_owned() },
            commit: commitment(&phone_key(key), &OPENING),
        });
        self.give(Input::StartPair { waiter, start, address: "127.0.0.1".to_owned() });
        let id = self
            .host_frames()
            .into_iter()
            .find_map(|f| if let Frame::PairCommitted(c) = f { Some(c.id) } else { None })
            .expect("the host is told");
        let rendezvous = self.created.rendezvous;
        let nonce = PairNonce { id, nonce: Bytes32([5; 32]), rendezvous };
        self.give(Input::Frame { connection: HOST, frame: Box::new(nonce.into()) });
        id
    }

    fn reveal(&mut self, request: RequestId, key: u8) -> Effects {
        let waiter = self.waiter();
        let reveal = Box::new(RevealPair { public_key: phone_key(key), opening: OPENING });
        self.give(Input::RevealPair { waiter, request, reveal })
    }

    fn expires_at(&mut self) -> u64 {
        self.host_frames()
            .into_iter()
            .find_map(|f| if let Frame::PairRequested(r) = f { Some(r.expires_at) } else { None })
            .expect("the host is asked")
    }

    fn decision(&self, id: RequestId, key: u8, expires_at: u64) -> PairDecision {
        let key = key_hash(&phone_key(key));
        let signed = decision_transcript(id, true, &key, expires_at);
        let signature = Bytes64(self.signing.sign(signed.as_bytes()).to_bytes());
        PairDecision { id, approved: true, key, expires_at, signature }
    }

    fn decide(&mut self, decision: PairDecision) -> Effects {
        self.give(Input::Frame { connection: HOST, frame: Box::new(decision.into()) })
    }

    fn ended(&mut self) -> Option<PairOutcome> {
        let ended = |f| if let Frame::PairEnded(e) = f { Some(e.outcome) } else { None };
        self.host_frames().into_iter().find_map(ended)
    }
}

fn answer(effects: &Effects) -> Option<&Result<PairAnswer, PairError>> {
    effects
        .then
        .iter()
        .find_map(|e| if let Effect::Answer { answer, .. } = e { Some(answer) } else { None })
}

#[test]
fn an_approved_phone_is_paired_and_asking_again_gives_the_same_token() {
    let mut world = World::new();
    let id = world.start(1);
    world.reveal(id, 1);
    let expires_at = world.expires_at();

    let effects = world.decide(world.decision(id, 1, expires_at));

    let Some(Ok(PairAnswer::Paired(first))) = answer(&effects) else { panic!("paired") };
    assert!(effects.save.is_some(), "the device is stored before the phone is told");
    let again = world.reveal(id, 1);
    let Some(Ok(PairAnswer::Paired(second))) = answer(&again) else { panic!("the same answer") };
    assert_eq!(first.token.expose(), second.token.expose());
    assert_eq!(world.session.record().devices.len(), 1);
    assert_eq!(world.ended(), Some(PairOutcome::Paired));
}

#[test]
fn a_swapped_key_ends_the_pairing() {
    let mut world = World::new();
    let id = world.start(1);

    let effects = world.reveal(id, 2);

    assert!(matches!(answer(&effects), Some(Err(PairError::Mismatch))));
    assert_eq!(world.ended(), Some(PairOutcome::Mismatch));
    assert!(world.session.record().devices.is_empty());
}

#[test]
fn a_decision_that_the_host_did_not_sign_for_this_key_pairs_nobody() {
    type Forge = fn(&mut PairDecision);
    let forgeries: [(&str, Forge); 4] = [
        ("signature", |d| d.signature = Bytes64([1; 64])),
        ("key", |d| d.key = key_hash(&phone_key(3))),
        ("expiry", |d| d.expires_at += 1),
        ("verdict", |d| d.approved = false),
    ];
    for (what, forge) in forgeries {
        let mut world = World::new();
        let id = world.start(1);
        world.reveal(id, 1);
        let expires_at = world.expires_at();
        let mut decision = world.decision(id, 1, expires_at);
        forge(&mut decision);

        world.decide(decision);

        assert!(world.session.record().devices.is_empty(), "{what}");
        assert_eq!(world.ended(), Some(PairOutcome::Mismatch), "{what}");
    }
}

#[test]
fn a_replayed_approval_does_nothing() {
    let mut world = World::new();
    let id = world.start(1);
    world.reveal(id, 1);
    let expires_at = world.expires_at();
    let decision = world.decision(id, 1, expires_at);
    world.decide(decision.clone());

    let effects = world.decide(decision);

    assert!(effects.save.is_none());
    assert_eq!(world.session.record().devices.len(), 1);
}

#[test]
fn an_approval_for_a_phone_that_hung_up_waits_for_it() {
    let mut world = World::new();
    let id = world.start(1);
    world.reveal(id, 1);
    let expires_at = world.expires_at();
    let gone = WaiterId(world.waiters);
    world.give(Input::WaiterGone { waiter: gone });

    world.decide(world.decision(id, 1, expires_at));
    assert!(world.session.record().devices.is_empty(), "nobody is there to be paired");

    world.reveal(id, 1);
    let effects = world.decide(world.decision(id, 1, expires_at));
    assert!(matches!(answer(&effects), Some(Ok(PairAnswer::Paired(_)))));
}

#[test]
fn time_ends_every_stage() {
    for stage in 0..2 {
        let mut world = World::new();
        let id = world.start(1);
        if stage > 0 {
            world.reveal(id, 1);
        }
        world.now.mono += Duration::from_secs(46);
        world.now.unix_ms += 46_000;
        let due = world.session.next_deadline(&world.policy).expect("a deadline");
        assert!(due <= world.now.mono, "stage {stage}");

        let effects = world.give(Input::Tick);

        if stage > 0 {
            assert!(matches!(answer(&effects), Some(Err(PairError::ApprovalExpired))));
        }
        assert_eq!(world.ended(), Some(PairOutcome::Expired), "stage {stage}");
        assert_eq!(world.session.waiters(), 0);
    }
}

#[test]
fn an_expired_lease_is_not_redeemed() {
    let mut world = World::new();
    world.now.unix_ms += 121_000;
    let waiter = world.waiter();
    let start = Box::new(StartPair {
        rendezvous: Some(world.created.rendezvous),
        code: None,
        device: DeviceInfo { name: "phone".to_owned(), platform: "test".to_owned() },
        commit: commitment(&phone_key(1), &OPENING),
    });

    let effects = world.give(Input::StartPair { waiter, start, address: String::new() });

    assert!(matches!(answer(&effects), Some(Err(PairError::CodeExpired))));
    assert!(LeaseKey::code(&belay_wire::Secret::new("not a code!"), &world.hash_key).is_none());
}

//! Pairing as a state machine: swapped keys, forged and replayed decisions, time that passes.

#[path = "common/around.rs"]
mod around;
#[path = "common/logs.rs"]
mod logs;
#[path = "common/told.rs"]
mod told;

use std::time::Duration;

use around::{Around, attach, key_of};
use belay_core::{
    Effect, Effects, Input, PairAnswer, PairError, Session,
    session::{LeaseKey, WaiterId},
    token::Principal,
};
use belay_wire::{
    Bytes32, Bytes64, ConnectionId, Frame, PairDecision, PairNonce, PublicKey, RequestId,
    pair::{DeviceInfo, HostInfo, PairOutcome, RevealPair, SessionCreated, StartPair},
    proof::{commitment, decision_transcript, key_hash},
};
use ed25519_dalek::{Signer, SigningKey};

struct World {
    session: Session,
    logs: logs::Logs,
    created: SessionCreated,
    signing: SigningKey,
    around: Around,
    waiters: u64,
}

const HOST: ConnectionId = ConnectionId::from_bytes([9; 16]);

const OPENING: Bytes32 = Bytes32([4; 32]);

impl World {
    /// A session with its host connected.
    fn new() -> Self {
        let signing = SigningKey::from_bytes(&[7; 32]);
        let sign = Bytes32(signing.verifying_key().to_bytes());
        let public_key = PublicKey { sign, agree: Bytes32([8; 32]) };
        let (name, platform) = ("desk".to_owned(), "test".to_owned());
        let host = HostInfo { name, platform, public_key };
        let mut around = Around::new();
        let (session, created) = Session::create(host, &mut around.env());
        let mut world =
            Self { session, logs: logs::Logs::default(), created, signing, around, waiters: 0 };
        world.give(Input::OpenLogs);
        world.connect_host();
        world
    }

    fn connect_host(&mut self) {
        let claims = self.around.keys.verify(&self.created.host_token).expect("our own token");
        let attach = attach(HOST, claims, 1);
        self.give(Input::Attach(Box::new(attach)));
        assert!(self.session.key_of(Principal::Host).is_some());
    }

    fn give(&mut self, input: Input) -> Effects {
        told::give(&mut self.session, &mut self.logs, input, &mut self.around.env())
    }

    fn waiter(&mut self) -> WaiterId {
        self.waiters += 1;
        WaiterId(self.waiters)
    }

    /// Frames that the host would be sent now.
    fn host_frames(&mut self) -> Vec<Frame> {
        let env = self.around.env();
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
            commit: commitment(&key_of(key), &OPENING),
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
        let reveal = Box::new(RevealPair { public_key: key_of(key), opening: OPENING });
        self.give(Input::RevealPair { waiter, request, reveal })
    }

    fn expires_at(&mut self) -> u64 {
        self.host_frames()
            .into_iter()
            .find_map(|f| if let Frame::PairRequested(r) = f { Some(r.expires_at) } else { None })
            .expect("the host is asked")
    }

    fn decision(&self, id: RequestId, key: u8, expires_at: u64) -> PairDecision {
        let key = key_hash(&key_of(key));
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
        ("key", |d| d.key = key_hash(&key_of(3))),
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
        world.around.wait(Duration::from_secs(46));
        let due = world.session.next_deadline(&world.around.policy).expect("a deadline");
        assert!(due <= world.around.now.mono, "stage {stage}");

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
    world.around.now.unix_ms += 121_000;
    let waiter = world.waiter();
    let start = Box::new(StartPair {
        rendezvous: Some(world.created.rendezvous),
        code: None,
        device: DeviceInfo { name: "phone".to_owned(), platform: "test".to_owned() },
        commit: commitment(&key_of(1), &OPENING),
    });

    let effects = world.give(Input::StartPair { waiter, start, address: String::new() });

    assert!(matches!(answer(&effects), Some(Err(PairError::CodeExpired))));
    assert!(
        LeaseKey::code(&belay_wire::Secret::new("not a code!"), &world.around.hash_key).is_none()
    );
}

//! A session with a connected host and phone, in invented time.

use std::time::{Duration, Instant};

use belay_core::{
    DeviceRecord, Effect, Effects, Entropy, Env, HashKey, Input, Now, Policy, Session, TokenState,
    session::{Attach, OutFrame},
    token::{Claims, Principal, TokenKeys},
};
use belay_wire::{
    Bytes32, ClientInfo, ConnectionId, Frame, MemberId, Positions, PublicKey,
    binary::BinaryFrame,
    pair::{DeviceInfo, HostInfo},
};

pub(crate) const HOST: ConnectionId = ConnectionId::from_bytes([9; 16]);
pub(crate) const PHONE: ConnectionId = ConnectionId::from_bytes([8; 16]);

pub(crate) fn member() -> MemberId {
    MemberId::from_bytes([5; 16])
}

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

pub(crate) struct World {
    session: Session,
    phone: Claims,
    entropy: Counting,
    keys: TokenKeys,
    hash_key: HashKey,
    policy: Policy,
    pub(crate) now: Now,
}

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
fn some_now() -> Now {
    Now { mono: Instant::now(), unix_ms: 1_700_000_000_000 }
}

impl World {
    /// Connects both, each announcing what it writes.
    pub(crate) fn new(host_base: Positions, phone_base: Positions) -> Self {
        let key = PublicKey { sign: Bytes32([1; 32]), agree: Bytes32([2; 32]) };
        let (name, platform) = ("desk".to_owned(), "test".to_owned());
        let keys = TokenKeys::new([(1, [1; 32])]).expect("there is a key");
        let (hash_key, policy, now) = (HashKey::new([2; 32]), Policy::default(), some_now());
        let mut entropy = Counting(0);
        let mut env =
            Env { now, entropy: &mut entropy, keys: &keys, hash_key: &hash_key, policy: &policy };
        let host = HostInfo { name, platform, public_key: key };
        let (session, created) = Session::create(host, &mut env);
        let claims = keys.verify(&created.host_token).expect("our own token");
        let nonce = [6; 16];
        let mut record = session.record().clone();
        record.devices.push(DeviceRecord {
            member: member(),
            info: DeviceInfo { name: "phone".to_owned(), platform: "test".to_owned() },
            key: Some(key),
            token: TokenState {
                generation: 1,
                nonce: hash_key.hash("token", &nonce),
                committed_at: now.unix_ms,
            },
            added_at: now.unix_ms,
            seen_at: now.unix_ms,
            revoked_at: None,
        });
        let session = Session::load(record);
        let phone = Claims { principal: Principal::Member(member()), nonce, ..claims };
        let mut world = Self { session, phone, entropy, keys, hash_key, policy, now };
        world.attach(HOST, claims, host_base, 1);
        world.attach(PHONE, phone, phone_base, 1);
        world.pull(HOST);
        world.pull(PHONE);
        world
    }

    /// The phone connects once more, beside its first connection.
    pub(crate) fn attach_phone_again(&mut self, connection: ConnectionId) {
        self.attach(connection, self.phone, Positions::new(), 2);
    }

    pub(crate) fn attach_phone_with(&mut self, connection: ConnectionId, attempt: u64) -> Effects {
        self.attach(connection, self.phone, Positions::new(), attempt)
    }

    fn attach(
        &mut self,
        connection: ConnectionId,
        claims: Claims,
        base: Positions,
        attempt: u64,
    ) -> Effects {
        let text = || "test".to_owned();
        let client = ClientInfo { name: text(), version: text(), instance: text(), attempt };
        self.give(Input::Attach(Box::new(Attach {
            connection,
            claims,
            client,
            resume: Positions::new(),
            base,
            proof_valid: true,
            nonce_is_old: false,
            revoked_elsewhere: false,
            node: text(),
            offer: false,
            compat: false,
        })))
    }

    pub(crate) fn give(&mut self, input: Input) -> Effects {
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

    pub(crate) fn frame(&mut self, connection: ConnectionId, frame: Frame) -> Effects {
        self.give(Input::Frame { connection, frame: Box::new(frame) })
    }

    /// What would be written to a connection now.
    pub(crate) fn pull(&mut self, connection: ConnectionId) -> Vec<Frame> {
        let frames = self.pull_all(connection).into_iter();
        frames.map(|f| f.unwrap_or_else(|f| panic!("no binary frames here: {f:?}"))).collect()
    }

    /// The same, with the binary frames on the error side.
    pub(crate) fn pull_all(&mut self, connection: ConnectionId) -> Vec<Result<Frame, BinaryFrame>> {
        let env = Env {
            now: self.now,
            entropy: &mut self.entropy,
            keys: &self.keys,
            hash_key: &self.hash_key,
            policy: &self.policy,
        };
        let pulled = self.session.pull(connection, &env);
        let decode = |frame: OutFrame| match frame {
            OutFrame::Text(bytes) => {
                let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
                Ok(belay_wire::decode(&text).expect("our own frame"))
            }
            OutFrame::Binary(bytes) => Err(BinaryFrame::decode(bytes).expect("our own frame")),
        };
        pulled.frames.into_iter().map(decode).collect()
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.unix_ms += u64::try_from(time.as_millis()).expect("short");
    }
}

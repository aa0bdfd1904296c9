//! A relay process: the session as it is, and who is connected to it.

use std::{collections::BTreeMap, time::Duration};

use belay_core::{
    DeviceRecord, Effect, Effects, Env, HashKey, HostRecord, Input, Lineage, Now, PairingRecord,
    Policy, Session, SessionRecord, TokenState, Unknown,
    delivery::Ask,
    session::{Attach, OutFrame},
    token::{Claims, Principal, TokenKeys},
};
use belay_wire::{
    Bytes32, Channel, ClientInfo, ConnectionId, Frame, MemberId, Positions, PublicKey, SessionId,
    pair::DeviceInfo,
};

use crate::rng::Rng;

/// What all nodes of a schedule share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) keys: TokenKeys,
    pub(crate) hash_key: HashKey,
    pub(crate) policy: Policy,
    pub(crate) record: SessionRecord,
}

pub(crate) const NONCE: [u8; 16] = [3; 16];
pub(crate) const MEMBERS: [MemberId; 2] =
    [MemberId::from_bytes([1; 16]), MemberId::from_bytes([2; 16])];

/// Who a client is: the host, then the members.
pub(crate) fn principal(client: usize) -> Principal {
    if client == 0 { Principal::Host } else { Principal::Member(MEMBERS[client - 1]) }
}

impl Shared {
    pub(crate) fn new(unix_ms: u64) -> Self {
        let keys = TokenKeys::new([(1, [1; 32])]).unwrap_or_else(|| unreachable!("there is a key"));
        let hash_key = HashKey::new([2; 32]);
        let policy = Policy {
            log_messages: 12,
            log_bytes: 8 * 1024,
            log_age: Duration::from_mins(1),
            command_ttl: Duration::from_mins(2),
            slow_consumer_after: Duration::from_secs(5),
            rotation_after: Duration::from_hours(1_000),
            member_rate: (1_000, 1_000),
            ..Policy::default()
        };
        let key = PublicKey { sign: Bytes32([1; 32]), agree: Bytes32([1; 32]) };
        let token = TokenState {
            generation: 1,
            nonce: hash_key.hash("token", &NONCE),
            committed_at: unix_ms,
        };
        let device = |member| DeviceRecord {
            member,
            info: DeviceInfo { name: "phone".to_owned(), platform: "sim".to_owned() },
            key: Some(key),
            token,
            added_at: unix_ms,
            seen_at: unix_ms,
            revoked_at: None,
            revoked_because: None,
            lost: Vec::new(),
            unknown: Unknown::new(),
        };
        let record = SessionRecord {
            id: SessionId::from_bytes([9; 16]),
            version: 1,
            created_at: unix_ms,
            host: HostRecord {
                name: "desk".to_owned(),
                platform: "sim".to_owned(),
                key: Some(key),
                token,
                seen_at: unix_ms,
            },
            devices: MEMBERS.map(device).to_vec(),
            lease: None,
            compat: None,
            lineage: Lineage::default(),
            pairing: PairingRecord::default(),
            unknown: Unknown::new(),
        };
        Self { keys, hash_key, policy, record }
    }
}

/// How a client presents itself.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) client: usize,
    pub(crate) connection: ConnectionId,
    pub(crate) instance: u64,
    pub(crate) attempt: u64,
    pub(crate) resume: Positions,
    pub(crate) base: Positions,
}

/// What came out of a node.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) asks: Vec<(Channel, Ask)>,
    pub(crate) frames: Vec<(ConnectionId, Frame)>,
    pub(crate) closed: Vec<ConnectionId>,
}

/// One process.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    session: Session,
    /// Which start of which node this is.
    pub(crate) boot: u64,
    connected: BTreeMap<ConnectionId, usize>,
}

impl Node {
    pub(crate) fn start(shared: &Shared, boot: u64) -> Self {
        Self { session: Session::load(shared.record.clone()), boot, connected: BTreeMap::new() }
    }

    pub(crate) fn is_settled(&self, channel: Channel) -> bool {
        self.session.is_settled(channel)
    }

    pub(crate) fn attach(&mut self, hello: Hello, shared: &Shared, now: Now, rng: &mut Rng) -> Out {
        let text = |n: u64| n.to_string();
        let attach = Attach {
            connection: hello.connection,
            claims: Claims {
                session: shared.record.id,
                principal: principal(hello.client),
                issued_at: 0,
                generation: 1,
                nonce: NONCE,
            },
            client: ClientInfo {
                name: "sim".to_owned(),
                version: "0".to_owned(),
                instance: text(hello.instance),
                attempt: hello.attempt,
            },
            resume: hello.resume,
            base: hello.base,
            proof_valid: true,
            nonce_is_old: false,
            revoked_elsewhere: false,
            node: String::new(),
            offer: false,
            compat: false,
            offered: None,
        };
        self.connected.insert(hello.connection, hello.client);
        self.give(Input::Attach(Box::new(attach)), shared, now, rng)
    }

    pub(crate) fn give(&mut self, input: Input, shared: &Shared, now: Now, rng: &mut Rng) -> Out {
        let mut out = Out::default();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut env = env(shared, now, rng);
            let Effects { log, save, then, .. } = self.session.handle(input, &mut env);
            out.asks.extend(log);
            let stored = save.map(|record| Input::Record(Box::new(record)));
            let mut next: Vec<_> = stored.into_iter().collect();
            for effect in then {
                match effect {
                    Effect::Feed(input) => next.push(input),
                    Effect::Close { connection, .. } => out.closed.push(connection),
                    Effect::Answer { .. }
                    | Effect::Revoke { .. }
                    | Effect::Sit { .. }
                    | Effect::Leave { .. }
                    | Effect::Spend(_)
                    | Effect::Bus(_) => {}
                }
            }
            inputs.extend(next.into_iter().rev());
        }
        self.pull(shared, now, rng, &mut out);
        for connection in &out.closed {
            self.connected.remove(connection);
        }
        for connection in out.closed.clone() {
            let later = self.give(Input::Detach { connection }, shared, now, rng);
            out.asks.extend(later.asks);
            out.frames.extend(later.frames);
            out.closed.extend(later.closed);
        }
        out
    }

    fn pull(&mut self, shared: &Shared, now: Now, rng: &mut Rng, out: &mut Out) {
        for connection in self.connected.keys() {
            loop {
                let pulled = self.session.pull(*connection, &env(shared, now, rng));
                if pulled.frames.is_empty() {
                    break;
                }
                for frame in pulled.frames {
                    let OutFrame::Text(bytes) = frame else { continue };
                    let text = String::from_utf8_lossy(&bytes);
                    match belay_wire::decode(&text) {
                        Ok(frame) => out.frames.push((*connection, frame)),
                        Err(error) => unreachable!("our own frame: {error}"),
                    }
                }
            }
        }
    }

    pub(crate) fn has(&self, connection: ConnectionId) -> bool {
        self.connected.contains_key(&connection)
    }

    pub(crate) fn detach(
        &mut self,
        connection: ConnectionId,
        shared: &Shared,
        now: Now,
        rng: &mut Rng,
    ) -> Out {
        self.connected.remove(&connection);
        self.give(Input::Detach { connection }, shared, now, rng)
    }

    /// Tells whether time changes something within two seconds.
    pub(crate) fn is_due(&self, shared: &Shared, now: std::time::Instant) -> bool {
        let soon = now + Duration::from_secs(2);
        let acks = |id: &ConnectionId| self.session.pull_deadline(*id).is_some();
        self.session.next_deadline(&shared.policy).is_some_and(|due| due <= soon)
            || self.connected.keys().any(acks)
    }

    /// What the session would show of itself, for a failed schedule.
    pub(crate) fn describe(&self) -> String {
        format!("{:?}", self.session)
    }
}

/// What a session is given.
pub(crate) fn env<'a>(shared: &'a Shared, now: Now, rng: &'a mut Rng) -> Env<'a> {
    Env {
        now,
        entropy: rng,
        keys: &shared.keys,
        hash_key: &shared.hash_key,
        policy: &shared.policy,
    }
}

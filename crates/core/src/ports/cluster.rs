//! What nodes share besides sessions and logs: who is connected where, leases, limits, and a bus for what
//! is never stored. All of it may be lost: what counts is read from the store and the logs.

use std::{fmt::Debug, sync::Arc, time::Duration};

use belay_wire::{Channel, ConnectionId, Frame, Positions, SessionId};
use serde_json::Value;

use super::{Answer, Tail};
use crate::{delivery::Volatile, token::Principal};

/// What is stored of a session, as two counters: another value means that something changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// Of the record; 0 if there is none.
    pub record: u64,
    /// Of its seats.
    pub seats: u64,
}

/// The newest connection of a principal, at whichever node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    pub principal: Principal,
    pub connection: ConnectionId,
    /// The life of the node that serves it: a node that starts again is another one.
    pub node: String,
    /// Fencing number: greater than that of every seat taken before in this session.
    pub generation: u64,
    /// The life of the client, and the number of its connection in it.
    pub instance: String,
    pub attempt: u64,
}

/// Who is alive, as the store sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alive {
    /// Store time, Unix milliseconds: the one clock that all nodes agree on.
    pub now_ms: u64,
    /// Lives of nodes whose lease runs.
    pub nodes: Vec<String>,
}

/// Who is connected where. A seat counts as long as the lease of its node runs, so a node that dies leaves
/// nothing that needs cleaning.
pub trait Presence: Send + Sync + Debug {
    /// Takes the seat of a principal; answers its generation. `seat.generation` is ignored.
    fn sit(&self, session: SessionId, seat: Seat) -> Answer<u64>;

    /// Gives a seat up, unless a newer connection has it.
    fn leave(&self, session: SessionId, principal: Principal, generation: u64) -> Answer<()>;

    /// The seats of a session, also those of nodes that died.
    fn seats(&self, session: SessionId) -> Answer<Vec<Seat>>;

    /// Renews the lease of a node's life for `ttl`, and tells who else is alive.
    fn renew(&self, node: String, ttl: Duration) -> Answer<Alive>;

    /// Ends the lease of a node's life.
    fn retire(&self, node: String) -> Answer<()>;
}

/// Leases on work that one node does for all.
pub trait Leases: Send + Sync + Debug {
    /// Takes or renews a lease. Answers its fencing number, which grows with every new holder; `None`:
    /// somebody else has it.
    fn hold(&self, name: &'static str, node: String, ttl: Duration) -> Answer<Option<u64>>;

    /// Notes that what has this affinity key is at a node, unless another one was noted that is not
    /// `instead_of`. Answers which node is noted now. Nothing but a hint depends on it.
    fn stick(
        &self,
        key: String,
        node: String,
        instead_of: Option<String>,
        ttl: Duration,
    ) -> Answer<String>;
}

/// Rate limits that all nodes share.
pub trait Limits: Send + Sync + Debug {
    /// Takes `cost` from the allowance of a key: one every `every`, up to `burst` at once (GCRA). `Err`
    /// within the answer: nothing was taken, and how long to wait.
    fn take(
        &self,
        key: String,
        cost: u32,
        every: Duration,
        burst: u32,
    ) -> Answer<Result<(), Duration>>;

    /// Notes that `cost` was taken, whether it was there or not; nothing asks only. Answers how far ahead the
    /// key is now: `burst` times `every` ahead is empty.
    fn spend(&self, key: String, cost: u32, every: Duration, burst: u32) -> Answer<Duration>;
}

/// What nodes tell each other about a session. Nothing depends on its arrival.
#[derive(Debug, Clone)]
pub enum BusFrame {
    /// Record or seats changed: read them.
    Changed,
    /// The session was ended.
    Ended { reason: String },
    /// The log of a channel ends here.
    Tail { channel: Channel, tail: Tail },
    /// Readers have applied this.
    Applied { positions: Positions },
    /// A volatile message.
    Volatile { channel: Channel, message: Volatile },
    /// A frame for the host, from whichever node it is connected to.
    ToHost { frame: Box<Frame> },
    /// Of [`ALL_NODES`]: a node says that it lives, under the name of this life, whether it reaches the
    /// store, which keys it has ([`crate::fingerprint`]), and how its drain stands, as its operator sees
    /// that; `None`: an earlier version does not say.
    Node { life: String, store: bool, keys: Vec<String>, drain: Option<Value> },
    /// Of [`ALL_NODES`]: the node of this name is to send its clients away.
    Drain { instance: String, reason: String, seconds: u64, endpoint: Option<String> },
    /// Of [`ALL_NODES`]: the node of this name is to take clients again.
    DrainCancelled { instance: String },
}

/// Stands for all nodes instead of a session: no session has this id.
pub const ALL_NODES: SessionId = SessionId::from_bytes([0xff; 16]);

/// What the bus tells a node.
#[derive(Debug, Clone)]
pub enum BusEvent {
    /// Another node said this of a session.
    Told { session: SessionId, frame: BusFrame },
    /// Whether messages pass. What was said meanwhile may be lost.
    Connected { connected: bool },
}

/// Takes what the bus tells; must not block.
pub type BusListener = Arc<dyn Fn(BusEvent) + Send + Sync>;

/// Messages between nodes that are never stored.
pub trait Bus: Send + Sync + Debug {
    /// Tells the other nodes that watch this session. Lost if the bus is away.
    fn tell(&self, session: SessionId, frame: BusFrame);

    /// From now on this is told what other nodes say.
    fn listen(&self, listener: BusListener);

    /// Frames of this session are wanted from now on.
    fn watch(&self, session: SessionId);

    /// And not any more.
    fn unwatch(&self, session: SessionId);

    /// Sends a message to itself and waits for it.
    fn check(&self) -> Answer<()>;
}

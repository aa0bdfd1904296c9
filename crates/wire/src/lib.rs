//! What crosses the wire, and nothing else: ids, tokens, frames, close codes, limits, and the
//! application protocol that host and members speak through the relay.
//!
//! This crate does no I/O, reads no clock and draws no random numbers. No input makes a decoder
//! panic: each refusal is a [`DecodeError`] that says what was wrong.

mod affinity;
pub mod app;
pub mod binary;
mod channel;
mod close;
pub mod compat;
mod frame;
mod id;
mod key;
mod limit;
pub mod pair;
mod position;
pub mod proof;
mod raw;
mod secret;

pub use affinity::{AFFINITY_HEADER, affinity_key, is_affinity_key};
pub use channel::Channel;
pub use close::{CloseCode, Verdict};
pub use frame::{
    Accepted, Ack, Auth, Bye, ClientInfo, DecodeError, DeviceList, DeviceListed, DeviceRevoke,
    DeviceRevoked, DeviceView, Drain, EpochFrame, Frame, From, Gap, Hello, LimitsView, Live, Lost,
    Msg, Nack, NackReason, Notice, Open, PairCommitted, PairDecision, PairEnded, PairNonce,
    PairRequested, PairWaiting, Ping, Pong, Presence, PresenceMember, Resumed, Skip, Snapshot,
    Stable, TokenCommitted, TokenConfirm, TokenOffer, Void, Vol, Welcome, decode, depth_exceeds,
    frame_fingerprint, nested, typescript,
};
pub use id::{ConnectionId, IdError, MemberId, RendezvousId, RequestId, SessionId};
pub use key::{Bytes32, Bytes64, KeyHash, PublicKey};
pub use limit::*;
pub use position::{Epoch, Position, Positions, Seq};
pub use raw::RawJson;
pub use secret::Secret;

/// Websocket subprotocol of this protocol version (RFC 6455, section 1.9).
pub const SUBPROTOCOL: &str = "belay.v1";

/// Protocol versions that this build speaks, newest first; a client names one of them in `auth`.
pub const VERSIONS: &[&str] = &["1.0"];

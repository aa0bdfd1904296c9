//! The frames of belay.v1 as JSON text: one object per frame, `k` first.
//!
//! A payload (`p`) stays the text that its writer sent. Unknown kinds and members are refused,
//! because the version that `auth` chose fixes them.

mod codec;
mod parts;

pub use codec::{DecodeError, depth_exceeds};
pub use parts::{ClientInfo, DeviceView, From, LimitsView, NackReason, PresenceMember, Resumed};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::{
    Bytes32, Bytes64, Channel, ConnectionId, Epoch, KeyHash, MemberId, Positions, PublicKey,
    RawJson, RendezvousId, RequestId, Secret, Seq, SessionId, pair::DeviceInfo,
};

macro_rules! frames {
    ($($(#[$meta:meta])* $name:ident = $kind:literal {
        $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
    })*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, Serialize, Deserialize, TS)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            #[ts(optional_fields)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
            }

            impl std::convert::From<$name> for Frame {
                fn from(frame: $name) -> Self { Self::$name(frame) }
            }
        )*

        /// Any frame of belay.v1.
        #[derive(Debug, Clone)]
        #[allow(missing_docs, reason = "each variant is the struct of the same name")]
        pub enum Frame { $($name($name),)* }

        impl Frame {
            /// The value of `k`.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $kind,)* }
            }

            /// The frame as JSON text with `k` first.
            pub fn encode(&self) -> String {
                match self { $(Self::$name(frame) => codec::encode($kind, frame),)* }
            }
        }

        /// Reads one frame.
        ///
        /// # Errors
        /// [`DecodeError`] names the first thing that is wrong; nothing panics.
        pub fn decode(text: &str) -> Result<Frame, DecodeError> {
            match codec::kind(text)? {
                $($kind => codec::decode::<$name>($kind, text).map(Frame::$name),)*
                other => Err(DecodeError::unknown_kind(other)),
            }
        }

        /// The TypeScript declarations of all frames, in wire order.
        pub fn typescript(config: &ts_rs::Config) -> Vec<(&'static str, String)> {
            vec![$(($kind, <$name as TS>::inline(config)),)*]
        }
    };
}

frames! {
    /// First frame of the relay.
    Hello = "hello" {
        /// Fresh, with its issue time and a MAC; signed by `auth.proof`.
        nonce: String,
        versions: Vec<String>,
        limits: LimitsView,
    }
    /// First frame of a client.
    Auth = "auth" {
        version: String,
        token: Secret,
        nonce: String,
        /// Signature over label, origin, session, device, nonce and token hash.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Bytes64>,
        client: ClientInfo,
        /// Last applied position per channel read.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[ts(as = "Option<Positions>")]
        resume: Positions,
        /// Lowest number that can still be sent, per channel written.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        #[ts(as = "Option<Positions>")]
        base: Positions,
    }
    /// The answer to `auth`.
    Welcome = "welcome" {
        session: SessionId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberId>,
        connection: ConnectionId,
        /// An offer; it commits when it is first used or confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_token: Option<Secret>,
        /// Head of each log that this client writes; absent where there is no log.
        accepted: Positions,
        resumed: BTreeMap<Channel, Resumed>,
        /// Channels whose log cannot be read now.
        pending: Vec<Channel>,
        limits: LimitsView,
        heartbeat_ms: u64,
        node: String,
        host_connected: bool,
        notices: Vec<String>,
    }
    /// Channels that were pending and can be read now: as `welcome.accepted`.
    Accepted = "accepted" {
        pos: Positions,
    }
    /// Names a channel for binary frames of this direction and connection.
    Open = "open" {
        id: u32,
        ch: Channel,
        epoch: Epoch,
    }
    /// A durable message.
    Msg = "msg" {
        ch: Channel,
        epoch: Epoch,
        seq: Seq,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        flags: Option<u32>,
        /// Volatile messages of this key that came before are outdated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Its former names, oldest first: a reader that applied one of them has it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[ts(as = "Option<Vec<crate::Position>>")]
        was: Vec<crate::Position>,
        /// Relay time in Unix milliseconds; set by the relay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
        /// Who wrote it; set by the relay, always.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<From>,
        p: RawJson,
    }
    /// The writer gave this number up.
    Void = "void" {
        ch: Channel,
        epoch: Epoch,
        seq: Seq,
        reason: String,
    }
    /// Everything up to `to` is gone at the writer, too.
    Skip = "skip" {
        ch: Channel,
        epoch: Epoch,
        to: Seq,
        reason: String,
    }
    /// The writer has a new memory; the previous epoch is closed for ever.
    EpochFrame = "epoch" {
        ch: Channel,
        new: Epoch,
        base: Seq,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev: Option<Epoch>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev_last: Option<Seq>,
    }
    /// A volatile message: newest per key, never stored, not acknowledged.
    Vol = "vol" {
        ch: Channel,
        epoch: Epoch,
        /// Last durable number when it was made.
        after: Seq,
        vseq: u64,
        key: String,
        p: RawJson,
    }
    /// Relay to writer: stored up to here. Reader to relay: applied or held up to here.
    Ack = "ack" {
        pos: Positions,
    }
    /// The one reader of a channel has acknowledged this; the writer may forget.
    Stable = "stable" {
        pos: Positions,
    }
    /// A frame was not accepted.
    Nack = "nack" {
        ch: Channel,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<Epoch>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expect: Option<Seq>,
        reason: NackReason,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    }
    /// Gone for this reader.
    Gap = "gap" {
        ch: Channel,
        epoch: Epoch,
        from: Seq,
        to: Seq,
        reason: String,
    }
    /// To a member: these commands will not reach the host.
    Lost = "lost" {
        ch: Channel,
        epoch: Epoch,
        from: Seq,
        to: Seq,
        reason: String,
    }
    /// A member asks the host for its full state.
    Snapshot = "snapshot" {
        id: String,
        reason: String,
        /// Which member asks; set by the relay.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<MemberId>,
    }
    /// Who is connected.
    Presence = "presence" {
        host_connected: bool,
        /// Unix milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_seen_at: Option<u64>,
        /// To the host only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        members: Option<Vec<PresenceMember>>,
    }
    /// The node is going away; come back elsewhere or later.
    Drain = "drain" {
        reason: String,
        deadline_ms: u64,
        reconnect_in_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
    }
    /// Something a person or client should know.
    Notice = "notice" {
        code: String,
        text: String,
    }
    /// A successor token on a long connection.
    TokenOffer = "token.offer" {
        token: Secret,
    }
    /// The client has written the offered token durably.
    TokenConfirm = "token.confirm" {
        token: Secret,
    }
    /// The confirmed token is the current one.
    TokenCommitted = "token.committed" {}
    /// To the host: a phone committed to its key.
    PairCommitted = "pair.commit" {
        id: RequestId,
        device: DeviceInfo,
        address: String,
        commit: Bytes32,
        /// The code was typed, so the phone does not have the QR's secret.
        typed: bool,
    }
    /// From the host: its fresh nonce, sent only after the commitment.
    PairNonce = "pair.nonce" {
        id: RequestId,
        nonce: Bytes32,
        /// The lease's own id, an input of the comparison code; the relay keeps only its hash.
        rendezvous: RendezvousId,
    }
    /// To the host: the phone opened its commitment and waits for approval.
    PairRequested = "pair.request" {
        id: RequestId,
        device: DeviceInfo,
        address: String,
        key: PublicKey,
        opening: Bytes32,
        /// Unix milliseconds.
        expires_at: u64,
    }
    /// From the host: the person's decision, signed over id, key hash and expiry.
    PairDecision = "pair.decision" {
        id: RequestId,
        approved: bool,
        key: KeyHash,
        expires_at: u64,
        signature: Bytes64,
    }
    /// To the host: whether the phone is still on the line.
    PairWaiting = "pair.waiting" {
        id: RequestId,
        waiting: bool,
    }
    /// To the host: how a pairing ended.
    PairEnded = "pair.ended" {
        id: RequestId,
        outcome: crate::pair::PairOutcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<MemberId>,
    }
    /// From the host: tell the devices.
    DeviceList = "device.list" {}
    /// To the host: its devices; sent on connect, on request and on every change.
    DeviceListed = "device.listed" {
        devices: Vec<DeviceView>,
        used: usize,
        allowed: usize,
    }
    /// From the host: remove a device.
    DeviceRevoke = "device.revoke" {
        member: MemberId,
    }
    /// To the host: a device is gone; `durable` once the second place has it, too.
    DeviceRevoked = "device.revoked" {
        member: MemberId,
        durable: bool,
    }
    /// Are you there; the relay's also says what this socket was written up to.
    Ping = "ping" {
        n: u64,
        t: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top: Option<Positions>,
    }
    /// The answer, with the ping's own members.
    Pong = "pong" {
        n: u64,
        t: u64,
    }
    /// End of replay.
    Live = "live" {
        pos: Positions,
    }
    /// Last frame before a close.
    Bye = "bye" {
        code: u16,
        reason: String,
        retry: bool,
        retry_in_ms: u64,
    }
}

/// What frames are made of, each declared once.
pub fn nested(config: &ts_rs::Config) -> Vec<String> {
    macro_rules! decls {
        ($($type:ty),* $(,)?) => { vec![$(<$type as ts_rs::TS>::decl(config)),*] };
    }
    decls![
        crate::SessionId,
        crate::MemberId,
        crate::ConnectionId,
        crate::RequestId,
        crate::RendezvousId,
        crate::Bytes32,
        crate::Bytes64,
        crate::KeyHash,
        crate::PublicKey,
        crate::Channel,
        crate::Epoch,
        crate::Seq,
        crate::Position,
        crate::Secret,
        crate::RawJson,
        crate::ClientInfo,
        crate::From,
        crate::LimitsView,
        crate::Resumed,
        crate::PresenceMember,
        crate::DeviceView,
        crate::NackReason,
        crate::pair::DeviceInfo,
        crate::pair::HostInfo,
        crate::pair::StartPair,
        crate::pair::PairStarted,
        crate::pair::RevealPair,
        crate::pair::Paired,
        crate::pair::PairOutcome,
        crate::pair::ApiErrorBody,
    ]
}

/// Fingerprint of the frame declarations and of all that they are made of: changes whenever a frame,
/// member or type does, or the layout of binary frames. `docs/protocol.md` carries it, and a test compares.
pub fn frame_fingerprint() -> String {
    let config = ts_rs::Config::default().with_large_int("number");
    let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a, 64 bit
    let frames = typescript(&config).into_iter().flat_map(|(kind, text)| [kind.to_owned(), text]);
    let parts = nested(&config).into_iter().chain([crate::binary::LAYOUT.to_owned()]);
    for byte in frames.chain(parts).flat_map(String::into_bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

impl Frame {
    /// A message as text, without cloning it into a [`Frame`]; the payload is the last member.
    pub fn encode_msg(msg: &Msg) -> String {
        codec::encode("msg", msg)
    }
}

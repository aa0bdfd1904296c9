//! Objects inside frames.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::{ConnectionId, MemberId, Seq};

/// The program behind a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct ClientInfo {
    pub name: String,
    pub version: String,
    /// Random per run of the program (page load, process start).
    pub instance: String,
    /// Counts connections of this instance; the higher one wins.
    pub attempt: u64,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
#[ts(optional_fields)]
pub struct From {
    /// Absent for the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    pub connection: ConnectionId,
}

/// The limits that the relay applies to this connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsView {
    pub message_bytes: usize,
    pub window_messages: usize,
    pub window_bytes: usize,
    pub log_messages: usize,
    pub log_bytes: usize,
    pub log_age_ms: u64,
}

/// Where a reader stands after `welcome`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct Resumed {
    /// A `gap` frame follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub gap: bool,
    /// The first number that will be sent.
    pub from: Seq,
    /// How many retained messages will be sent before `live`.
    pub count: u64,
}

/// Connection state of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PresenceMember {
    pub member: MemberId,
    pub connected: bool,
    /// Unix milliseconds.
    pub seen_at: u64,
}

/// A paired device as its host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceView {
    pub member: MemberId,
    pub name: String,
    pub platform: String,
    /// Unix milliseconds.
    pub added_at: u64,
    /// Unix milliseconds; the pairing counts.
    pub seen_at: u64,
    pub connected: bool,
}

/// Why a frame was not accepted; `docs/protocol.md` says what the writer does about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum NackReason {
    /// A number before this one is missing.
    Hole,
    /// The log lost what follows `expect`.
    LogLost,
    /// Too many messages; wait `retryMs`.
    RateLimited,
    /// The channel holds its limit of unapplied messages.
    Full,
    /// The append queue is full; wait `retryMs`.
    Busy,
    /// The log cannot be written now.
    LogUnavailable,
    /// The payload exceeds the limit.
    TooLarge,
    /// This client may not write that.
    NotAllowed,
    /// A newer epoch closed this one.
    EpochClosed,
    /// The number is taken by other bytes.
    Conflict,
    /// Nobody can answer the snapshot request now.
    HostOffline,
}

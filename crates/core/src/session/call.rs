//! HTTP calls that wait for a session, and what they are answered.

use belay_wire::{
    RequestId,
    pair::{CodeMade, PairStarted, Paired},
};

use super::Joined;

/// An HTTP call that waits for an answer; chosen by the caller, unique per node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(pub u64);

/// What an HTTP call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The host's nonce.
    Start(RequestId),
    /// The decision.
    Decision(RequestId),
}

impl Waiting {
    /// The pair request.
    pub const fn request(self) -> RequestId {
        match self {
            Self::Start(id) | Self::Decision(id) => id,
        }
    }
}

/// A good answer to an HTTP call.
#[derive(Debug, Clone)]
pub enum PairAnswer {
    Code(CodeMade),
    Started(PairStarted),
    Paired(Paired),
    /// A device of the compat protocol, with its token.
    Joined(Joined),
    /// What was asked is stored.
    Done,
}

/// Why a pairing step failed, with what a person should do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum PairError {
    #[error("this pairing link or code has expired; show a new one on the desktop")]
    CodeExpired,
    #[error("this code is wrong, or not the newest one; compare it with the desktop")]
    CodeWrong,
    #[error("this pairing link was used before; show a new one on the desktop")]
    CodeUsed,
    #[error("too many wrong codes; show a new one on the desktop")]
    CodeBurnt,
    #[error("the desktop is not connected to the relay; start it and try again")]
    HostOffline,
    #[error("{used} of {allowed} devices are paired; remove one on the desktop first")]
    DeviceLimit { used: usize, allowed: usize },
    #[error(
        "two devices used this link at the same time, so both were denied; if it was not you twice, somebody saw your code"
    )]
    Conflict,
    #[error(
        "the key does not match what the phone announced; somebody may sit in between, so nothing was paired"
    )]
    Mismatch,
    #[error("the desktop declined")]
    Rejected,
    #[error("nobody approved on the desktop in time; show a new code and try again")]
    ApprovalExpired,
    #[error("this pairing has ended or the relay restarted; show a new code on the desktop")]
    RequestUnknown,
    #[error("too many calls wait for this pairing")]
    TooManyWaiters,
    #[error("another phone waits for approval on the desktop")]
    JoinInProgress { request: RequestId, expires_at: u64 },
    #[error("the desktop disconnected before it could approve")]
    HostLeft,
}

impl PairError {
    /// A stable name for bodies and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::CodeExpired => "code_expired",
            Self::CodeWrong => "code_wrong",
            Self::CodeUsed => "code_used",
            Self::CodeBurnt => "code_burnt",
            Self::HostOffline => "host_offline",
            Self::DeviceLimit { .. } => "device_limit",
            Self::Conflict => "pair_conflict",
            Self::Mismatch => "key_mismatch",
            Self::Rejected => "rejected",
            Self::ApprovalExpired => "approval_expired",
            Self::RequestUnknown => "request_unknown",
            Self::TooManyWaiters => "too_many_waiters",
            Self::JoinInProgress { .. } => "join_in_progress",
            Self::HostLeft => "host_left",
        }
    }
}

//! What happened in a session.

use belay_wire::{CloseCode, ConnectionId, MemberId, NackReason, RequestId, pair::PairOutcome};

/// What happened, once, typed; logs and metrics are made from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Attached {
        connection: ConnectionId,
        is_host: bool,
        resumed: bool,
        /// It was connected before, in the same life.
        again: bool,
    },

    Detached {
        connection: ConnectionId,
        is_host: bool,
    },
    Refused {
        code: CloseCode,
        cause: &'static str,
    },
    Closed {
        connection: ConnectionId,
        code: CloseCode,
    },
    PairingStarted {
        request: RequestId,
    },
    PairingEnded {
        request: RequestId,
        outcome: PairOutcome,
    },
    CodeMade,
    CodeMissed {
        burnt: bool,
    },
    DeviceRevoked {
        member: MemberId,
        cause: &'static str,
    },
    TokenCommitted {
        ahead: bool,
    },
    ClientWentBack,
    MessageStored {
        bytes: usize,
    },
    MessageRefused {
        reason: NackReason,
    },
    VolatileReplaced,
    /// A desktop's message of the compat protocol that no phone was there to read.
    Unread,
    /// A frame of the compat protocol was not passed on.
    FrameRefused {
        error: &'static str,
    },
    /// The session was ended.
    SessionEnded {
        reason: &'static str,
    },
    CommandsExpired {
        count: usize,
    },
    /// A client named a place beyond what the log has (`resume`), or beyond what it was sent (`ack`).
    PositionAhead {
        what: &'static str,
    },
    /// The store went back to an older version of the record; it is healed with what is known here.
    StoreWentBack,
    /// The log of a channel went back: its writer heals it.
    LogWentBack,
    /// Records were found that do not follow each other.
    LogBroken,
    /// Whether storing messages is in trouble.
    Degraded {
        degraded: bool,
    },
    ProtocolError {
        cause: String,
    },
}

//! What goes into a session and what comes out.

use belay_wire::{
    Channel, CloseCode, ConnectionId, Frame, MemberId, Position, RequestId,
    binary::BinaryFrame,
    compat::Told,
    pair::{CodeMade, PairOutcome, PairStarted, Paired, RevealPair, StartPair},
};

use super::{
    attach::Attach,
    compat::{CompatJoin, CompatRefresh, Joined},
};
use crate::{
    SessionRecord,
    delivery::{Ask, Overdue},
    ports::{AppendError, BusFrame, Entry, Loaded, LogUnavailable, Seat, Tail},
    token::Principal,
};

/// An HTTP call that waits for an answer; chosen by the caller, unique per node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId(pub u64);

/// What can happen to a session.
#[derive(Debug, Clone)]
pub enum Input {
    /// A connection sent `auth` with a token of this session.
    Attach(Box<Attach>),
    /// What an attach needed to be stored is stored.
    Admit(Box<Attach>),
    /// A connection ended.
    Detach { connection: ConnectionId },
    /// A text frame of a connection.
    Frame { connection: ConnectionId, frame: Box<Frame> },
    /// A binary frame of a connection.
    Binary { connection: ConnectionId, frame: BinaryFrame },
    /// The host asks for a new join lease.
    NewCode { waiter: WaiterId },
    /// A phone redeems the join lease.
    StartPair { waiter: WaiterId, start: Box<StartPair>, address: String },
    /// A phone opens its commitment.
    RevealPair { waiter: WaiterId, request: RequestId, reveal: Box<RevealPair> },
    /// A phone of the compat protocol redeems a join token.
    CompatJoin { waiter: WaiterId, join: Box<CompatJoin> },
    /// Its desktop makes a new join token.
    CompatRefresh { waiter: WaiterId, refresh: Box<CompatRefresh> },
    /// A text frame of a connection of the compat protocol; `commit`: it may make an offered token current.
    CompatText { connection: ConnectionId, text: String, commit: bool },
    /// Something that a connection of the compat protocol may know now, because it is stored.
    CompatTell { connection: ConnectionId, told: Box<Told> },
    /// All that a connection of the compat protocol was given is written.
    Wrote { connection: ConnectionId },
    /// The session ends, for this reason.
    End { reason: &'static str },
    /// An HTTP call was answered or hung up.
    WaiterGone { waiter: WaiterId },
    /// An HTTP call waits for this step of a pair request.
    Await { waiter: WaiterId, waiting: Waiting },
    /// Nobody here waits for the answer to this pair request any more.
    Abandoned { request: RequestId },
    /// The pending pair request waited too long.
    PairOverdue,
    /// The host's last connection ended.
    HostLeft,
    /// Another version of the record is stored, by whichever node.
    Record(Box<SessionRecord>),
    /// The store went back behind this version.
    Heal(Box<SessionRecord>),
    /// These connections at other nodes hold the seats of their principals.
    Seats { seats: Vec<Seat> },
    /// A connection here took its seat.
    Seated { connection: ConnectionId, principal: Principal, generation: u64 },
    /// A seat is given up, if it was taken.
    GiveUp { principal: Principal, generation: Option<u64> },
    /// Another node says this.
    Bus(BusFrame),
    /// Commands of a channel will not reach the host.
    CommandsLost { channel: Channel, overdue: Overdue },
    /// A member heard what it lost; its base is the lowest number that it can still send.
    LostHeard { member: MemberId, base: Option<Position> },
    /// The desktop of the compat protocol said whether phones may answer requests.
    Supports { supports: bool },
    /// The offered token of a connection of the compat protocol is current now.
    Committed { connection: ConnectionId },
    /// An operator or the command line revokes a device.
    Revoke { member: MemberId },
    /// Who is connected here is seen now: a long connection would tell its time only at its end.
    Touch,
    /// The second place has a revocation that the store does not show yet, or cannot be asked for: the device
    /// has no connection here any more.
    Expel { member: MemberId },
    /// The second place has a revocation, too.
    RevokeDurable { member: MemberId },
    /// Something that the host may know now, because it is stored.
    TellHost(Box<Frame>),
    /// The same for one connection.
    Tell { connection: ConnectionId, frame: Box<Frame> },
    /// The node stops: what is only in memory and can be stored is to be stored.
    Flush,
    /// The session came into memory: the logs of its channels are to be read.
    OpenLogs,
    /// The log of a channel answered or told something.
    Log { channel: Channel, told: LogTold },
    /// Storing works again, as the node found out.
    LogWorks,
    /// Nothing can be stored in any log until that works again, as the node found out.
    LogAway,
    /// Something may have been missed in any log.
    LogsDoubted,
    /// Whether the store of sessions can be reached: clients are told.
    Store { away: bool },
    /// Time passed.
    Tick,
}

impl Input {
    /// Tells whether it may want something stored, so that it may have to be given again.
    pub(super) fn may_save(&self) -> bool {
        #[expect(clippy::wildcard_enum_match_arm, reason = "frames and inputs that store nothing")]
        match self {
            Self::Frame { frame, .. } => matches!(
                &**frame,
                Frame::TokenConfirm(_)
                    | Frame::PairNonce(_)
                    | Frame::PairDecision(_)
                    | Frame::DeviceRevoke(_)
            ),
            // Few texts hold this word, and only a decision stores something.
            Self::CompatText { text, commit, .. } => *commit || text.contains("pair_decision"),
            Self::Binary { .. }
            | Self::Log { .. }
            | Self::Detach { .. }
            | Self::Wrote { .. }
            | Self::Record(_)
            | Self::Bus(_) => false,
            _ => true,
        }
    }

    /// The HTTP call that waits for it.
    pub fn waiter(&self) -> Option<WaiterId> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "others have none")]
        match self {
            Self::NewCode { waiter }
            | Self::StartPair { waiter, .. }
            | Self::RevealPair { waiter, .. }
            | Self::CompatJoin { waiter, .. }
            | Self::CompatRefresh { waiter, .. } => Some(*waiter),
            _ => None,
        }
    }
}

/// What the log of a channel says.
#[derive(Debug, Clone)]
pub enum LogTold {
    Loaded(Result<Loaded, LogUnavailable>),
    Appended(Result<Tail, AppendError>),
    /// An entry was stored, by whichever node.
    Stored {
        previous: u64,
        tail: Tail,
        entry: Entry,
    },
    /// It ends here, says another node.
    Hint(Tail),
    /// It was found to end here.
    Tail(Tail),
    /// Something may have been missed.
    Doubt,
}

/// What must happen outside: give `log` to the message log; store `save`, give it back as
/// [`Input::Record`], then do `then`; wake the connections that have something to pull.
///
/// An input that wants something stored has changed nothing yet. So when another version is stored, that one
/// is given as [`Input::Record`] and then `redo` again; when nothing can be stored, [`Session::not_stored`]
/// says what becomes of it.
///
/// [`Session::not_stored`]: super::Session::not_stored
#[derive(Debug, Default)]
pub struct Effects {
    /// What the logs of channels are to do, whatever becomes of the save.
    pub log: Vec<(Channel, Ask)>,
    /// To be stored before `then` is done, if what is stored is the version before it.
    pub save: Option<SessionRecord>,
    /// The input that wants this stored.
    pub redo: Option<Box<Input>>,
    /// What follows the save, or happens at once if there is none.
    pub then: Vec<Effect>,
    /// Connections with something to pull.
    pub wake: Vec<ConnectionId>,
    /// What happened, for logs and metrics.
    pub events: Vec<Event>,
}

/// One thing to do outside.
#[derive(Debug)]
pub enum Effect {
    /// Give this back to the session.
    Feed(Input),
    /// Close a socket after its `bye`.
    Close { connection: ConnectionId, code: CloseCode },
    /// Answer an HTTP call.
    Answer { waiter: WaiterId, answer: Result<PairAnswer, PairError> },
    /// Put a revocation in the second place.
    Revoke { member: MemberId },
    /// Take the seat of its principal for a connection, and say so to the other nodes.
    Sit { connection: ConnectionId, seat: Box<Seat> },
    /// Give the seat up, if it was taken.
    Leave { principal: Principal, generation: Option<u64> },
    /// Tell the other nodes.
    Bus(BusFrame),
}

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
        reason: belay_wire::NackReason,
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

//! What goes into a session.

use std::time::Duration;

use belay_wire::{
    Channel, ConnectionId, Frame, MemberId, Position, RequestId,
    binary::BinaryFrame,
    compat::Told,
    pair::{RevealPair, StartPair},
};

use super::{Allowance, Attach, CompatJoin, CompatRefresh, OwnSeat, WaiterId, Waiting};
use crate::{
    SessionRecord,
    delivery::Overdue,
    ports::{AppendError, BusFrame, Entry, Loaded, LogUnavailable, Seat, Tail},
    token::Principal,
};

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
    /// All nodes together are so far ahead with an allowance.
    Spent { allowance: Allowance, ahead: Duration },
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
    /// The store lost the session, of which this version was known here and which nobody removed.
    Lost { version: u64 },
    /// The store went back behind this version.
    Heal(Box<SessionRecord>),
    /// Who holds seats at other nodes, and which are noted for this one; `own` is [`Session::own_seats`] from
    /// before these were read.
    ///
    /// [`Session::own_seats`]: super::Session::own_seats
    Seats { seats: Vec<Seat>, here: Vec<Seat>, own: Vec<OwnSeat> },
    /// A connection here could not take its seat.
    Unseated { connection: ConnectionId },
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

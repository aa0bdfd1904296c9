//! One live connection of a session: who it is and what waits to be written to it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use belay_wire::{
    Channel, ClientInfo, CloseCode, ConnectionId, Epoch, Frame, MemberId, Position, Positions, Seq,
};

use crate::{
    Capability, Gcra,
    delivery::{Cursor, Window},
    token::Principal,
};

/// Control frames that may wait for one connection.
const CONTROL_FRAMES_MAX: usize = 256;

/// The control queue of a connection is full: it is not being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlFull;

/// A reader's place in one channel.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) channel: Channel,
    pub(super) cursor: Cursor,
    /// What the reader said it has applied.
    pub(super) applied: Option<Position>,
    /// Volatile messages up to this stamp were served.
    pub(super) stamp: u64,
    /// Bytes that this channel may still send in this round.
    pub(super) deficit: usize,
}

/// An authenticated connection.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(super) id: ConnectionId,
    pub(super) principal: Principal,
    pub(super) client: ClientInfo,
    pub(super) control: VecDeque<Frame>,
    pub(super) readers: Vec<Reader>,
    pub(super) window: Window,
    pub(super) rate: Gcra,
    /// Acknowledgements that are due to this writer, since when, and for how many messages.
    pub(super) ack_due: BTreeMap<Channel, Instant>,
    pub(super) ack_count: usize,
    /// After a nack, later numbers of the channel are ignored until this one comes.
    pub(super) nacked: BTreeMap<Channel, (Epoch, Seq)>,
    pub(super) presence_due: bool,
    pub(super) devices_due: bool,
    pub(super) live_due: bool,
    /// Set once a newer connection of the same principal is admitted: nothing is written here any
    /// more but the farewell, and frames are ignored.
    pub(super) superseded: bool,
    /// Of the seat that it took; `None`: it has not sat down yet.
    pub(super) generation: Option<u64>,
    /// It could not take its seat.
    pub(super) unseated: bool,
    /// The connection that this one replaces, to be closed with the first frame after `welcome`.
    pub(super) replaces: Option<ConnectionId>,
    pub(super) closing: Option<CloseCode>,
    /// Binary ids that the client opened.
    pub(super) opened: BTreeMap<u32, (Channel, Epoch)>,
    /// Binary ids that the relay opened.
    pub(super) announced: Vec<(Channel, Epoch)>,
    /// Bases of channels whose log could not be read when this writer came.
    pub(super) bases: Positions,
    /// The epoch in which this connection writes each channel, as it announced.
    pub(super) writing: BTreeMap<Channel, Epoch>,
    /// What belongs to a connection of the compat protocol.
    pub(super) compat: Option<super::compat::Link>,
}

impl Connection {
    /// Tells whether frames go to and come from this connection.
    pub(super) fn is_serving(&self) -> bool {
        !self.superseded && self.closing.is_none()
    }

    pub(super) fn is_host(&self) -> bool {
        self.principal == Principal::Host
    }

    pub(super) fn member(&self) -> Option<MemberId> {
        match self.principal {
            Principal::Host => None,
            Principal::Member(member) => Some(member),
        }
    }

    pub(super) fn reads(&self, channel: Channel) -> bool {
        self.readers.iter().any(|r| r.channel == channel)
    }

    /// What its readers said they have applied.
    pub(super) fn applied(&self) -> Vec<(Channel, Position)> {
        let applied = |r: &Reader| r.applied.map(|at| (r.channel, at));
        self.readers.iter().filter_map(applied).collect()
    }

    /// Tells whether this connection is the writer of a channel.
    pub(super) fn writes(&self, channel: Channel) -> bool {
        match channel {
            Channel::Down | Channel::DownTo(_) => self.principal.may(Capability::SessionPublish),
            Channel::Up(member) => {
                self.member() == Some(member) && self.principal.may(Capability::SessionCommand)
            }
        }
    }

    pub(super) fn message_bytes_max(&self) -> usize {
        match self.principal {
            Principal::Host => belay_wire::HOST_MESSAGE_BYTES_MAX,
            Principal::Member(_) => belay_wire::MESSAGE_BYTES_MAX,
        }
    }

    /// Queues a control frame.
    ///
    /// # Errors
    /// [`ControlFull`]: the connection must be closed as a slow consumer.
    pub(super) fn send(&mut self, frame: impl Into<Frame>) -> Result<(), ControlFull> {
        if self.control.len() >= CONTROL_FRAMES_MAX {
            return Err(ControlFull);
        }
        self.control.push_back(frame.into());
        Ok(())
    }

    pub(super) fn owe_ack(&mut self, channel: Channel, now: Instant) {
        self.ack_due.entry(channel).or_insert(now);
        self.ack_count += 1;
    }
}

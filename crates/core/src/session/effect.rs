//! What must happen outside.

use belay_wire::{Channel, CloseCode, ConnectionId, MemberId};

use super::{Event, Input, PairAnswer, PairError, Spent, WaiterId};
use crate::{
    SessionRecord,
    delivery::Ask,
    ports::{BusFrame, Seat},
    token::Principal,
};

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
    /// Note what was taken of allowances that nodes share, and give back [`Input::Spent`].
    Spend(Vec<Spent>),
    /// Tell the other nodes.
    Bus(BusFrame),
}

//! One state: a session, what is stored of it, and who holds which token.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use belay_core::{Now, Session, SessionRecord, token::Claims};
use belay_wire::ConnectionId;

use super::Case;
use crate::{
    model::part::Part,
    node::{MEMBERS, NONCE, Shared, principal},
};

/// Unix time at which every schedule begins.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Longer than rotation, the grace of a former token, and the time for an `auth`, in milliseconds.
pub(super) const PAUSE_MS: u64 = 16 * 60 * 1_000;

/// Who presents a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    Device,
    Thief,
}

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Breach {
    LockedOut,
    Punished,
    Theft,
    Unnoticed,
    Returned,
}

/// What is the same in all states.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) case: Case,
    pub(super) shared: Shared,
    start: Instant,
}

impl Stage {
    pub(super) fn new(case: Case) -> Self {
        // The first token is due for rotation.
        let mut shared = Shared::new(EPOCH_MS - PAUSE_MS);
        shared.policy.rotation_after = Duration::from_millis(PAUSE_MS);
        shared.record.devices.truncate(1);
        if !case.has_key {
            shared.record.devices[0].key = None;
        }
        Self { case, shared, start: Instant::now() }
    }
}

/// What one holder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// What it wrote down.
    pub(super) token: Claims,
    /// Its newest connection, if that is open.
    pub(super) open: Option<ConnectionId>,
    /// What it was offered there and has not taken.
    pub(super) offer: Option<Claims>,
    /// It sent a confirmation that has not arrived.
    pub(super) confirms: bool,
    /// When it connected, or was offered something there.
    pub(super) since: u64,
    /// The token came by an offer to this holder.
    pub(super) is_own: bool,
    /// Generations of its own that were served since the store went back last.
    pub(super) served: u32,
}

impl Held {
    /// Its connection ends, with what is under way on it.
    pub(super) fn leave(&mut self) {
        (self.open, self.offer, self.confirms) = (None, None, false);
    }
}

/// An `auth` that is under way for long, and when it was sent.
pub(super) type Postponed = (Claims, u64);

/// One state.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) stage: Arc<Stage>,
    pub(super) session: Part<Session>,
    /// What was saved, the newest last.
    pub(super) stored: Part<Vec<SessionRecord>>,
    pub(super) device: Held,
    pub(super) thief: Option<Held>,
    pub(super) postponed: Option<Postponed>,
    /// The second place has the revocation.
    pub(super) second: bool,
    /// It is still to be put there.
    pub(super) owed: bool,
    /// The host revoked the device and was told that it is done.
    pub(super) revoked: bool,
    /// The store went back since.
    pub(super) went_back: bool,
    pub(super) at: u64,
    pub(super) connections: u8,
    pub(super) faults: u8,
    pub(super) waits: u8,
    pub(super) breach: Option<Breach>,
}

impl World {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let record = stage.shared.record.clone();
        let token = Claims {
            session: record.id,
            principal: principal(1),
            issued_at: 0,
            generation: 1,
            nonce: NONCE,
        };
        let mut world = Self {
            session: Part::new(Session::load(record.clone())),
            stored: Part::new(vec![record]),
            device: Held {
                token,
                open: None,
                offer: None,
                confirms: false,
                since: 0,
                is_own: false,
                served: 0,
            },
            thief: None,
            postponed: None,
            second: false,
            owed: false,
            revoked: false,
            went_back: false,
            at: 0,
            connections: 0,
            faults: stage.case.faults,
            waits: stage.case.waits,
            breach: None,
            stage,
        };
        world.seal();
        world
    }

    pub(super) fn seal(&mut self) {
        self.session.seal();
        self.stored.seal();
    }

    pub(super) fn now(&self) -> Now {
        let mono = self.stage.start + Duration::from_millis(self.at);
        Now { mono, unix_ms: EPOCH_MS + self.at }
    }

    pub(super) fn held(&mut self, holder: Holder) -> Option<&mut Held> {
        match holder {
            Holder::Device => Some(&mut self.device),
            Holder::Thief => self.thief.as_mut(),
        }
    }

    pub(super) fn is_marked_revoked(&self) -> bool {
        let device = self.session.record().device(MEMBERS[0]);
        device.is_none_or(|device| device.revoked_at.is_some())
    }

    pub(super) fn has_rotated(&self) -> bool {
        let device = self.session.record().device(MEMBERS[0]);
        device.is_some_and(|device| device.token.generation > 1)
    }

    /// What is not in the session and its store.
    fn rest(&self) -> impl PartialEq + Hash {
        let claims = |claims: &Claims| (claims.generation, claims.nonce);
        let held = |held: &Held| {
            let offer = held.offer.as_ref().map(claims);
            (
                claims(&held.token),
                held.open,
                offer,
                held.confirms,
                held.since,
                held.is_own,
                held.served,
            )
        };
        let flags = (self.second, self.owed, self.revoked, self.went_back);
        let left = (self.at, self.connections, self.faults, self.waits, self.breach);
        let postponed = self.postponed.as_ref().map(|(token, at)| (claims(token), *at));
        (held(&self.device), self.thief.as_ref().map(held), postponed, flags, left)
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.session == other.session && self.stored == other.stored && self.rest() == other.rest()
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.session.hash(state);
        self.stored.hash(state);
        self.rest().hash(state);
    }
}

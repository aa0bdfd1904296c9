//! One state of a small world.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use belay_core::{
    Now,
    delivery::Ask,
    ports::{Entry, Tail},
};
use belay_wire::{ConnectionId, Epoch, Frame};

use super::{part::Part, setup::Setup};
use crate::{
    audit::{Audit, Violation},
    client::Client,
    log::Logs,
    node::{Hello, Node, Shared},
};

/// Unix time at which every schedule begins.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// What is the same in all states.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) setup: Setup,
    pub(super) shared: Shared,
    pub(super) start: Instant,
}

impl Stage {
    pub(super) fn new(setup: Setup) -> Self {
        let mut shared = Shared::new(EPOCH_MS);
        shared.policy.log_messages = setup.kept;
        let members = setup.clients.iter().filter(|client| **client > 0).count();
        shared.record.devices.truncate(members);
        // Nobody proves anything here, and keys make the text long by which states are known.
        shared.record.host.key = None;
        shared.record.devices.iter_mut().for_each(|device| device.key = None);
        // All other times are relative to it.
        Self { setup, shared, start: Instant::now() }
    }
}

/// What a client sends.
#[derive(Debug, Clone)]
pub(super) enum ToNode {
    Attach(Box<Hello>),
    Frame(Box<Frame>),
}

/// What a node sends.
#[derive(Debug, Clone)]
pub(super) enum ToClient {
    Frame(Box<Frame>),
    Closed,
}

/// One connection with what is under way on it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) node: usize,
    pub(super) to_node: VecDeque<ToNode>,
    pub(super) to_client: VecDeque<ToClient>,
    /// The client has left it.
    pub(super) left: bool,
    /// The node has closed it, or died.
    pub(super) closed: bool,
}

/// A client and what keeps its names apart.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) client: Client,
    /// The last epoch that it may have named.
    pub(super) epochs: u64,
    pub(super) tries: u8,
}

impl Person {
    /// Epochs that nobody named before.
    pub(super) fn draw(&self) -> impl FnMut() -> Epoch + use<> {
        let mut next = self.epochs.max(1_000 * (self.client.id as u64 + 1));
        move || {
            next += 1;
            Epoch(next)
        }
    }

    /// Notes which of them were taken.
    pub(super) fn note_epochs(&mut self) {
        let heads = self.client.writes().into_iter().filter_map(|ch| self.client.ledger.head(ch));
        self.epochs = heads.map(|head| head.epoch.0).max().unwrap_or(0).max(self.epochs);
    }
}

/// What nodes and log have before them.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// What each node asked of the log.
    pub(super) asks: Vec<Option<Ask>>,
    /// Appends whose node was not told what became of them.
    pub(super) late: Vec<Ask>,
    /// What each node is to hear that others stored.
    pub(super) bus: Vec<VecDeque<(u64, Tail, Entry)>>,
    /// It missed something, and will compare tails.
    pub(super) doubts: Vec<bool>,
}

/// One state.
#[derive(Debug, Clone)]
pub struct Scene {
    pub(super) stage: Arc<Stage>,
    /// Milliseconds since the beginning.
    pub(super) at: u64,
    pub(super) nodes: Vec<Part<Node>>,
    pub(super) people: Vec<Part<Person>>,
    pub(super) links: Part<BTreeMap<ConnectionId, Link>>,
    pub(super) table: Part<Table>,
    pub(super) logs: Part<Logs>,
    pub(super) audit: Part<Audit>,
    /// Messages still to be sent.
    pub(super) pushes: u8,
    /// Faults still to come.
    pub(super) faults: u8,
    /// How often nothing but time moved since the last fault or message.
    pub(super) waits: u8,
}

impl Scene {
    pub(super) fn now(&self) -> Now {
        let mono = self.stage.start + Duration::from_millis(self.at);
        Now { mono, unix_ms: EPOCH_MS + self.at }
    }

    /// What must not be.
    pub fn violation(&self) -> Option<&Violation> {
        self.audit.violation.as_ref()
    }

    /// Everything that was sent was applied, or told to be gone, and nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.pushes == 0 && self.audit.applied > 0 && self.is_at_rest()
    }

    pub(super) fn seal(&mut self) {
        self.nodes.iter_mut().for_each(Part::seal);
        self.people.iter_mut().for_each(Part::seal);
        self.links.seal();
        self.table.seal();
        self.logs.seal();
        self.audit.seal();
    }
}

impl PartialEq for Scene {
    fn eq(&self, other: &Self) -> bool {
        let parts = |s: &Self| {
            (s.at, s.pushes, s.faults, s.waits, s.nodes.clone(), s.people.clone(), s.links.clone())
        };
        parts(self) == parts(other)
            && self.table == other.table
            && self.logs == other.logs
            && self.audit == other.audit
    }
}

impl Hash for Scene {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.at, self.pushes, self.faults, self.waits).hash(state);
        self.nodes.hash(state);
        self.people.hash(state);
        self.links.hash(state);
        self.table.hash(state);
        self.logs.hash(state);
        self.audit.hash(state);
    }
}

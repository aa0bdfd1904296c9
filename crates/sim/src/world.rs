//! Everything that can happen, in an order that a seed decides.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::{Duration, Instant},
};

use belay_core::{
    Input, Now,
    delivery::Ask,
    ports::{AppendError, Entry, LogUnavailable, Tail},
    session::LogTold,
};
use belay_wire::{Channel, ConnectionId, Epoch, Frame};

use crate::{
    audit::{Audit, Promise, Violation},
    client::Client,
    log::{Logs, number_of},
    node::{Hello, Node, Out, Shared},
    rng::Rng,
};

const NODES: usize = 2;
const CLIENTS: usize = 3;
/// Unix time at which every schedule begins.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// How long everything goes well in the end, in milliseconds: longer than any pause of a client.
const CALM_MS: u64 = 120_000;

/// A copy of a client is put back long after what its original sent was stored or lost.
const RESTORE_MS: u64 = 10_000;

/// What a schedule showed.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    pub applied: u64,
    pub gaps: u64,
    /// What happened, one line each, if it was asked for.
    pub trace: Vec<String>,
}

#[derive(Debug)]
enum Event {
    Attach { node: usize, boot: u64, hello: Box<Hello> },
    ToNode { node: usize, boot: u64, connection: ConnectionId, frame: Box<Frame> },
    ToClient { client: usize, connection: ConnectionId, frame: Box<Frame> },
    Closed { client: usize, connection: ConnectionId },
    Detach { node: usize, boot: u64, connection: ConnectionId },
    Connect { client: usize },
    Ask { node: usize, boot: u64, channel: Channel, ask: Ask },
    Answer { node: usize, boot: u64, channel: Channel, told: LogTold },
    Bus { node: usize, boot: u64, channel: Channel, previous: u64, tail: Tail, entry: Entry },
    Start { node: usize },
    Tick { node: usize },
    Write { client: usize },
}

struct World {
    rng: Rng,
    at: u64,
    start: Instant,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    waiting: BTreeMap<u64, Event>,
    next: u64,
    shared: Shared,
    nodes: Vec<Option<Node>>,
    boots: u64,
    clients: Vec<Client>,
    /// Which node serves a connection, and when its last frames arrive each way.
    links: BTreeMap<ConnectionId, Link>,
    connections: u64,
    logs: Logs,
    audit: Audit,
    faults: Faults,
    trace: Option<Vec<String>>,
}

struct Link {
    client: usize,
    node: usize,
    boot: u64,
    to_node: u64,
    to_client: u64,
    /// Frames that would arrive later than this are lost.
    cut: Option<u64>,
}

/// What goes wrong now, in percent.
#[derive(Debug, Default, Clone, Copy)]
struct Faults {
    refuse: u64,
    unknown: u64,
    lose_bus: u64,
    slow: u64,
}

/// Plays one schedule. Panics nowhere; what must not happen is in the outcome.
pub fn simulate(seed: u64, trace: bool) -> Outcome {
    let mut world = World::new(seed, trace);
    let steps = 200 + world.rng.below(600);
    for _ in 0..steps {
        world.disturb();
        world.step();
        if world.audit.violation.is_some() {
            return world.outcome();
        }
    }
    world.calm();
    world.outcome()
}

// All other times are relative to it.
fn some_instant() -> Instant {
    Instant::now()
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            at: 0,
            start: some_instant(),
            events: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            shared: Shared::new(EPOCH_MS),
            nodes: (0..NODES).map(|_| None).collect(),
            boots: 0,
            clients: (0..CLIENTS).map(Client::new).collect(),
            links: BTreeMap::new(),
            connections: 0,
            logs: Logs::default(),
            audit: Audit::default(),
            faults: Faults::default(),
            trace: trace.then(Vec::new),
        };
        (0..NODES).for_each(|node| world.plan(0, Event::Start { node }));
        (0..CLIENTS).for_each(|client| world.plan(1, Event::Connect { client }));
        world
    }

    fn outcome(self) -> Outcome {
        let mut trace = self.trace.unwrap_or_default();
        if self.audit.violation.is_some() && !trace.is_empty() {
            let nodes = self.nodes.iter().flatten();
            trace.extend(nodes.map(Node::describe));
        }
        let Audit { violation, applied, gaps, .. } = self.audit;
        Outcome { violation, applied, gaps, trace }
    }

    fn now(&self) -> Now {
        Now { mono: self.start + Duration::from_millis(self.at), unix_ms: EPOCH_MS + self.at }
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} {}", self.at, text()));
        }
    }

    fn plan(&mut self, after: u64, event: Event) {
        self.events.push(Reverse((self.at + after, self.next)));
        self.waiting.insert(self.next, event);
        self.next += 1;
    }

    /// The next event happens.
    fn step(&mut self) {
        let Some(Reverse((at, id))) = self.events.pop() else { return };
        self.at = self.at.max(at);
        if let Some(event) = self.waiting.remove(&id) {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        if self.trace.is_some() {
            let text = format!("{event:?}");
            self.note(|| text.chars().take(400).collect());
        }
        match event {
            Event::Start { node } => self.start(node),
            Event::Tick { node } => {
                if let Some(boot) = self.boot(node) {
                    self.give(node, boot, Input::Tick);
                    self.plan(250, Event::Tick { node });
                }
            }
            Event::Connect { client } => self.connect(client),
            Event::Attach { node, boot, hello } => {
                let now = self.now();
                let Some(here) = self.nodes[node].as_mut().filter(|n| n.boot == boot) else {
                    return;
                };
                let out = here.attach(*hello, &self.shared, now, &mut self.rng);
                self.carry_out(node, boot, out);
            }
            Event::ToNode { node, boot, connection, frame } => {
                self.give(node, boot, Input::Frame { connection, frame });
            }
            Event::Detach { node, boot, connection } => {
                let now = self.now();
                let Some(here) = self.nodes[node].as_mut() else { return };
                if here.boot == boot && here.has(connection) {
                    let out = here.detach(connection, &self.shared, now, &mut self.rng);
                    self.carry_out(node, boot, out);
                }
            }
            Event::ToClient { client, connection, frame } => {
                self.hear(client, connection, *frame);
            }
            Event::Closed { client, connection } => {
                if self.clients[client].connection.is_some_and(|(id, _)| id == connection) {
                    self.cut(client);
                }
            }
            Event::Write { client } => self.write(client),
            Event::Ask { node, boot, channel, ask } => self.ask(node, boot, channel, ask),
            Event::Answer { node, boot, channel, told } => {
                self.give(node, boot, Input::Log { channel, told });
            }
            Event::Bus { node, boot, channel, previous, tail, entry } => {
                let told = LogTold::Stored { previous, tail, entry };
                self.give(node, boot, Input::Log { channel, told });
            }
        }
    }

    fn boot(&self, node: usize) -> Option<u64> {
        self.nodes[node].as_ref().map(|n| n.boot)
    }

    fn start(&mut self, node: usize) {
        if self.nodes[node].is_some() {
            return;
        }
        self.boots += 1;
        let boot = self.boots;
        self.nodes[node] = Some(Node::start(&self.shared, boot));
        self.give(node, boot, Input::OpenLogs);
        self.plan(250, Event::Tick { node });
    }

    fn give(&mut self, node: usize, boot: u64, input: Input) {
        let now = self.now();
        let Some(here) = self.nodes[node].as_mut().filter(|n| n.boot == boot) else { return };
        let out = here.give(input, &self.shared, now, &mut self.rng);
        self.carry_out(node, boot, out);
    }

    fn carry_out(&mut self, node: usize, boot: u64, out: Out) {
        for (channel, ask) in out.asks {
            let after = self.rng.below(3) + self.rng.below(self.faults.slow + 1);
            self.plan(after, Event::Ask { node, boot, channel, ask });
        }
        for (connection, frame) in out.frames {
            let delay = self.rng.below(20);
            let Some(link) = self.links.get_mut(&connection) else { continue };
            let at = link.to_client.max(self.at + delay);
            link.to_client = at;
            let client = link.client;
            if link.cut.is_none_or(|cut| at < cut) {
                let frame = Box::new(frame);
                self.plan(at - self.at, Event::ToClient { client, connection, frame });
            }
        }
        for connection in out.closed {
            let Some(link) = self.links.get(&connection) else { continue };
            let (client, after) = (link.client, link.to_client.saturating_sub(self.at) + 1);
            self.plan(after, Event::Closed { client, connection });
        }
    }

    /// The log does what a node asks, or not.
    fn ask(&mut self, node: usize, boot: u64, channel: Channel, ask: Ask) {
        let back = self.rng.below(3) + self.rng.below(self.faults.slow + 1);
        let fails = self.rng.chance(self.faults.refuse);
        let told = match &ask {
            Ask::Load if fails => Some(LogTold::Loaded(Err(LogUnavailable(String::new())))),
            Ask::Append { .. } if fails => {
                Some(LogTold::Appended(Err(AppendError::Refused(String::new()))))
            }
            Ask::Append { .. } if self.rng.chance(self.faults.unknown) => {
                // It may be stored now, later, or never.
                match self.rng.below(3) {
                    0 => self.store(channel, ask.clone()),
                    1 => {
                        let after = self.rng.below(2_000);
                        // The boot of nobody: nobody is answered.
                        let ask = ask.clone();
                        self.plan(after, Event::Ask { node, boot: 0, channel, ask });
                    }
                    _ => {}
                }
                Some(LogTold::Appended(Err(AppendError::Unknown(String::new()))))
            }
            Ask::Load | Ask::Append { .. } | Ask::Purge { .. } | Ask::Forget => None,
        };
        if let Some(told) = told {
            return self.plan(back, Event::Answer { node, boot, channel, told });
        }
        let done = self.logs.carry_out(channel, ask);
        if let Some(stored) = done.stored {
            self.stored(channel, stored);
        }
        if let Some(told) = done.told {
            self.plan(back, Event::Answer { node, boot, channel, told });
        }
    }

    fn store(&mut self, channel: Channel, ask: Ask) {
        if let Some(stored) = self.logs.carry_out(channel, ask).stored {
            self.stored(channel, stored);
        }
    }

    fn stored(&mut self, channel: Channel, stored: (u64, Tail, Entry)) {
        for number in stored.2.records.iter().filter_map(number_of) {
            self.audit.stored(channel, number);
        }
        for record in self.logs.expired(channel, &stored.2.records) {
            if let Some(number) = number_of(&record) {
                self.audit.excuse(channel, number);
            }
        }
        self.publish(channel, stored);
    }

    /// Nodes are told what was stored: late, twice, in another order, or not at all.
    fn publish(&mut self, channel: Channel, (previous, tail, entry): (u64, Tail, Entry)) {
        for node in 0..NODES {
            let Some(boot) = self.boot(node) else { continue };
            let copies = if self.rng.chance(self.faults.lose_bus) { self.rng.below(3) } else { 1 };
            for _ in 0..copies {
                let after = self.rng.below(10);
                let entry = entry.clone();
                self.plan(after, Event::Bus { node, boot, channel, previous, tail, entry });
            }
        }
    }

    /// Tells whether no node has something to store in a channel.
    fn is_settled(&self, channel: Channel) -> bool {
        self.nodes.iter().flatten().all(|node| node.is_settled(channel))
    }

    fn connect(&mut self, client: usize) {
        let here = &self.clients[client];
        if here.connection.is_some() {
            return;
        }
        if here.is_copy {
            if !here.writes().iter().all(|channel| self.is_settled(*channel)) {
                self.clients[client].began = self.at;
            }
            if self.at < self.clients[client].began + RESTORE_MS {
                return self.plan(RESTORE_MS, Event::Connect { client });
            }
        }
        let node = usize::try_from(self.rng.below(NODES as u64)).unwrap_or(0);
        let Some(boot) = self.boot(node) else {
            return self.plan(200, Event::Connect { client });
        };
        self.connections += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.connections.to_be_bytes());
        let connection = ConnectionId::from_bytes(id);
        // What an earlier life sent may arrive after what a later one does.
        let delay = if self.rng.chance(5) { self.rng.below(4_000) } else { self.rng.below(20) };
        let to_node = self.at + delay;
        let link = Link { client, node, boot, to_node, to_client: self.at, cut: None };
        self.links.insert(connection, link);
        let here = &mut self.clients[client];
        here.attempt += 1;
        here.connection = Some((connection, false));
        let hello = Hello {
            client,
            connection,
            instance: here.instance,
            attempt: here.attempt,
            resume: here.ledger.resume(),
            base: here.ledger.bases(),
        };
        self.plan(delay, Event::Attach { node, boot, hello: Box::new(hello) });
        // A relay that does not answer is left.
        self.plan(15_000, Event::Write { client });
    }

    fn hear(&mut self, client: usize, connection: ConnectionId, frame: Frame) {
        if self.clients[client].connection.is_none_or(|(id, _)| id != connection) {
            return;
        }
        let now = self.now().mono;
        let here = &mut self.clients[client];
        let mut draw = || Epoch(self.rng.number());
        if here.hear(frame, now, &mut self.audit, &mut draw) {
            self.write(client);
        } else {
            self.cut(client);
        }
    }

    /// A client writes what it has to write.
    fn write(&mut self, client: usize) {
        let now = self.now().mono;
        let Some((connection, true)) = self.clients[client].connection else { return };
        let frames = self.clients[client].ledger.outgoing(now);
        for frame in frames {
            let delay = self.rng.below(20);
            let Some(link) = self.links.get_mut(&connection) else { return };
            link.to_node = link.to_node.max(self.at + delay);
            let (at, node, boot) = (link.to_node, link.node, link.boot);
            let frame = Box::new(frame);
            self.plan(at - self.at, Event::ToNode { node, boot, connection, frame });
        }
        if let Some(due) = self.clients[client].ledger.deadline() {
            let after = due.saturating_duration_since(now).as_millis();
            self.plan(u64::try_from(after).unwrap_or(0) + 1, Event::Write { client });
        }
    }

    /// A client's connection ends: some of what is under way still arrives, the node sees it later.
    fn cut(&mut self, client: usize) {
        let here = &mut self.clients[client];
        let Some((connection, welcomed)) = here.connection.take() else { return };
        if !welcomed {
            let rng = &mut self.rng;
            here.ledger.unanswered(&mut || Epoch(rng.number()));
        }
        let arrives = if self.rng.chance(15) { 5_000 } else { self.rng.below(40) };
        let seen =
            arrives + if self.rng.chance(20) { self.rng.below(10_000) } else { self.rng.below(50) };
        let at = self.at;
        let Some(link) = self.links.get_mut(&connection) else { return };
        link.cut = Some(at + arrives);
        let (node, boot) = (link.node, link.boot);
        self.drop_late(connection, at + arrives);
        self.plan(seen, Event::Detach { node, boot, connection });
        let after = self.rng.below(500);
        self.plan(after, Event::Connect { client });
    }

    /// What would arrive at a node later than this does not.
    fn drop_late(&mut self, connection: ConnectionId, at: u64) {
        let late: Vec<u64> = self
            .events
            .iter()
            .filter(|Reverse((when, _))| *when > at)
            .map(|Reverse((_, id))| *id)
            .collect();
        for id in late {
            let is_theirs = match self.waiting.get(&id) {
                Some(Event::ToNode { connection: of, .. }) => *of == connection,
                Some(Event::Attach { hello, .. }) => hello.connection == connection,
                _ => false,
            };
            if is_theirs {
                self.waiting.remove(&id);
            }
        }
    }

    fn crash(&mut self, node: usize) {
        let Some(gone) = self.nodes[node].take() else { return };
        self.note(|| format!("node {node} dies"));
        for client in 0..CLIENTS {
            let Some((connection, _)) = self.clients[client].connection else { continue };
            let link = self.links.get(&connection);
            if link.is_some_and(|link| link.node == node && link.boot == gone.boot) {
                self.cut(client);
            }
        }
        let after = self.rng.below(2_000);
        self.plan(after, Event::Start { node });
    }

    /// Something happens that nobody asked for.
    fn disturb(&mut self) {
        let client = usize::try_from(self.rng.below(CLIENTS as u64)).unwrap_or(0);
        let node = usize::try_from(self.rng.below(NODES as u64)).unwrap_or(0);
        match self.rng.below(100) {
            0..30 => self.push(client),
            30..33 => self.cut(client),
            33 => self.crash(node),
            34 => {
                self.note(|| format!("client {client} restarts"));
                self.cut(client);
                self.clients[client].restart();
            }
            35 if self.rng.chance(40) => {
                self.note(|| format!("client {client} loses its memory"));
                self.cut(client);
                self.clients[client].forget(&mut self.audit);
            }
            36 => {
                let some = |rng: &mut Rng| if rng.chance(50) { rng.below(60) } else { 0 };
                self.faults = Faults {
                    refuse: some(&mut self.rng),
                    unknown: some(&mut self.rng),
                    lose_bus: some(&mut self.rng),
                    slow: some(&mut self.rng) * 20,
                };
                let faults = self.faults;
                self.note(|| format!("{faults:?}"));
            }
            37 | 38 => self.faults = Faults::default(),
            39 if self.rng.chance(30) => self.damage(),
            41 => {
                let audit = &self.audit;
                self.clients[client].back_up(audit);
            }
            42 if self.rng.chance(50) => {
                self.cut(client);
                if self.clients[client].go_back(&mut self.audit, self.at) {
                    self.note(|| format!("client {client} goes back to a copy of itself"));
                }
            }
            40 if self.rng.chance(20) => {
                // Everybody sleeps.
                self.drop_stale();
                self.at += self.rng.below(150_000);
            }
            _ => {}
        }
    }

    fn push(&mut self, client: usize) {
        let here = &mut self.clients[client];
        let writes = here.writes();
        let at = usize::try_from(self.rng.below(writes.len() as u64)).unwrap_or(0);
        let many = if self.rng.chance(10) { 15 } else { 1 + self.rng.below(3) };
        for _ in 0..many {
            let size = usize::try_from(self.rng.below(300)).unwrap_or(0);
            let epoch = Epoch(self.rng.number());
            here.push(writes[at], size, &mut self.audit, epoch);
        }
        let (ch, number) = (writes[at], many);
        self.note(|| format!("client {client} sends {number} on {ch}"));
        self.write(client);
    }

    /// The log goes back or is lost; nodes find out when they compare tails.
    fn damage(&mut self) {
        let channels = self.logs.names();
        if channels.is_empty() {
            return;
        }
        let at = usize::try_from(self.rng.below(channels.len() as u64)).unwrap_or(0);
        let channel = channels[at];
        let writes = |client: &&mut Client| client.writes().contains(&channel);
        let Some(writer) = self.clients.iter_mut().find(writes).filter(|w| !w.is_copy) else {
            // Two mishaps at once are promised nothing.
            return;
        };
        writer.drop_backup();
        let gone = if self.rng.chance(70) {
            let entries = 1 + usize::try_from(self.rng.below(4)).unwrap_or(0);
            self.logs.go_back(channel, entries)
        } else {
            self.audit.log_gone(channel);
            self.logs.lose(channel)
        };
        self.note(|| format!("the log of {channel} loses {} records", gone.len()));
        self.drop_stale();
        self.audit.damage(channel);
        for number in gone.iter().filter_map(number_of) {
            self.audit.log_lost(channel, number);
        }
        self.doubt();
    }

    /// What ended connections still had under way is gone: two mishaps at once are promised nothing.
    fn drop_stale(&mut self) {
        let ended = self.links.iter().filter(|(_, link)| link.cut.is_some());
        let ended: Vec<_> = ended.map(|(connection, _)| *connection).collect();
        for connection in ended {
            self.drop_late(connection, self.at);
        }
    }

    fn doubt(&mut self) {
        for node in 0..NODES {
            let Some(boot) = self.boot(node) else { continue };
            for channel in self.logs.names() {
                self.give(node, boot, Input::Log { channel, told: LogTold::Doubt });
            }
        }
    }

    /// Everything goes well for a while: what is owed must arrive.
    fn calm(&mut self) {
        self.faults = Faults::default();
        self.note(|| "calm".to_owned());
        (0..NODES).for_each(|node| self.plan(0, Event::Start { node }));
        self.doubt();
        let end = self.at + CALM_MS;
        while self.events.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
            if self.audit.violation.is_some() {
                return;
            }
        }
        for client in &self.clients {
            if client.connection.is_none_or(|(_, welcomed)| !welcomed) {
                let text = format!("client {} is not connected in the end", client.id);
                self.audit.fail(Promise::Rests, text);
            }
            if let Some(undone) = client.undone() {
                let text = format!("client {} could not store {undone}", client.id);
                self.audit.fail(Promise::Rests, text);
            }
            for channel in client.reads() {
                self.audit.finish(client.id, channel);
            }
        }
    }
}

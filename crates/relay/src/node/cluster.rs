//! What a node does because there are others: it renews its lease, takes seats for its connections, looks
//! for what changed in the store, and hears the bus.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use belay_adapters::Shared;
use belay_core::{
    Input,
    ports::{ALL_NODES, Alive, BusEvent, BusFrame, LogEvent, Seat, StoreError},
    session::LogTold,
    token::Principal,
};
use belay_wire::{CloseCode, ConnectionId, SessionId};
use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use super::{Node, unix_ms};
use crate::{drain::WINDOW_SECS_MAX, registry::Handle};

/// How long a node that says nothing counts as alive.
const LEASE: Duration = Duration::from_secs(5);
/// A node that does not reach the store for so long, while others do, sends its clients to those.
const CUT_OFF: Duration = Duration::from_secs(5);
/// How often it says that it lives.
const RENEW: Duration = Duration::from_secs(1);
/// How often the versions of sessions with sockets here are looked at: a revocation is effective within a
/// second also while the bus is down.
const POLL: Duration = Duration::from_millis(400);
/// Sessions that are read at once after a poll.
const REFRESH_MAX: usize = 64;
/// Answers with the time after which an older one that came faster does not count any more.
const TIMES: u32 = 60;
/// How often it is stored that who is connected was seen.
const TOUCH: Duration = Duration::from_hours(6);
/// Tasks that give events to sessions.
const LANES: usize = 8;
/// How long what follows in its lane waits until a changed session was read.
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Lives of dead nodes that are remembered.
const GONE_MAX: usize = 1_024;
/// What bus and log have told and the sessions have not heard yet; beyond it all logs are compared.
const EVENTS_MAX: usize = 65_536;

/// The part of a node that knows the others.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) shared: Shared,
    /// Lives of nodes whose lease runs; `None`: it is not known.
    alive: RwLock<Option<HashSet<String>>>,
    /// When another node said last that it reaches the store.
    stored_elsewhere: RwLock<Option<Instant>>,
    /// Who lives changed, and the sessions were not told.
    moved: AtomicBool,
    /// Lives that were not among them when they were looked for.
    gone: RwLock<HashSet<String>>,
    /// Store time less the clock of this machine, in milliseconds.
    pub(crate) skew_ms: AtomicI64,
    /// How long the answer took that this is from, and how many were asked for since.
    best: Mutex<(Duration, u32)>,
    /// An event found no place: all logs are to be compared.
    overrun: AtomicBool,
}

/// What a session is to hear.
enum Told {
    Log(LogEvent),
    Bus(BusEvent),
}

impl Told {
    /// What one session hears keeps its order; sessions do not wait for each other.
    fn lane(&self) -> usize {
        let session = match self {
            Self::Log(LogEvent::Stored { id, .. } | LogEvent::Tail { id, .. }) => id.session,
            Self::Bus(BusEvent::Told { session, .. }) => *session,
            Self::Log(LogEvent::Doubt) | Self::Bus(BusEvent::Connected { .. }) => return 0,
        };
        usize::from(session.as_bytes()[0]) % LANES
    }
}

impl Cluster {
    pub(crate) fn new(shared: Shared) -> Self {
        let (skew_ms, overrun) = (AtomicI64::new(0), AtomicBool::new(false));
        let (alive, gone) = (RwLock::default(), RwLock::default());
        let moved = AtomicBool::new(false);
        let stored_elsewhere = RwLock::default();
        let best = Mutex::new((Duration::MAX, 0));
        Self { shared, alive, stored_elsewhere, moved, gone, skew_ms, best, overrun }
    }

    /// Tells whether a node lives, or nobody can know.
    fn may_live(&self, life: &String) -> bool {
        self.alive.read().as_ref().is_none_or(|alive| alive.contains(life))
    }

    /// A seat at another node counts while that lives.
    fn counts(&self, seat: &Seat) -> bool {
        seat.node != self.shared.life && self.may_live(&seat.node)
    }

    /// Lives of nodes that are alive now, as far as is known.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let mut nodes: Vec<_> =
            self.alive.read().as_ref().map_or(Vec::new(), |alive| alive.iter().cloned().collect());
        nodes.sort_unstable();
        nodes
    }

    /// A seat at a node that nobody has heard of: it may have started a moment ago.
    fn is_news(&self, seat: &Seat) -> bool {
        !self.may_live(&seat.node) && !self.gone.read().contains(&seat.node)
    }

    /// Takes who lives.
    fn learn(&self, alive: Alive, took: Duration) {
        self.learn_time(alive.now_ms, took);
        let alive: HashSet<_> = alive.nodes.into_iter().collect();
        self.gone.write().retain(|life| !alive.contains(life));
        if self.alive.read().as_ref() != Some(&alive) {
            *self.alive.write() = Some(alive);
            self.moved.store(true, Ordering::Release);
        }
    }

    /// Of the times that were asked for lately, the one that was answered fastest is the best.
    fn learn_time(&self, now_ms: u64, took: Duration) {
        let mut best = self.best.lock();
        best.1 += 1;
        if took > best.0 && best.1 < TIMES {
            return;
        }
        *best = (took, 0);
        // The reply left the store about half of the time ago.
        let age = u64::try_from(took.as_millis() / 2).unwrap_or(0);
        let skew = i128::from(now_ms + age) - i128::from(unix_ms());
        self.skew_ms.store(i64::try_from(skew).unwrap_or(0), Ordering::Relaxed);
    }

    /// These seats' nodes are not alive.
    fn note_gone(&self, seats: &[Seat]) {
        let mut gone = self.gone.write();
        if gone.len() >= GONE_MAX {
            gone.clear();
        }
        let dead = seats.iter().map(|seat| &seat.node).filter(|life| !self.may_live(life));
        gone.extend(dead.cloned());
    }
}

impl Node {
    /// Store time where nodes share a store, else the clock of this machine.
    pub(crate) fn now_ms(&self) -> u64 {
        let skew = self.cluster.as_ref().map_or(0, |c| c.skew_ms.load(Ordering::Relaxed));
        unix_ms().saturating_add_signed(skew)
    }

    /// A connection takes its seat before it is told that it is in, so that whatever its client does next
    /// is known at every node that looks.
    pub(super) async fn sit(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        connection: ConnectionId,
        seat: Seat,
    ) -> Option<Input> {
        let cluster = self.cluster.as_ref()?;
        let principal = seat.principal;
        let seat = Seat { node: cluster.shared.life.clone(), ..seat };
        let seated = self.observe(cluster.shared.presence.sit(handle.id, seat)).await;
        self.tell(handle.id, BusFrame::Changed);
        match seated {
            Ok(generation) => Some(Input::Seated { connection, principal, generation }),
            Err(error) => {
                tracing::warn!(session = %handle.id, %error, "a seat was not taken");
                // The next look at the store finds that it differs.
                handle.seats_seen.store(u64::MAX, Ordering::Release);
                None
            }
        }
    }

    pub(super) fn leave(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        principal: Principal,
        generation: Option<u64>,
    ) {
        let (Some(cluster), Some(generation)) = (&self.cluster, generation) else { return };
        let leaving = cluster.shared.presence.leave(handle.id, principal, generation);
        let (node, id) = (self.clone(), handle.id);
        self.tasks.spawn(async move {
            // A seat that is not given up ends with the lease of this node, or with the next connection.
            let _ = node.observe(leaving).await;
            node.tell(id, BusFrame::Changed);
        });
    }

    /// Tells the other nodes.
    pub(super) fn tell(&self, session: SessionId, frame: BusFrame) {
        if let Some(cluster) = &self.cluster {
            cluster.shared.bus.tell(session, frame);
        }
    }

    /// From now on what others say of this session is heard.
    pub(super) fn watch(&self, session: SessionId) {
        if let Some(cluster) = &self.cluster {
            cluster.shared.bus.watch(session);
            self.stores.log.watch(session);
        }
    }

    pub(crate) fn unwatch(&self, session: SessionId) {
        if let Some(cluster) = &self.cluster {
            cluster.shared.bus.unwatch(session);
            self.stores.log.unwatch(session);
        }
    }

    /// The same for all sessions that somebody here waits with.
    async fn look_at_all(self: &Arc<Self>) -> Result<(), StoreError> {
        let (mut handles, mut known) = (self.registry.all(), Vec::new());
        handles.retain(|handle| {
            let session = handle.session.lock();
            let is_used = handle.has_sockets() || session.waiters() > 0;
            if is_used {
                known.push(session.record().version);
            }
            is_used
        });
        let ids = handles.iter().map(|handle| handle.id).collect();
        let versions = self.observe(self.stores.sessions.versions(ids)).await?;
        let changed: Vec<_> = handles
            .into_iter()
            .zip(versions)
            .zip(known)
            .filter(|((handle, version), known)| {
                *known != version.record
                    || handle.seats_seen.load(Ordering::Acquire) != version.seats
            })
            .collect();
        for some in changed.chunks(REFRESH_MAX) {
            join_all(some.iter().map(|((handle, v), _)| self.refresh(handle, *v))).await;
        }
        Ok(())
    }

    /// Finds out whether what is stored of a session is known here, and reads it if not. With a store of one
    /// node it is.
    pub(crate) async fn look_again(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
    ) -> Result<(), StoreError> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let versions = self.observe(self.stores.sessions.versions(vec![handle.id])).await?;
        match versions.first() {
            Some(version) => self.refresh(handle, *version).await,
            None => Ok(()),
        }
    }

    /// Reads who sits where, unless this version of it is known.
    pub(super) async fn refresh_seats(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        version: u64,
    ) -> Result<(), StoreError> {
        if handle.seats_seen.load(Ordering::Acquire) != version {
            self.read_seats(handle).await?;
            handle.seats_seen.store(version, Ordering::Release);
        }
        Ok(())
    }

    /// Says that this node lives, and learns who else does.
    async fn renew_lease(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let asked = Instant::now();
        let renewing = cluster.shared.presence.renew(cluster.shared.life.clone(), LEASE);
        let alive = self.observe(renewing).await?;
        cluster.learn(alive, asked.elapsed());
        Ok(())
    }

    async fn read_seats(self: &Arc<Self>, handle: &Arc<Handle>) -> Result<(), StoreError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let _turn = handle.looking.lock().await;
        let mut seats = self.observe(cluster.shared.presence.seats(handle.id)).await?;
        if seats.iter().any(|seat| cluster.is_news(seat)) {
            self.renew_lease(cluster).await?;
            cluster.note_gone(&seats);
        }
        seats.retain(|seat| cluster.counts(seat));
        self.drive(handle, Input::Seats { seats }).await;
        Ok(())
    }

    /// Asks the node of this name to send its clients away; `false`: none of it is known to live.
    pub(crate) async fn ask_to_drain(
        &self,
        instance: &str,
        reason: String,
        seconds: u64,
        endpoint: Option<String>,
    ) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        // A life is the name and a number.
        let is_it = |life: &String| life.rsplit_once('-').is_some_and(|(name, _)| name == instance);
        // It may have started a moment ago.
        let _ = self.renew_lease(cluster).await;
        let lives = cluster.alive.read().as_ref().is_none_or(|alive| alive.iter().any(is_it));
        if lives {
            let instance = instance.to_owned();
            self.tell(ALL_NODES, BusFrame::Drain { instance, reason, seconds, endpoint });
        }
        lives
    }

    /// A revocation that the store cannot be asked for stands in the second place, too.
    async fn expel_revoked(self: &Arc<Self>) {
        for handle in self.registry.all() {
            let members = handle.session.lock().members_here();
            for member in members.into_iter().filter(|m| self.stores.revocations.contains(*m)) {
                self.drive(&handle, Input::Expel { member }).await;
            }
        }
    }

    /// One node sweeps for all of them, as long as it holds the lease.
    pub(crate) async fn is_sweeper(&self) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        let ttl = 2 * self.config.sweep_every + LEASE;
        let life = cluster.shared.life.clone();
        let held = self.observe(cluster.shared.leases.hold("sweeper", life, ttl)).await;
        matches!(held, Ok(Some(_)))
    }

    /// Starts what a node of a cluster does without being asked.
    pub(crate) fn join_cluster(self: &Arc<Self>) {
        let Some(cluster) = &self.cluster else { return };
        let mut lanes = Vec::new();
        for _ in 0..LANES {
            let (events, heard) = mpsc::channel(EVENTS_MAX / LANES);
            lanes.push(events);
            self.tasks.spawn(hear(self.clone(), heard));
        }
        let node = self.clone();
        let tell = move |told: Told| {
            if lanes[told.lane()].try_send(told).is_err()
                && let Some(cluster) = &node.cluster
            {
                node.metrics.bus_overrun.inc();
                cluster.overrun.store(true, Ordering::Release);
            }
        };
        let tell = Arc::new(tell);
        let to_log = tell.clone();
        cluster.shared.bus.watch(ALL_NODES);
        self.stores.log.subscribe(Arc::new(move |event| to_log(Told::Log(event))));
        cluster.shared.bus.listen(Arc::new(move |event| tell(Told::Bus(event))));
        self.tasks.spawn(renew(self.clone()));
        self.tasks.spawn(poll(self.clone()));
    }

    async fn hear_one(self: &Arc<Self>, told: Told) {
        match told {
            Told::Log(LogEvent::Stored { id, previous, tail, entry }) => {
                if let Some(handle) = self.registry.find(id.session) {
                    let told = LogTold::Stored { previous, tail, entry };
                    self.drive(&handle, Input::Log { channel: id.channel, told }).await;
                }
            }
            Told::Log(LogEvent::Tail { id, tail }) => {
                if let Some(handle) = self.registry.find(id.session) {
                    let told = LogTold::Tail(tail);
                    self.drive(&handle, Input::Log { channel: id.channel, told }).await;
                }
            }
            Told::Log(LogEvent::Doubt) => self.drive_all(Input::LogsDoubted).await,
            Told::Bus(BusEvent::Told { session: ALL_NODES, frame }) => self.hear_node(frame),
            Told::Bus(BusEvent::Told { session, frame }) => {
                let Some(handle) = self.registry.find(session) else { return };
                if matches!(frame, BusFrame::Changed) {
                    self.hear_of_change(handle).await;
                } else {
                    self.drive(&handle, Input::Bus(frame)).await;
                }
            }
            Told::Bus(BusEvent::Connected { connected }) => {
                self.bus_ok.store(connected, Ordering::Release);
                if connected {
                    tracing::info!("the bus is back; all logs are compared");
                    self.drive_all(Input::LogsDoubted).await;
                } else {
                    tracing::error!(
                        "the bus is away: durable messages wait where they were written"
                    );
                    self.drive_all(Input::LogAway).await;
                }
            }
        }
    }

    /// What a node says to all.
    fn hear_node(&self, frame: BusFrame) {
        let Some(cluster) = &self.cluster else { return };
        match frame {
            BusFrame::Node { store: true } => {
                *cluster.stored_elsewhere.write() = Some(Instant::now());
            }
            BusFrame::Drain { instance, reason, seconds, endpoint }
                if instance == self.config.instance =>
            {
                let sockets = self.metrics.active_websockets();
                tracing::warn!(target: "audit", reason, seconds, sockets, "drain start, by another node");
                let window = Duration::from_secs(seconds.clamp(1, WINDOW_SECS_MAX));
                if self.drain.start("admin of another node", reason, window, endpoint, sockets) {
                    self.drain.keep(sockets);
                }
            }
            BusFrame::Node { .. }
            | BusFrame::Drain { .. }
            | BusFrame::Changed
            | BusFrame::Ended { .. }
            | BusFrame::Tail { .. }
            | BusFrame::Applied { .. }
            | BusFrame::Volatile { .. }
            | BusFrame::ToHost { .. } => {}
        }
    }

    /// Others reach the store, and this node does not for long: its clients are better off there.
    fn is_cut_off(&self, since: Instant) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        let heard = *cluster.stored_elsewhere.read();
        since.elapsed() >= CUT_OFF && heard.is_some_and(|at| at.elapsed() < LEASE)
    }

    fn send_all_away(&self) {
        tracing::error!(
            "this node is cut off from the store and others are not: clients are sent there"
        );
        for handle in self.registry.all() {
            handle.close_all(CloseCode::Unavailable);
        }
    }

    /// Who came is known before what they said is heard, unless the store takes its time.
    async fn hear_of_change(self: &Arc<Self>, handle: Arc<Handle>) {
        let node = self.clone();
        let looking = self.tasks.spawn(async move { node.look_again(&handle).await });
        if self.store_ok.load(Ordering::Acquire) {
            let _ = tokio::time::timeout(LOOK_MAX, looking).await;
        }
    }

    /// Gives an input to all sessions that are in memory.
    async fn drive_all(self: &Arc<Self>, input: Input) {
        for handle in self.registry.all() {
            self.drive(&handle, input.clone()).await;
        }
    }
}

/// Gives what bus and log tell to the sessions, in order.
async fn hear(node: Arc<Node>, mut heard: mpsc::Receiver<Told>) {
    let Some(cluster) = &node.cluster else { return };
    loop {
        let told = tokio::select! {
            told = heard.recv() => told,
            () = node.stopping.cancelled() => return,
        };
        let Some(told) = told else { return };
        node.hear_one(told).await;
        if heard.is_empty() && cluster.overrun.swap(false, Ordering::AcqRel) {
            node.drive_all(Input::LogsDoubted).await;
        }
    }
}

/// Says that this node lives, and learns who else does and what time it is.
async fn renew(node: Arc<Node>) {
    let Some(cluster) = &node.cluster else { return };
    let (mut renewed, mut away) = (Instant::now(), false);
    let mut touched = Instant::now();
    loop {
        if touched.elapsed() >= TOUCH {
            touched = Instant::now();
            for handle in node.registry.all().iter().filter(|handle| handle.has_sockets()) {
                node.drive(handle, Input::Touch).await;
            }
        }
        match node.renew_lease(cluster).await {
            Ok(()) => {
                renewed = Instant::now();
                if std::mem::take(&mut away) {
                    node.drive_all(Input::Store { away: false }).await;
                }
                if cluster.moved.swap(false, Ordering::AcqRel) {
                    refresh_all_seats(&node).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the lease of this node was not renewed");
                if !std::mem::replace(&mut away, true) {
                    node.drive_all(Input::Store { away: true }).await;
                }
                if renewed.elapsed() > LEASE {
                    // Who lives is not known: that refuses nothing.
                    *cluster.alive.write() = None;
                }
                if node.is_cut_off(renewed) {
                    node.send_all_away();
                }
            }
        }
        node.tell(ALL_NODES, BusFrame::Node { store: !away });
        for note in cluster.shared.parts.nats.notes() {
            tracing::warn!("{note}");
        }
        tokio::select! {
            () = tokio::time::sleep(RENEW) => {}
            () = node.stopping.cancelled() => break,
        }
    }
    let _ = cluster.shared.presence.retire(cluster.shared.life.clone()).await;
}

async fn refresh_all_seats(node: &Arc<Node>) {
    let handles = node.registry.all();
    for some in handles.chunks(REFRESH_MAX) {
        join_all(some.iter().map(|handle| node.read_seats(handle))).await;
    }
}

/// Looks for what changed in the store and in the second place of revocations, also while the bus says
/// nothing.
async fn poll(node: Arc<Node>) {
    let mut interval = tokio::time::interval(POLL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut revoked = 0;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = node.stopping.cancelled() => return,
        }
        let now = node.stores.revocations.count();
        if now != revoked {
            revoked = now;
            node.expel_revoked().await;
        }
        // That the store is away is seen and told where the lease is renewed.
        let _ = node.look_at_all().await;
    }
}

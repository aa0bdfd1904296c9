//! One running relay: what its connections and calls share, and how effects are carried out.

mod cluster;
mod drive;
mod log;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use belay_adapters::{Keys, Stores};
use belay_core::{
    CompatPolicy, Effects, Env, Event, Gcra, Input, Now, PairAnswer, PairError, Policy, Session,
    SessionRecord, ports::StoreError, session::WaiterId,
};
use belay_wire::{CloseCode, NackReason, SessionId};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use cluster::Cluster;

use crate::{
    config::Config,
    drain::Drain,
    entropy::OsEntropy,
    history::History,
    http::compat::Allowed,
    metrics::{Metrics, count},
    origin::Origins,
    registry::{Handle, Registry},
};

/// Addresses whose pairing rate is remembered; beyond it the idle ones are forgotten first.
const RATE_BUCKETS_MAX: usize = 65_536;

/// How a pairing call ended outside the session.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CallError {
    Pair(PairError),
    Store,
    /// The node stops.
    Stopping,
}

type Waiting = oneshot::Sender<Result<PairAnswer, CallError>>;

/// The shared state of a relay.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) keys: Keys,
    pub(crate) stores: Stores,
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) origins: Origins,
    /// Web clients of the compat protocol.
    pub(crate) allowed: Allowed,
    pub(crate) admin_token: String,
    pub(crate) id: String,
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the node goes away: clients are told, sockets close.
    pub(crate) stopping: CancellationToken,
    pub(crate) drain: Drain,
    pub(crate) history: History,
    /// Cancelled when the process is to end after a drain.
    pub(crate) exit: CancellationToken,
    pub(crate) store_ok: AtomicBool,
    /// Messages pass between nodes.
    pub(crate) bus_ok: AtomicBool,
    /// When the cause of a failed append was logged last, Unix milliseconds.
    append_told_at: Arc<AtomicU64>,
    pub(crate) unauthenticated: Mutex<HashMap<IpAddr, usize>>,
    waiting: Mutex<HashMap<WaiterId, (SessionId, Waiting)>>,
    next_waiter: AtomicU64,
    rates: Mutex<HashMap<(RateClass, Caller), Gcra>>,
    /// Present if there may be other nodes.
    pub(crate) cluster: Option<Cluster>,
}

/// Calls that share an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RateClass {
    Pairing,
    /// What a desktop does with a session that runs.
    Management,
}

impl RateClass {
    /// How it is called where nodes share it.
    const fn name(self) -> &'static str {
        match self {
            Self::Pairing => "pairing",
            Self::Management => "management",
        }
    }
}

/// Whose allowance a call is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Caller {
    /// The first part of an address.
    Address(IpAddr),
    /// The desktop of a session.
    Session(SessionId),
}

/// What a node is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) stores: Stores,
    pub(crate) origins: Origins,
    pub(crate) admin_token: String,
    pub(crate) id: String,
    pub(crate) stopping: CancellationToken,
}

impl Node {
    pub(crate) fn new(parts: Parts) -> Self {
        let config = parts.config;
        let policy = Policy {
            devices_max: config.devices_max,
            code_ttl: config.code_ttl,
            approval_ttl: config.approval_ttl,
            auth_timeout: config.auth_timeout,
            heartbeat: config.heartbeat,
            compat: CompatPolicy {
                rotation_grace: config.rotation_grace,
                commands_per_minute: config.commands_per_minute,
                session_commands_per_minute: config.session_commands_per_minute,
                snapshots_per_minute: config.snapshots_per_minute,
                outbound_queue: config.outbound_queue,
                command_text_bytes: config.command_text_bytes_max,
            },
            ..Policy::default()
        };
        let cluster = parts.stores.shared.clone().map(Cluster::new);
        let drain = if config.is_ephemeral() {
            Drain::default()
        } else {
            Drain::remembering(&config.data_dir)
        };
        Self {
            metrics: Metrics::new(&config.instance, &config.region),
            allowed: Allowed::of(&config),
            config,
            policy,
            keys: parts.keys,
            stores: parts.stores,
            registry: Registry::default(),
            origins: parts.origins,
            admin_token: parts.admin_token,
            id: parts.id,
            tasks: TaskTracker::new(),
            stopping: parts.stopping,
            drain,
            history: History::default(),
            exit: CancellationToken::new(),
            store_ok: AtomicBool::new(true),
            bus_ok: AtomicBool::new(true),
            append_told_at: Arc::default(),
            unauthenticated: Mutex::default(),
            waiting: Mutex::default(),
            next_waiter: AtomicU64::new(1),
            rates: Mutex::default(),
            cluster,
        }
    }

    /// An upgrade or pairing met a node that drains or stops.
    pub(crate) fn refuse_upgrade(&self) {
        self.metrics.upgrades_blocked.inc();
        self.drain.blocked();
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        Now { mono: Instant::now().into_std(), unix_ms: self.now_ms() }
    }

    /// Runs `f` with everything that core may use.
    pub(crate) fn with_env<T>(&self, f: impl FnOnce(&mut Env<'_>) -> T) -> T {
        let mut entropy = OsEntropy;
        f(&mut Env {
            now: self.now(),
            entropy: &mut entropy,
            keys: &self.keys.tokens,
            hash_key: &self.keys.hash,
            policy: &self.policy,
        })
    }

    /// A session, from memory or from the store.
    pub(crate) async fn session(
        self: &Arc<Self>,
        id: SessionId,
    ) -> Result<Option<Arc<Handle>>, StoreError> {
        let handle = match self.registry.find(id) {
            Some(handle) if self.cluster.is_some() && handle.has_ended() => {
                // Another one may have been made under its name, elsewhere.
                let Some(record) = self.load(id).await? else { return Ok(None) };
                self.take_new(Session::load(record)).await;
                match self.registry.find(id) {
                    Some(handle) => handle,
                    None => return Ok(None),
                }
            }
            Some(handle) => {
                self.look_again(&handle).await?;
                handle
            }
            None => match self.loaded(id).await? {
                Some(handle) => handle,
                None => return Ok(None),
            },
        };
        Ok(Some(handle).filter(|handle| !handle.has_ended()))
    }

    async fn load(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.observe(self.stores.sessions.load(id)).await
    }

    async fn loaded(self: &Arc<Self>, id: SessionId) -> Result<Option<Arc<Handle>>, StoreError> {
        let Some(record) = self.load(id).await? else { return Ok(None) };
        for device in record.devices.iter().filter(|d| d.revoked_at.is_some()) {
            // A crash between the two places leaves a revocation in one.
            if !self.stores.revocations.contains(device.member) {
                let _ = self.observe(self.stores.revocations.add(device.member)).await;
            }
        }
        let session = self.open(Session::load(record)).await;
        let (handle, others) = self.registry.add(session);
        if others {
            self.unwatch(id);
        }
        self.look_again(&handle).await?;
        Ok(Some(handle))
    }

    /// Takes in a session that was just made and stored.
    pub(crate) async fn take_new(self: &Arc<Self>, session: Session) {
        let id = session.record().id;
        let session = self.open(session).await;
        let (_, others) = self.registry.add_new(session);
        if others {
            self.unwatch(id);
        }
    }

    /// Does a store operation, unless the store answers too late for that now.
    pub(crate) async fn observe<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.cluster.as_ref().is_some_and(|cluster| cluster.circuit.is_open()) {
            self.metrics.store_not_asked.inc();
            return Err(StoreError::Unavailable("its answers come too late".to_owned()));
        }
        self.probe(operation).await
    }

    /// Watches a store operation: its time, its failures, whether the store is there.
    pub(crate) async fn probe<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let result = operation.await;
        let took = started.elapsed();
        self.metrics.store_seconds.observe(took.as_secs_f64());
        if let Some(cluster) = &self.cluster {
            let answered = !matches!(result, Err(StoreError::Unavailable(_)));
            cluster.circuit.took(took, answered);
        }
        if let Err(error) = &result {
            count(&self.metrics.store_failures, error.label());
            if !matches!(error, StoreError::Conflict) {
                self.store_ok.store(false, Ordering::Release);
            }
        }
        result
    }

    /// The same for one that writes, which shows that the store is well: one that can only be read is not.
    pub(crate) async fn observe_write<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let result = self.observe(operation).await;
        if result.is_ok() {
            self.store_ok.store(true, Ordering::Release);
        }
        result
    }

    /// Asks a store that did not do its work whether it does again; where nodes share one, it is asked
    /// whenever somebody wants to know, and the bus, too.
    pub(crate) async fn recheck(&self) {
        if let Some(cluster) = &self.cluster {
            let (store, bus) = (self.stores.sessions.check(), cluster.shared.bus.check());
            let (store, bus) = tokio::join!(self.probe(store), bus);
            let well = store.is_ok() && !cluster.circuit.is_open();
            self.store_ok.store(well, Ordering::Release);
            return self.bus_ok.store(bus.is_ok(), Ordering::Release);
        }
        if !self.store_ok.load(Ordering::Acquire) {
            let _ = self.observe_write(self.stores.sessions.check()).await;
        }
    }

    fn answer(&self, waiter: WaiterId, answer: Result<PairAnswer, CallError>) {
        if let Some((_, waiting)) = self.waiting.lock().remove(&waiter) {
            let _ = waiting.send(answer);
        }
    }

    /// Waits for a call's answer; a node that stops does not keep its callers waiting.
    pub(crate) async fn answered(
        &self,
        answer: oneshot::Receiver<Result<PairAnswer, CallError>>,
    ) -> Result<PairAnswer, CallError> {
        tokio::select! {
            answer = answer => answer.unwrap_or(Err(CallError::Stopping)),
            () = self.stopping.cancelled() => Err(CallError::Stopping),
        }
    }

    /// Registers a call that waits; its guard takes it out again, however the call ends.
    pub(crate) fn wait(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
    ) -> Option<(Waiter, oneshot::Receiver<Result<PairAnswer, CallError>>)> {
        if self.waiters() >= self.config.pair_waiters_max {
            return None;
        }
        Some(self.wait_unbounded(handle))
    }

    /// Calls that wait now.
    pub(crate) fn waiters(&self) -> usize {
        self.waiting.lock().len()
    }

    /// The same for a call that waits for the store only.
    pub(crate) fn wait_unbounded(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
    ) -> (Waiter, oneshot::Receiver<Result<PairAnswer, CallError>>) {
        let id = WaiterId(self.next_waiter.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        waiting.insert(id, (handle.id, sender));
        self.metrics.pair_waiters.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        (Waiter { id, node: self.clone(), handle: handle.clone() }, receiver)
    }

    /// Ends a session for good: it leaves the store, its devices are revoked, everybody is told.
    /// `false`: it is not there, or it was to end only if nobody uses it and somebody does.
    pub(crate) async fn end_session(
        self: &Arc<Self>,
        id: SessionId,
        reason: &'static str,
        only_idle: bool,
    ) -> Result<bool, StoreError> {
        let node = self.clone();
        let ending = self.tasks.spawn(async move {
            let Some(handle) = node.session(id).await? else { return Ok(false) };
            let devices: Vec<_> = {
                let mut session = handle.session.lock();
                if only_idle && !session.is_unused() {
                    return Ok(false);
                }
                session.set_ending(true);
                session.record().devices.iter().map(|d| d.member).collect()
            };
            if let Err(error) = node.observe_write(node.stores.sessions.remove(id)).await {
                handle.session.lock().set_ending(false);
                return Err(error);
            }
            node.tell(id, belay_core::ports::BusFrame::Ended { reason: reason.to_owned() });
            node.drive(&handle, Input::End { reason }).await;
            for member in devices {
                // A store that goes back must not bring them back.
                let _ = node.observe(node.stores.revocations.add(member)).await;
            }
            Ok(true)
        });
        ending.await.unwrap_or_else(|e| Err(StoreError::Unavailable(e.to_string())))
    }

    /// Addresses and classes whose allowance is remembered.
    pub(crate) fn rates_kept(&self) -> usize {
        self.rates.lock().len()
    }

    /// Takes one call of a class from an address's allowance.
    pub(crate) async fn take_rate(
        &self,
        class: RateClass,
        address: IpAddr,
    ) -> Result<(), Duration> {
        self.take(class, Caller::Address(prefix(address))).await
    }

    /// Takes one call from the allowance of a desktop that has shown whose it is.
    pub(crate) async fn take_rate_of(
        &self,
        class: RateClass,
        session: SessionId,
    ) -> Result<(), Duration> {
        self.take(class, Caller::Session(session)).await
    }

    /// All nodes share the allowances; while they cannot, each has its own.
    async fn take(&self, class: RateClass, caller: Caller) -> Result<(), Duration> {
        let (burst, interval) =
            (self.config.pair_per_minute, Duration::from_mins(1) / self.config.pair_per_minute);
        if let Some(cluster) = &self.cluster {
            let key = match caller {
                Caller::Address(address) => format!("{}:{address}", class.name()),
                Caller::Session(session) => format!("{}:{session}", class.name()),
            };
            let taking = cluster.shared.limits.take(key, 1, interval, burst);
            if let Ok(taken) = self.observe(taking).await {
                return taken;
            }
        }
        let now = Instant::now().into_std();
        let mut rates = self.rates.lock();
        if rates.len() >= RATE_BUCKETS_MAX {
            rates.retain(|_, bucket| !bucket.is_idle(now));
        }
        let bucket = || Gcra::every(interval, burst);
        rates.entry((class, caller)).or_insert_with(bucket).take(now)
    }

    fn report(&self, handle: &Handle, effects: &Effects) {
        // What happened is of no use without where.
        let of = tracing::info_span!("session", id = %handle.id);
        of.in_scope(|| effects.events.iter().for_each(|event| self.report_event(event)));
    }

    fn report_event(&self, event: &Event) {
        let m = &self.metrics;
        match event {
            Event::Attached { connection, is_host, resumed, again } => {
                m.auth_successes.inc();
                m.reconnects.inc_by(u64::from(*again));
                if *resumed {
                    m.resumes.inc();
                }
                if *is_host {
                    m.hosts_connected.inc()
                } else {
                    m.members_connected.inc()
                };
                tracing::info!(%connection, is_host, resumed, "connected");
            }
            Event::Detached { connection, is_host } => {
                if *is_host {
                    m.hosts_connected.dec()
                } else {
                    m.members_connected.dec()
                };
                tracing::info!(%connection, is_host, "disconnected");
            }
            Event::Refused { code, cause } => {
                count(&m.auth_failures, cause);
                tracing::info!(code = code.code(), cause, "authentication refused");
            }
            Event::Closed { connection, code } => {
                if *code == CloseCode::SlowConsumer {
                    m.slow_consumers.inc();
                }
                tracing::info!(%connection, code = code.code(), reason = code.label(), "closing");
            }
            Event::PairingStarted { request } => tracing::info!(%request, "pairing started"),
            Event::PairingEnded { request, outcome } => {
                tracing::info!(%request, ?outcome, "pairing ended");
            }
            Event::CodeMade => tracing::debug!("pairing code made"),
            Event::CodeMissed { burnt } => tracing::warn!(burnt, "wrong pairing code"),
            Event::DeviceRevoked { member, cause } => {
                m.revokes.inc();
                tracing::warn!(%member, cause, "device revoked");
            }
            Event::TokenCommitted { ahead } => {
                if *ahead {
                    m.tokens_ahead.inc();
                    tracing::warn!("a token is ahead of the store, so the store went back");
                }
            }
            Event::ClientWentBack => {
                m.client_went_back.inc();
            }
            Event::MessageStored { bytes } => {
                m.messages.inc();
                m.message_bytes.inc_by(*bytes as u64);
            }
            Event::MessageRefused { reason } => count(&m.nacks, nack_label(*reason)),
            Event::FrameRefused { error } => {
                count(&m.frames_refused, error);
                tracing::info!(error, "frame refused");
            }
            Event::SessionEnded { reason } => tracing::info!(reason, "session ended"),
            Event::VolatileReplaced => {
                m.volatile_replaced.inc();
            }
            Event::Unread => {
                m.unread.inc();
            }
            Event::CommandsExpired { count } => {
                m.commands_expired.inc_by(u64::try_from(*count).unwrap_or(u64::MAX));
                tracing::warn!(count, "commands expired");
            }
            Event::PositionAhead { what } => {
                count(&m.positions_ahead, what);
                // Clients choose how often.
                tracing::debug!(what, "a client named a place that is ahead of ours");
            }
            Event::StoreWentBack => {
                m.store_went_back.inc();
                tracing::warn!("the store went back; what it lost is stored once more");
            }
            Event::LogWentBack => {
                m.log_went_back.inc();
                tracing::warn!("the log of a channel went back; its writer sends again");
            }
            Event::LogBroken => {
                m.log_broken.inc();
                tracing::error!(
                    "records are missing in the log of a channel; its readers are told"
                );
            }
            Event::Degraded { degraded: true } => {
                tracing::error!("messages cannot be stored now; clients were told");
            }
            Event::Degraded { degraded: false } => tracing::info!("messages are stored again"),
            Event::ProtocolError { cause } => {
                m.protocol_errors.inc();
                tracing::info!(%cause, "protocol error");
            }
        }
    }
}

fn nack_label(reason: NackReason) -> &'static str {
    match reason {
        NackReason::Hole => "hole",
        NackReason::LogLost => "log_lost",
        NackReason::RateLimited => "rate_limited",
        NackReason::Full => "full",
        NackReason::Busy => "busy",
        NackReason::LogUnavailable => "log_unavailable",
        NackReason::TooLarge => "too_large",
        NackReason::NotAllowed => "not_allowed",
        NackReason::EpochClosed => "epoch_closed",
        NackReason::Conflict => "conflict",
        NackReason::HostOffline => "host_offline",
    }
}

/// Milliseconds since 1970 UTC.
pub(crate) fn unix_ms() -> u64 {
    #[cfg(feature = "sim")]
    if let Some(unix_ms) = crate::embedded::unix_ms() {
        return unix_ms;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What limits count by: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// A waiting call; when it ends in any way, nothing of it is left.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) id: WaiterId,
    node: Arc<Node>,
    handle: Arc<Handle>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        {
            let mut waiting = self.node.waiting.lock();
            waiting.remove(&self.id);
            let left = i64::try_from(waiting.len()).unwrap_or(i64::MAX);
            self.node.metrics.pair_waiters.set(left);
        }
        let (node, handle, waiter) = (self.node.clone(), self.handle.clone(), self.id);
        self.node.tasks.spawn(async move {
            node.drive(&handle, Input::WaiterGone { waiter }).await;
        });
    }
}

#[cfg(test)]
mod tests;

//! One running relay: what its connections and calls share, and how effects are carried out.

mod cluster;
mod drive;
mod log;
mod rates;
mod report;
mod session;
mod store;
mod wait;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use belay_adapters::{Keys, Stores};
use belay_core::{CompatPolicy, Env, Gcra, Now, Policy, fingerprint, session::WaiterId};
use belay_wire::SessionId;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use cluster::{Cluster, NoDrain};
pub(crate) use rates::{RateClass, prefix};
pub(crate) use wait::CallError;

use self::{rates::Caller, wait::Waiting};
use crate::{
    config::Config, drain::Drain, entropy::OsEntropy, history::History, http::compat::Allowed,
    metrics::Metrics, origin::Origins, registry::Registry,
};

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
    /// When the cause of a failed append was logged last, Unix milliseconds.
    append_told_at: Arc<AtomicU64>,
    /// When it was logged last that sessions cannot store, and that they can again, Unix milliseconds.
    degraded_told_at: AtomicU64,
    restored_told_at: AtomicU64,
    pub(crate) unauthenticated: Mutex<HashMap<IpAddr, usize>>,
    waiting: Mutex<HashMap<WaiterId, (SessionId, Waiting)>>,
    next_waiter: AtomicU64,
    rates: Mutex<HashMap<(RateClass, Caller), Gcra>>,
    /// Present if there may be other nodes.
    pub(crate) cluster: Option<Cluster>,
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
        let keys = || fingerprint::of_keys(&parts.keys.tokens, &parts.keys.hash);
        let cluster = parts.stores.shared.clone().map(|shared| Cluster::new(shared, keys()));
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
            append_told_at: Arc::default(),
            degraded_told_at: AtomicU64::default(),
            restored_told_at: AtomicU64::default(),
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

#[cfg(test)]
mod tests;

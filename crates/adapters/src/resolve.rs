//! From a URL to an adapter.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use belay_core::ports::{Bus, Leases, Limits, MessageLog, Presence, Revocations, SessionStore};

use crate::{
    DiskError, DiskLog, DiskRevocations, DiskStore, FolderLock, LogOptions, MemoryLog,
    MemoryRevocations, MemoryStore, Nats, NatsError, NatsOptions, RedisError, RedisOptions,
    RedisStore, SqlError, SqlRevocations, SyncPolicy,
};

/// Why no adapter was made.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No adapter of this build serves the scheme.
    #[error(
        "no store for \"{0}\": this build knows disk: (default), memory:, redis://, rediss:// and \
         redis+sentinel://"
    )]
    UnknownScheme(String),
    /// The data folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Redis cannot be used.
    #[error("store")]
    Redis(#[from] RedisError),
    /// NATS cannot be used.
    #[error("bus")]
    Nats(#[from] NatsError),
    /// The catalog cannot be used.
    #[error("catalog")]
    Catalog(#[from] SqlError),
    /// A file that a setting names cannot be read.
    #[error("{path}: {cause}")]
    File { path: PathBuf, cause: std::io::Error },
}

/// Where a relay keeps what it keeps.
#[derive(Debug)]
pub struct Places<'a> {
    /// URL of the store.
    pub store: &'a str,
    pub data_dir: &'a Path,
    pub sync: SyncPolicy,
    /// Of a cluster; used with a store that nodes share.
    pub cluster: Option<ClusterPlaces<'a>>,
}

/// What nodes share.
#[derive(Debug)]
pub struct ClusterPlaces<'a> {
    /// URL of the catalog.
    pub catalog: &'a str,
    /// Name of the node in the catalog.
    pub instance: &'a str,
    pub key_prefix: &'a str,
    /// Certificates (PEM) for Redis.
    pub store_ca: Option<&'a Path>,
    pub nats: NatsOptions,
    /// Is told for what it is waited longer than a moment.
    pub waits: fn(&str),
}

/// A start that takes longer says for what it waits.
const MOMENT: Duration = Duration::from_secs(1);

/// The adapters of a relay.
#[derive(Debug, Clone)]
pub struct Stores {
    pub sessions: Arc<dyn SessionStore>,
    pub revocations: Arc<dyn Revocations>,
    pub log: Arc<dyn MessageLog>,
    /// Where the compat protocol keeps messages: its clients start anew from a snapshot, so on one node
    /// nothing of theirs need outlive the process.
    pub compat_log: Arc<dyn MessageLog>,
    /// Present if other nodes may use the same.
    pub shared: Option<Shared>,
    /// What an operator should know of what was found at start.
    pub notes: Vec<String>,
    /// Held as long as the data folder is in use.
    pub lock: Option<Arc<FolderLock>>,
}

/// What nodes share besides sessions and logs.
#[derive(Debug, Clone)]
pub struct Shared {
    /// This life of the node, which is another after each start.
    pub life: String,
    pub presence: Arc<dyn Presence>,
    pub leases: Arc<dyn Leases>,
    pub limits: Arc<dyn Limits>,
    pub bus: Arc<dyn Bus>,
    /// What only an operator asks.
    pub parts: Parts,
}

/// The adapters of a cluster by their technology, for numbers that no port tells.
#[derive(Debug, Clone)]
pub struct Parts {
    pub redis: Arc<RedisStore>,
    pub nats: Arc<Nats>,
    pub catalog: Arc<SqlRevocations>,
}

impl Stores {
    /// Everything in memory: it ends with the process.
    pub fn in_memory() -> Self {
        Self {
            sessions: Arc::new(MemoryStore::default()),
            revocations: Arc::new(MemoryRevocations::default()),
            log: Arc::new(MemoryLog::default()),
            compat_log: Arc::new(MemoryLog::default()),
            shared: None,
            notes: Vec::new(),
            lock: None,
        }
    }
}

/// Checks that an adapter of this build serves the URL of a store, without opening anything.
///
/// # Errors
/// What is wrong; of a URL that may hold a password nothing is quoted.
pub fn check_store(url: &str) -> Result<(), String> {
    match url.split(':').next().unwrap_or_default() {
        "memory" | "disk" => Ok(()),
        scheme if is_redis(scheme) => RedisStore::check_url(url).map_err(|e| e.to_string()),
        other => Err(ResolveError::UnknownScheme(other.to_owned()).to_string()),
    }
}

/// The same for the URL of a bus.
///
/// # Errors
/// As [`check_store`].
pub fn check_bus(url: &str) -> Result<(), String> {
    Nats::check_url(url).map_err(|e| e.to_string())
}

/// The same for the URL of a catalog.
///
/// # Errors
/// As [`check_store`].
pub fn check_catalog(url: &str) -> Result<(), String> {
    SqlRevocations::check_url(url).map_err(|e| e.to_string())
}

/// Makes the adapters that a store URL names; `disk:` uses the data folder.
///
/// # Errors
/// [`ResolveError`].
pub async fn resolve(places: Places<'_>) -> Result<Stores, ResolveError> {
    let scheme = places.store.split(':').next().unwrap_or_default();
    match (scheme, places.cluster) {
        ("memory", _) => Ok(Stores::in_memory()),
        ("disk", _) => on_disk(places.data_dir, places.sync).await,
        (scheme, Some(cluster)) if is_redis(scheme) => {
            shared(places.store, places.data_dir, cluster).await
        }
        (other, _) => Err(ResolveError::UnknownScheme(other.to_owned())),
    }
}

fn is_redis(scheme: &str) -> bool {
    matches!(scheme, "redis" | "rediss" | "redis+sentinel" | "rediss+sentinel")
}

async fn on_disk(data_dir: &Path, sync: SyncPolicy) -> Result<Stores, ResolveError> {
    let lock = FolderLock::take_patiently(data_dir).await?;
    let log = DiskLog::open(data_dir, LogOptions { sync, ..LogOptions::default() })?;
    let notes = log.notes().to_vec();
    Ok(Stores {
        log: Arc::new(log),
        compat_log: Arc::new(MemoryLog::default()),
        shared: None,
        notes,
        sessions: Arc::new(DiskStore::open(data_dir).await?),
        revocations: Arc::new(DiskRevocations::open(data_dir)?),
        lock: Some(Arc::new(lock)),
    })
}

/// Tells what is waited for if it takes its time.
async fn telling<T>(waits: fn(&str), what: &str, work: impl Future<Output = T>) -> T {
    let mut work = Box::pin(work);
    if let Ok(done) = tokio::time::timeout(MOMENT, work.as_mut()).await {
        return done;
    }
    waits(what);
    work.await
}

async fn shared(
    store: &str,
    data_dir: &Path,
    cluster: ClusterPlaces<'_>,
) -> Result<Stores, ResolveError> {
    // Two nodes in one folder would take each other's admin token and drain.
    let lock = FolderLock::take_patiently(data_dir).await?;
    let mut options = RedisOptions::new(store, cluster.key_prefix);
    if let Some(path) = cluster.store_ca {
        let read = std::fs::read(path);
        let ca = read.map_err(|cause| ResolveError::File { path: path.to_owned(), cause })?;
        options.ca = Some(ca);
    }
    let life = cluster.nats.node.clone();
    let waits = cluster.waits;
    let (redis, mut notes) =
        telling(waits, "Redis (--store)", RedisStore::connect(options)).await?;
    let (nats, of_nats) = telling(waits, "NATS (--bus)", Nats::connect(cluster.nats)).await?;
    notes.extend(of_nats);
    let catalog = SqlRevocations::open(cluster.catalog, cluster.instance);
    let catalog = Arc::new(telling(waits, "the catalog (--catalog)", catalog).await?);
    let (redis, nats) = (Arc::new(redis), Arc::new(nats));
    Ok(Stores {
        sessions: redis.clone(),
        revocations: catalog.clone(),
        log: nats.clone(),
        compat_log: nats.clone(),
        shared: Some(Shared {
            life,
            presence: redis.clone(),
            leases: redis.clone(),
            limits: redis.clone(),
            bus: nats.clone(),
            parts: Parts { redis, nats, catalog },
        }),
        notes,
        lock: Some(Arc::new(lock)),
    })
}

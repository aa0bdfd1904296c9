//! From a URL to an adapter.

use std::{path::Path, sync::Arc};

use belay_core::ports::{Bus, Leases, Limits, MessageLog, Presence, Revocations, SessionStore};

use crate::{
    DiskError, DiskLog, DiskRevocations, DiskStore, FolderLock, LogOptions, MemoryLog,
    MemoryRevocations, MemoryStore, SyncPolicy,
};

/// Why no adapter was made.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No adapter of this build serves the scheme.
    #[error("no store for \"{0}\": this build knows disk: (default) and memory:")]
    UnknownScheme(String),
    /// The data folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

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
    pub presence: Arc<dyn Presence>,
    pub leases: Arc<dyn Leases>,
    pub limits: Arc<dyn Limits>,
    pub bus: Arc<dyn Bus>,
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

/// Checks that an adapter of this build serves a URL, without opening anything.
///
/// # Errors
/// [`ResolveError::UnknownScheme`].
pub fn check_store(url: &str) -> Result<(), ResolveError> {
    match url.split(':').next().unwrap_or_default() {
        "memory" | "disk" => Ok(()),
        other => Err(ResolveError::UnknownScheme(other.to_owned())),
    }
}

/// Makes the adapters that a store URL names; `disk:` uses the data folder.
///
/// # Errors
/// [`ResolveError`].
pub async fn resolve(url: &str, data_dir: &Path, sync: SyncPolicy) -> Result<Stores, ResolveError> {
    match url.split(':').next().unwrap_or_default() {
        "memory" => Ok(Stores::in_memory()),
        "disk" => {
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
        other => Err(ResolveError::UnknownScheme(other.to_owned())),
    }
}

//! From a URL to an adapter.

use std::{path::Path, sync::Arc};

use belay_core::ports::{Revocations, SessionStore};

use crate::{DiskError, DiskRevocations, DiskStore, FolderLock, MemoryRevocations, MemoryStore};

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
    /// Held as long as the data folder is in use.
    pub lock: Option<Arc<FolderLock>>,
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
pub async fn resolve(url: &str, data_dir: &Path) -> Result<Stores, ResolveError> {
    match url.split(':').next().unwrap_or_default() {
        "memory" => Ok(Stores {
            sessions: Arc::new(MemoryStore::default()),
            revocations: Arc::new(MemoryRevocations::default()),
            lock: None,
        }),
        "disk" => {
            let lock = FolderLock::take_patiently(data_dir).await?;
            Ok(Stores {
                sessions: Arc::new(DiskStore::open(data_dir).await?),
                revocations: Arc::new(DiskRevocations::open(data_dir)?),
                lock: Some(Arc::new(lock)),
            })
        }
        other => Err(ResolveError::UnknownScheme(other.to_owned())),
    }
}

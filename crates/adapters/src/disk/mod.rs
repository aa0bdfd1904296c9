//! The embedded store: one SQLite file in WAL mode, one append-only file of revocations, and a lock
//! that keeps a second process out.

mod lock;
mod log;
mod revoked;
mod row;
mod store;

use std::path::PathBuf;

pub use lock::FolderLock;
pub use log::{DiskLog, Options as LogOptions, SyncPolicy};
pub use revoked::DiskRevocations;
pub use store::DiskStore;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process holds the folder.
    #[error(
        "{folder} is in use by another relay{}; stop the `belay up` or `belay serve` that it belongs to, or choose another folder with --data-dir",
        .pid.map_or(String::new(), |pid| format!(" (process {pid})"))
    )]
    InUse { folder: PathBuf, pid: Option<u32> },
    /// The file system refused.
    #[error("{path}: {cause}; check that the folder exists, is writable and has space")]
    Io { path: PathBuf, cause: std::io::Error },
    /// SQLite refused.
    #[error("{path}: {cause}")]
    Sql { path: PathBuf, cause: sqlx::Error },
    /// Made by a newer version.
    #[error(
        "{path} was written by a newer version of belay (schema {found}, this one knows {known}); use that version"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
}

impl DiskError {
    pub(crate) fn io(path: impl Into<PathBuf>, cause: std::io::Error) -> Self {
        Self::Io { path: path.into(), cause }
    }
}

//! Where a cluster of one machine keeps its files.

use std::{
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// A folder that no other cluster uses; a temporary one is removed at the end.
pub(super) struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
    /// Locked as long as it is open.
    _lock: File,
}

impl Folder {
    /// Opens or makes a folder.
    pub(super) fn open(kept: Option<&Path>, sentinels: bool) -> anyhow::Result<Self> {
        let temporary = match kept {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("belay-cluster-").tempdir()?),
        };
        let named = kept.or(temporary.as_ref().map(TempDir::path)).context("a folder")?;
        let why = || format!("the folder {} cannot be used", named.display());
        std::fs::create_dir_all(named).with_context(why)?;
        // Servers work in folders of their own.
        let path = named.canonicalize().with_context(why)?;
        let lock = File::create(path.join("lock")).with_context(why)?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "{} is in use by another cluster-dev; stop it or name another --folder",
                path.display()
            );
        }
        if sentinels && path.join("sentinel1").exists() {
            bail!(
                "{} holds a cluster with Sentinels, and only they know which of its two Redis servers has the \
                 newest data; name a new --folder",
                path.display()
            );
        }
        // PostgreSQL does not run as root, and its user must get to its own folder.
        let mode = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).with_context(why)?;
        Ok(Self { path, temporary, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_kept(&self) -> bool {
        self.temporary.is_none()
    }

    /// Removes it if it is temporary; everything that worked in it must have ended.
    pub(super) fn end(self) {
        let path = self.path;
        if let Some(Err(error)) = self.temporary.map(TempDir::close) {
            super::say(&format!("{} was not removed: {error}", path.display()));
        }
    }
}

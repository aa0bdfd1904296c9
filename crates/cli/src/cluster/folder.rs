//! Where a cluster of one machine keeps its files.

use std::{
    fs::{File, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// How temporary folders are named.
const PREFIX: &str = "belay-cluster-";
/// A folder that is younger may belong to a cluster that is just starting.
const LEFT_AFTER: Duration = Duration::from_mins(1);

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
        let temporary = if kept.is_none() {
            remove_left(&std::env::temp_dir());
            Some(tempfile::Builder::new().prefix(PREFIX).tempdir()?)
        } else {
            None
        };
        let named = kept.or(temporary.as_ref().map(TempDir::path)).context("a folder")?;
        let why = || format!("the folder {} cannot be used", named.display());
        std::fs::create_dir_all(named).with_context(why)?;
        // Servers work in folders of their own.
        let path = named.canonicalize().with_context(why)?;
        let lock = File::create(path.join("lock")).with_context(why)?;
        if !is_free(&lock) {
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

/// Locks a file; it stays so until it is closed.
fn is_free(lock: &File) -> bool {
    rustix::fs::flock(lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Removes folders of clusters that were killed before they could do it themselves.
fn remove_left(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            // Of the entry itself: what a link leads to is not ours to remove.
            && entry.metadata().is_ok_and(|m| {
                m.is_dir() && m.uid() == rustix::process::geteuid().as_raw()
            });
        if is_ours && is_left(&entry.path().join("lock")) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_left(lock: &Path) -> bool {
    let Ok(lock) = File::open(lock) else { return false };
    let made = lock.metadata().and_then(|m| m.modified());
    made.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_AFTER)) && is_free(&lock)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_a_killed_cluster_left_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().expect("temporary folder");
        let make = |name: &str, age: u64| {
            let folder = place.path().join(name);
            std::fs::create_dir(&folder).expect("made");
            let lock = File::create(folder.join("lock")).expect("made");
            let at = SystemTime::now() - Duration::from_secs(age);
            lock.set_modified(at).expect("set");
            (folder, lock)
        };
        let (left, _) = make("belay-cluster-left", 100);
        let (used, lock) = make("belay-cluster-used", 100);
        assert!(is_free(&lock), "locked here");
        let (young, _) = make("belay-cluster-young", 1);
        let (other, _) = make("something-else", 100);
        let link = place.path().join("belay-cluster-link");
        std::os::unix::fs::symlink(&other, &link).expect("made");

        remove_left(place.path());

        assert!(!left.exists());
        assert!(used.exists() && young.exists() && other.exists() && link.exists());
    }
}

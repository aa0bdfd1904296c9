//! One process per data folder.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
    time::Duration,
};

use super::DiskError;

/// Holds a data folder; released when dropped and when the process dies in any way.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// How long a start waits for a process that is just ending.
const PATIENCE: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);

impl FolderLock {
    /// Takes the lock, waiting a little for a process that is just ending: who stops a relay and
    /// starts it again must not have to guess when.
    ///
    /// # Errors
    /// As [`FolderLock::take`].
    pub async fn take_patiently(folder: &Path) -> Result<Self, DiskError> {
        let started = tokio::time::Instant::now();
        loop {
            match Self::take(folder) {
                Err(DiskError::InUse { .. }) if started.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }

    /// Makes the folder if it is missing and takes its lock.
    ///
    /// # Errors
    /// [`DiskError::InUse`] names the process that holds it.
    pub fn take(folder: &Path) -> Result<Self, DiskError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|e| DiskError::io(folder, e))?;
        let path = folder.join("lock");
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| DiskError::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                return Err(DiskError::InUse { folder: folder.to_owned(), pid });
            }
            Err(TryLockError::Error(e)) => return Err(DiskError::io(&path, e)),
        }
        let note = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        note(&mut file).map_err(|e| DiskError::io(&path, e))?;
        Ok(Self { _file: file })
    }
}

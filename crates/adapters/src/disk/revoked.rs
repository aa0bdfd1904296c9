//! The second place of revocations: a file that only grows, one device id per line.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Arc,
};

use belay_core::ports::{Answer, Revocations, StoreError};
use belay_wire::MemberId;
use parking_lot::Mutex;

use super::DiskError;

/// Revocations in `<data-dir>/revoked`.
#[derive(Debug, Clone)]
pub struct DiskRevocations {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    revoked: HashSet<MemberId>,
    /// A write failed: the file may end in half a line.
    torn: bool,
}

impl DiskRevocations {
    /// Opens the file; a line that a crash cut short is ended, so that the next one is whole.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(folder: &Path) -> Result<Self, DiskError> {
        let path = folder.join("revoked");
        let io = |e| DiskError::io(&path, e);
        let mut file = OpenOptions::new().append(true).create(true).open(&path).map_err(io)?;
        let text = std::fs::read(&path).map_err(io)?;
        if text.last().is_some_and(|b| *b != b'\n') {
            file.write_all(b"\n").map_err(io)?;
        }
        let lines = text.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
        let revoked = lines.filter_map(|line| line.parse().ok()).collect();
        Ok(Self { inner: Arc::new(Mutex::new(Inner { file, revoked, torn: false })) })
    }
}

impl Inner {
    fn add(&mut self, member: MemberId) -> std::io::Result<()> {
        // Refused from now on, whatever the disk says.
        if !self.revoked.insert(member) {
            return Ok(());
        }
        // After a line that was cut short a new one begins.
        let start = if self.torn { "\n" } else { "" };
        let line = format!("{start}{member}\n");
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        self.torn = written.is_err();
        if self.torn {
            self.revoked.remove(&member);
        }
        written
    }
}

impl Revocations for DiskRevocations {
    fn add(&self, member: MemberId) -> Answer<()> {
        let inner = self.inner.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || inner.lock().add(member))
                .await
                .map_err(|e| StoreError::Unavailable(e.to_string()))?
                .map_err(|e| StoreError::Unavailable(format!("revoked file: {e}")))
        })
    }

    fn contains(&self, member: MemberId) -> bool {
        self.inner.lock().revoked.contains(&member)
    }

    fn count(&self) -> usize {
        self.inner.lock().revoked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn revocations_survive_a_restart_and_a_torn_line() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (first, second) = (MemberId::from_bytes([1; 16]), MemberId::from_bytes([2; 16]));
        let revocations = DiskRevocations::open(folder.path()).expect("opens");
        revocations.add(first).await.expect("added");
        drop(revocations);
        let path = folder.path().join("revoked");
        let mut text = std::fs::read(&path).expect("readable");
        text.extend_from_slice(b"torn");
        std::fs::write(&path, text).expect("writable");

        let revocations = DiskRevocations::open(folder.path()).expect("opens again");
        revocations.add(second).await.expect("added");
        let revocations = DiskRevocations::open(folder.path()).expect("opens a third time");

        assert!(revocations.contains(first) && revocations.contains(second));
        assert!(!revocations.contains(MemberId::from_bytes([3; 16])));
    }
}

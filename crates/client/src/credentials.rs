//! What a client keeps to come back: relay, session and token.

use std::path::{Path, PathBuf};

use belay_wire::{MemberId, Secret, SessionId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::identity::write_private;

/// Relay, session and current token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    pub relay: String,
    pub session: SessionId,
    /// Absent for the host.
    pub member: Option<MemberId>,
    pub token: Secret,
}

/// Where credentials live. A token that was offered is saved before it is used.
pub trait CredentialStore: Send + Sync + std::fmt::Debug {
    /// The credentials.
    fn load(&self) -> std::io::Result<Option<Credentials>>;
    /// Saves durably; the next `load` gives exactly this.
    fn save(&self, credentials: &Credentials) -> std::io::Result<()>;
}

/// Credentials in a file that only its owner can read.
#[derive(Debug, Clone)]
pub struct FileCredentials(PathBuf);

impl FileCredentials {
    /// Uses this file.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl CredentialStore for FileCredentials {
    fn load(&self) -> std::io::Result<Option<Credentials>> {
        match std::fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(std::io::Error::other),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn save(&self, credentials: &Credentials) -> std::io::Result<()> {
        let text = serde_json::to_string(credentials).map_err(std::io::Error::other)?;
        write_private(&self.0, &text)
    }
}

/// Credentials that end with the process, for tests and load.
#[derive(Debug, Default)]
pub struct MemoryCredentials(Mutex<Option<Credentials>>);

impl MemoryCredentials {
    /// Starts with these.
    pub fn new(credentials: Credentials) -> Self {
        Self(Mutex::new(Some(credentials)))
    }
}

impl CredentialStore for MemoryCredentials {
    fn load(&self) -> std::io::Result<Option<Credentials>> {
        Ok(self.0.lock().clone())
    }

    fn save(&self, credentials: &Credentials) -> std::io::Result<()> {
        *self.0.lock() = Some(credentials.clone());
        Ok(())
    }
}

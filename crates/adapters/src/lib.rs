//! Adapters of the ports of `belay-core`, one file or folder per technology.

mod disk;
mod keys;
mod memory;
mod record;
mod resolve;

pub use disk::{
    DiskError, DiskLog, DiskRevocations, DiskStore, FolderLock, LogOptions, SyncPolicy,
};
pub use keys::{KeyError, Keys};
pub use memory::{MemoryLog, MemoryRevocations, MemoryStore};
pub use resolve::{ResolveError, Shared, Stores, check_store, resolve};

//! Adapters of the ports of `belay-core`, one file or folder per technology.

mod disk;
mod keys;
mod memory;
mod resolve;

pub use disk::{DiskError, DiskRevocations, DiskStore, FolderLock};
pub use keys::{KeyError, Keys};
pub use memory::{MemoryRevocations, MemoryStore};
pub use resolve::{ResolveError, Stores, check_store, resolve};

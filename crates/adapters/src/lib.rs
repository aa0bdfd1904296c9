//! Adapters of the ports of `belay-core`, one file or folder per technology.

mod disk;
mod keys;
mod memory;
mod nats;
mod record;
mod resolve;

pub use disk::{
    DiskError, DiskLog, DiskRevocations, DiskStore, FolderLock, LogOptions, SyncPolicy,
};
pub use keys::{KeyError, Keys};
pub use memory::{MemoryLog, MemoryRevocations, MemoryStore};
pub use nats::{Nats, NatsError, NatsOptions, StreamLimits};
pub use resolve::{ResolveError, Stores, check_store, resolve};

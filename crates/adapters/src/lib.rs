//! Adapters of the ports of `belay-core`, one file or folder per technology.

mod disk;
mod keys;
mod lease;
mod memory;
mod nats;
mod record;
mod redis;
mod resolve;
mod sql;

pub use disk::{
    DiskError, DiskLog, DiskRevocations, DiskStore, FolderLock, LogOptions, SyncPolicy,
};
pub use keys::{KeyError, Keys};
pub use memory::{MemoryCluster, MemoryLog, MemoryRevocations, MemoryStore};
pub use nats::{Nats, NatsError, NatsOptions, StreamLimits};
pub use redis::{RedisError, RedisOptions, RedisStore};
pub use resolve::{
    ClusterPlaces, Parts, Places, ResolveError, Shared, Stores, check_bus, check_catalog,
    check_store, resolve,
};
pub use sql::{CatalogState, SqlError, SqlRevocations};

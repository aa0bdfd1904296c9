//! Real servers for tests and for a cluster on one machine: Redis, NATS and PostgreSQL on free loopback
//! ports, each in a folder of its own. They end with whoever started them, also if that is killed.

mod affinity;
mod nats;
mod port;
mod postgres;
mod process;
mod redis;

pub use affinity::{affinity_of, by_affinity};
pub use nats::{Nats, NatsCluster, NatsOptions};
pub use port::free_port;
pub use postgres::Postgres;
pub use process::{Process, missing, program};
pub use redis::{Redis, RedisCluster, RedisGroup};

//! The Redis adapter on real servers.

mod allowed;
mod contract;
mod failover;
mod faults;
mod lost;
mod notes;
mod presence;
mod records;
mod tls;

use std::{future::Future, time::Duration};

use belay_adapters::{RedisOptions, RedisStore};
use belay_servers::Redis;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The prefix of all tests: each has a server of its own.
const PREFIX: &str = "test";

/// A server in a folder of its own.
fn server(settings: &[&str]) -> (Redis, TempDir) {
    let folder = tempfile::tempdir().expect("temporary folder");
    (Redis::start(folder.path(), settings).expect("redis"), folder)
}

/// A store on a server.
async fn store(url: &str) -> RedisStore {
    RedisStore::connect(RedisOptions::new(url, PREFIX)).await.expect("connected").0
}

/// Waits until something goes well.
async fn until_well<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    patience: Duration,
    mut work: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "still: {error}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

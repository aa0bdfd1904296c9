//! A master that is replaced by its replica.

use std::time::Duration;

use belay_core::ports::{SessionStore, StoreError, contract};
use belay_servers::RedisGroup;

use crate::{server, store, until_well};

/// Until Sentinels have agreed and the new master is found; a vote that is split is tried again after 12 s.
const PATIENCE: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_followed_to_its_replica() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let group = RedisGroup::start(folder.path()).expect("group");
    let store = store(&group.url()).await;
    let mut record = contract::sample(1, *b"AAA");
    store.save(record.clone()).await.expect("stored");
    group.servers[0].cli(&["WAIT", "1", "5000"]).expect("replicated");

    group.servers[0].process().kill();
    // One Sentinel less: two of three still agree.
    group.sentinels[0].1.kill();
    until_well(PATIENCE, || store.check()).await;

    assert_eq!(store.load(record.id).await.expect("readable").expect("present").version, 1);
    record.version = 2;
    store.save(record.clone()).await.expect("stored");
    let role = group.servers[1].cli(&["INFO", "replication"]).expect("up");
    assert!(role.contains("role:master"), "{role}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_became_a_replica_is_left() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let group = RedisGroup::start(folder.path()).expect("group");
    let store = store(&group.url()).await;
    let mut record = contract::sample(1, *b"AAA");
    store.save(record.clone()).await.expect("stored");
    group.servers[0].cli(&["WAIT", "1", "5000"]).expect("replicated");

    group.failover().expect("asked for");
    // A server that changes its role ends connections, that of this question, too.
    let role = |n: usize| group.servers[n].cli(&["INFO", "replication"]).unwrap_or_default();
    let becomes = async |n: usize, what: &str| {
        until_well(PATIENCE, async || role(n).contains(what).then_some(()).ok_or("not yet")).await;
    };
    becomes(1, "role:master").await;
    becomes(0, "role:slave").await;

    record.version = 2;
    until_well(PATIENCE, || store.save(record.clone())).await;
    let text = format!("test:{{{}}}:version", record.id);
    assert_eq!(group.servers[1].cli(&["GET", &text]).expect("there"), "2 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_stays_is_left_when_its_server_takes_no_writes() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let group = RedisGroup::start(folder.path()).expect("group");
    let url = group.url();
    let url = format!("{}/belay", &url[..url.find(',').expect("several")]);
    let store = store(&url).await;
    let mut record = contract::sample(1, *b"AAA");
    store.save(record.clone()).await.expect("stored");
    group.servers[0].cli(&["WAIT", "1", "5000"]).expect("replicated");
    // By hand, for Sentinels would close the connection.
    group.sentinels[1..].iter().for_each(|(_, sentinel)| sentinel.kill());
    group.sentinel_cli(&["SENTINEL", "REMOVE", "belay"]).expect("removed");
    let new = group.servers[1].port.to_string();
    group.servers[1].cli(&["REPLICAOF", "NO", "ONE"]).expect("a master");
    group.servers[0].cli(&["REPLICAOF", "127.0.0.1", &new]).expect("a replica");
    group.sentinel_cli(&["SENTINEL", "MONITOR", "belay", "127.0.0.1", &new, "1"]).expect("known");

    record.version = 2;
    store.save(record.clone()).await.expect("at the first call");

    let version = format!("test:{{{}}}:version", record.id);
    assert_eq!(group.servers[1].cli(&["GET", &version]).expect("there"), "2 0");
}

#[tokio::test]
async fn a_server_that_became_a_replica_says_so_until_it_is_none_any_more() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let mut record = contract::sample(1, *b"AAA");
    store.save(record.clone()).await.expect("stored");
    redis.cli(&["REPLICAOF", "127.0.0.1", "1"]).expect("a replica");

    record.version = 2;
    let refused = store.save(record.clone()).await.expect_err("it takes no writes");
    assert!(
        matches!(&refused, StoreError::Unavailable(why) if why.contains("replica")),
        "{refused}"
    );
    assert_eq!(store.load(record.id).await.expect("readable").expect("present").version, 1);

    redis.cli(&["REPLICAOF", "NO", "ONE"]).expect("a master");
    store.save(record).await.expect("stored");
}

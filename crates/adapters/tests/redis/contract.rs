//! The contract suites, wherever keys lie.

use std::sync::Arc;

use belay_adapters::{RedisOptions, RedisStore};
use belay_core::ports::contract;
use belay_servers::{RedisCluster, RedisGroup};

use crate::{PREFIX, server, store};

async fn all(one: RedisStore, other: RedisStore) {
    let (one, other) = (Arc::new(one), Arc::new(other));
    contract::session_store(one.clone()).await;
    contract::shared_store(one.clone(), other.clone()).await;
    contract::cluster::presence(one.clone()).await;
    contract::cluster::leases(one.clone()).await;
    contract::cluster::limits(one.clone(), other.clone()).await;
    assert!(one.commands() > 100 && other.commands() > 10);
}

#[tokio::test]
async fn one_server_keeps_the_contract() {
    let (redis, _folder) = server(&[]);

    all(store(&redis.url()).await, store(&redis.url()).await).await;
}

#[tokio::test]
async fn a_group_with_sentinels_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let group = RedisGroup::start(folder.path()).expect("group");

    all(store(&group.url()).await, store(&group.url()).await).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cluster = RedisCluster::start(folder.path()).expect("cluster");
    let (one, notes) = RedisStore::cluster(&cluster.urls(), PREFIX).await.expect("connected");
    assert_eq!(notes, Vec::<String>::new());
    let (other, _) = RedisStore::cluster(&cluster.urls()[2..], PREFIX).await.expect("connected");

    all(one, other).await;
}

#[tokio::test]
async fn prefixes_do_not_meet() {
    let (redis, _folder) = server(&[]);
    for prefix in ["one", "other"] {
        let options = RedisOptions::new(redis.url(), prefix);
        let (store, _) = RedisStore::connect(options).await.expect("connected");
        contract::session_store(Arc::new(store)).await;
    }
}

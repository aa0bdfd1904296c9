//! The contract suite over every adapter of this crate.

use std::sync::Arc;

use belay_adapters::{
    DiskError, DiskRevocations, DiskStore, FolderLock, MemoryCluster, MemoryRevocations,
    MemoryStore,
};
use belay_core::ports::{SessionStore, contract};

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::session_store(Arc::new(MemoryStore::default())).await;
}

#[tokio::test]
async fn disk_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("temporary folder");

    let store = DiskStore::open(folder.path()).await.expect("opens");
    contract::session_store(Arc::new(store)).await;
}

#[tokio::test]
async fn both_second_places_of_revocations_keep_the_contract() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let disk = DiskRevocations::open(folder.path()).expect("opens");

    contract::revocations(Arc::new(MemoryRevocations::default())).await;
    contract::revocations(Arc::new(disk)).await;
}

#[tokio::test]
async fn disk_keeps_sessions_over_a_restart() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let record = contract::sample(1, *b"AAA");
    let store = DiskStore::open(folder.path()).await.expect("opens");
    store.save(record.clone()).await.expect("stored");
    store.check().await.expect("it can be written");
    drop(store);

    let store = DiskStore::open(folder.path()).await.expect("opens again");
    let loaded = store.load(record.id).await.expect("readable").expect("present");

    assert_eq!(format!("{loaded:?}"), format!("{record:?}"));
}

#[tokio::test]
async fn saves_queued_together_keep_their_order() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = DiskStore::open(folder.path()).await.expect("opens");
    let mut record = contract::sample(1, *b"AAA");
    let mut saves = Vec::new();
    for version in 1..=100 {
        record.version = version;
        saves.push(store.save(record.clone()));
    }

    for save in saves.into_iter().rev() {
        save.await.expect("each follows the one before");
    }
}

#[test]
fn a_second_process_on_the_folder_is_told_who_holds_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let held = FolderLock::take(folder.path()).expect("free");

    let refused = FolderLock::take(folder.path()).expect_err("held");

    let text = refused.to_string();
    assert!(matches!(refused, DiskError::InUse { .. }));
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
    drop(held);
    FolderLock::take(folder.path()).expect("free again");
}

#[tokio::test]
async fn nodes_of_one_process_share_what_a_cluster_shares() {
    let one = MemoryCluster::default();
    let other = Arc::new(one.clone());
    let one = Arc::new(one);

    contract::session_store(one.clone()).await;
    contract::shared_store(one.clone(), other.clone()).await;
    contract::cluster::presence(one.clone()).await;
    contract::cluster::leases(one.clone()).await;
    contract::cluster::limits(one, other).await;
}

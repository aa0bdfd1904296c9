//! Servers that die, stand still or are full.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use belay_core::ports::{Presence, SessionStore, StoreError, contract};
use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::{server, store, until_well};

/// No call takes longer, however its server behaves: the bound of an operation, and some patience.
const BOUND: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_save_is_lost_by_kill_9() {
    let (mut redis, _folder) = server(&[]);
    let stopped = Arc::new(AtomicBool::new(false));
    let store = store(&redis.url()).await;
    let writers: Vec<_> = (1..=8)
        .map(|n| {
            let (store, stopped) = (store.clone(), Arc::clone(&stopped));
            tokio::spawn(async move {
                let mut record = contract::sample(n, *b"AAA");
                let mut acknowledged = 0;
                while !stopped.load(Ordering::Relaxed) {
                    record.version = acknowledged + 1;
                    match store.save(record.clone()).await {
                        Ok(()) => acknowledged += 1,
                        Err(StoreError::Conflict) => {
                            // One whose answer never came was stored.
                            acknowledged += 1;
                            let stored = store.load(record.id).await;
                            assert!(
                                stored.is_ok_and(|r| r.is_some_and(|r| r.version == acknowledged))
                            );
                        }
                        Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(20)).await,
                        Err(error) => panic!("{error}"),
                    }
                }
                (record.id, acknowledged)
            })
        })
        .collect();
    for _ in 0..3 {
        sleep(Duration::from_millis(400)).await;
        redis.process().kill();
        sleep(Duration::from_millis(200)).await;
        redis = tokio::task::spawn_blocking(move || {
            redis.restart().expect("it starts again");
            redis
        })
        .await
        .expect("started");
    }
    until_well(BOUND, || store.check()).await;
    sleep(Duration::from_millis(300)).await;
    stopped.store(true, Ordering::Relaxed);

    for writer in writers {
        let (id, acknowledged) = writer.await.expect("no save was lost meanwhile");
        assert!(acknowledged > 20, "{acknowledged}");
        let stored = store.load(id).await.expect("readable").expect("present").version;
        assert!(stored >= acknowledged, "{stored} of {acknowledged}");
    }
}

#[tokio::test]
async fn a_server_that_stands_still_is_unavailable_within_the_bound() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let record = contract::sample(1, *b"AAA");
    store.save(record.clone()).await.expect("stored");
    redis.process().signal(Signal::STOP);

    for _ in 0..2 {
        let start = Instant::now();
        let calls = (0..200).map(|_| store.load(record.id));
        for result in join_all(calls).await {
            assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
        }
        assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    }

    redis.process().signal(Signal::CONT);
    until_well(BOUND, || store.check()).await;
    assert_eq!(store.load(record.id).await.expect("readable").expect("present").version, 1);
}

#[tokio::test]
async fn calls_do_not_pile_up() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    redis.process().signal(Signal::STOP);

    let calls = (1..=250).cycle().take(5_000).map(|n| store.load(contract::sample(n, *b"AAA").id));
    let results = join_all(calls).await;

    let too_many = results.iter().filter(
        |result| matches!(result, Err(StoreError::Unavailable(why)) if why.contains("too many")),
    );
    assert_eq!(too_many.count(), 5_000 - 4_096);
    assert!(results.iter().all(|result| matches!(result, Err(StoreError::Unavailable(_)))));
    redis.process().signal(Signal::CONT);
    until_well(BOUND, || store.check()).await;
}

#[tokio::test]
async fn a_full_server_takes_no_writes_and_answers_reads() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let mut record = contract::sample(1, *b"AAA");
    store.save(record.clone()).await.expect("stored");
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]).expect("set");

    record.version = 2;
    let full = |error: &StoreError| matches!(error, StoreError::Unavailable(why) if why.contains("maxmemory"));
    let refused = store.save(record.clone()).await.expect_err("full");
    assert!(full(&refused), "{refused:?}");
    let refused = store.check().await.expect_err("full");
    assert!(full(&refused), "{refused:?}");
    let refused = store.renew("n1".to_owned(), BOUND).await.expect_err("full");
    assert!(full(&refused), "{refused:?}");

    assert_eq!(store.load(record.id).await.expect("readable").expect("present").version, 1);
    assert_eq!(store.list(None, 9).await.expect("readable"), [record.id]);
    assert_eq!(store.versions(vec![record.id]).await.expect("readable")[0].record, 1);
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]).expect("set");
    store.save(record.clone()).await.expect("stored");
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]).expect("set");
    store.remove(record.id).await.expect("removing makes room");
}

#[tokio::test]
async fn an_idle_store_sends_nothing() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    for n in 1..=50 {
        store.save(contract::sample(n, *b"AAA")).await.expect("stored");
    }
    let before = store.commands();

    sleep(Duration::from_millis(1_500)).await;

    assert_eq!(store.commands(), before);
    let clients = redis.cli(&["INFO", "clients"]).expect("readable");
    assert!(clients.contains("connected_clients:2"), "one of ours, and who asks: {clients}");
}

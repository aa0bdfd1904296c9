//! Servers that are killed, frozen, emptied or set back.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use belay_adapters::{Nats, NatsOptions};
use belay_core::ports::{
    AppendError, Bus, BusEvent, LogEvent, MessageLog, Tail,
    contract::log::{channel, numbers, record},
};
use belay_servers::NatsCluster;
use belay_wire::Channel;
use parking_lot::Mutex;
use rustix::process::Signal;

use super::{append, append_patiently, connect, down, node, options, raw, start, told, until};

/// How long a cluster may take to go on.
const FAILOVER: Duration = Duration::from_secs(15);

async fn cluster(folder: &Path) -> (NatsCluster, Nats) {
    let cluster = NatsCluster::start(folder, &belay_servers::NatsOptions::default()).expect("nats");
    cluster.until_led().expect("they agree");
    let log = connect(NatsOptions { replicas: 3, ..options(&cluster.url(), "n1") }).await;
    (cluster, log)
}

/// Waits for the news of a doubt, and gives what was told before.
fn until_doubt(events: &std::sync::mpsc::Receiver<LogEvent>) {
    loop {
        let event = events.recv_timeout(Duration::from_secs(20)).expect("a doubt is told");
        if matches!(event, LogEvent::Doubt) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_costs_no_acknowledged_append() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (cluster, log) = cluster(folder.path()).await;
    let ids: Vec<_> = (1..=4).map(down).collect();
    for id in &ids {
        append(&log, *id, 1).await;
    }
    let stream = raw::stream(&cluster.url(), "belay.d.", ids[0].session).await;
    let leader = raw::leader(&cluster.url(), &stream).await;
    let events = told(&log);

    let longest = Arc::new(Mutex::new(Duration::ZERO));
    let writers: Vec<_> = ids
        .iter()
        .map(|id| {
            let (log, id, longest) = (log.clone(), *id, longest.clone());
            tokio::spawn(async move {
                for n in 2..=300 {
                    let since = Instant::now();
                    append_patiently(&log, id, n, FAILOVER).await;
                    let mut longest = longest.lock();
                    *longest = longest.max(since.elapsed());
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(150)).await;
    let victim = cluster.servers.iter().zip(1..).find(|(_, n)| format!("n{n}") == leader);
    victim.expect("it is one of them").0.process().kill();
    for writer in writers {
        writer.await.expect("written");
    }

    until_doubt(&events);
    for id in ids {
        assert_eq!(numbers(&log, id).await, (1..=300).collect::<Vec<_>>());
    }
    eprintln!("longest append: {:?}", longest.lock());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_killed_comes_back_with_all_tails() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut cluster, log) = cluster(folder.path()).await;
    let ids = [down(1), channel(2, Channel::Up), channel(3, Channel::DownTo)];
    let mut before = Vec::new();
    for id in ids {
        for n in 1..=3 {
            append(&log, id, n).await;
        }
        before.push(log.load(id).await.expect("readable"));
    }

    cluster.servers.iter().for_each(|server| server.process().kill());
    until("refused at once", Duration::from_secs(5), || {
        let append = log.append(ids[0], before[0].tail, vec![record(4, 1)]);
        matches!(futures_util::FutureExt::now_or_never(append), Some(Err(AppendError::Refused(_))))
    })
    .await;
    cluster.servers.iter_mut().for_each(|server| server.restart().expect("starts again"));

    for (id, before) in ids.into_iter().zip(before) {
        let tail = append_patiently(&log, id, 4, 2 * FAILOVER).await;
        assert_eq!(tail.incarnation, before.tail.incarnation);
        assert!(tail.offset > before.tail.offset);
        let loaded = log.load(id).await.expect("readable");
        assert_eq!(loaded.entries[..3], before.entries[..]);
        assert_eq!(loaded.entries.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_were_lost_are_made_anew_under_another_name() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut server = start(folder.path());
    let log = node(&server, "n1").await;
    let id = down(1);
    let old = append(&log, id, 1).await;
    let events = told(&log);

    server.process().kill();
    std::fs::remove_dir_all(server.store()).expect("removed");
    server.restart().expect("starts again");
    until_doubt(&events);

    let conflict = log.append(id, old, vec![record(2, 1)]).await.expect_err("another log");
    assert!(matches!(conflict, AppendError::Conflict), "{conflict}");
    let loaded = log.load(id).await.expect("readable");
    assert_eq!((loaded.tail.offset, loaded.entries.len()), (0, 0));
    assert_ne!(loaded.tail.incarnation, old.incarnation);
    log.append(id, loaded.tail, vec![record(2, 1)]).await.expect("stored");
    log.purge(id, 100).await.expect("nothing to purge");
    assert_eq!(numbers(&log, id).await, [2]);
    MessageLog::check(&log).await.expect("all streams are there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_somebody_removed_is_missed_and_made_anew() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let every = Duration::from_millis(300);
    let log = connect(NatsOptions { look_every: every, ..options(&server.url(), "n1") }).await;
    let id = down(1);
    let old = append(&log, id, 1).await;
    let events = told(&log);

    let stream = raw::stream(&server.url(), "belay.d.", id.session).await;
    raw::call(&server.url(), &format!("STREAM.DELETE.{stream}"), "").await;

    until_doubt(&events);
    let conflict = log.append(id, old, vec![record(2, 1)]).await.expect_err("another log");
    assert!(matches!(conflict, AppendError::Conflict), "{conflict}");
    assert!(append(&log, id, 2).await.incarnation != old.incarnation);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_store_is_taken_for_what_it_is() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut server = start(&folder.path().join("nats"));
    let log = node(&server, "n1").await;
    let id = down(1);
    for n in 1..=3 {
        append(&log, id, n).await;
    }
    let older = log.load(id).await.expect("readable");
    server.process().kill();
    let backup = folder.path().join("backup");
    copy(&server.store(), &backup);
    server.restart().expect("starts again");
    for n in 4..=6 {
        append_patiently(&log, id, n, FAILOVER).await;
    }
    let newest = log.load(id).await.expect("readable");
    let events = told(&log);

    server.process().kill();
    std::fs::remove_dir_all(server.store()).expect("removed");
    copy(&backup, &server.store());
    server.restart().expect("starts again");
    until_doubt(&events);

    let conflict = log.append(id, newest.tail, vec![record(7, 1)]).await.expect_err("went back");
    assert!(matches!(conflict, AppendError::Conflict), "{conflict}");
    assert_eq!(log.load(id).await.expect("readable"), older);
    log.purge(id, newest.tail.offset).await.expect("purged");
    assert_eq!(numbers(&log, id).await, [3], "the tail stays, also if others were known");
    for n in [14, 15, 16] {
        append(&log, id, n).await;
    }
    let loaded = log.load(id).await.expect("readable");
    assert_eq!(loaded.tail, newest.tail, "the same offset and incarnation");
    assert_eq!(numbers(&log, id).await, [3, 14, 15, 16]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_is_told_within_the_bound() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let log = node(&server, "n1").await;
    let id = down(1);
    let tail = append(&log, id, 1).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = heard.clone();
    log.listen(Arc::new(move |event| {
        if let BusEvent::Connected { connected } = event {
            hear.lock().push(connected);
        }
    }));
    MessageLog::watch(&log, id.session);
    log.load(id).await.expect("readable");

    server.process().signal(Signal::STOP);
    // It is in force once all threads have seen it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let since = Instant::now();
    let failed = log.append(id, tail, vec![record(2, 1)]).await.expect_err("nobody answers");
    assert!(matches!(failed, AppendError::Unknown(_)), "{failed}");
    assert!(since.elapsed() < Duration::from_millis(5_500), "{:?}", since.elapsed());
    until("the loss is told", Duration::from_secs(5), || *heard.lock() == [false]).await;
    let since = Instant::now();
    let refused = log.append(id, tail, vec![record(2, 1)]).await.expect_err("no connection");
    assert!(matches!(refused, AppendError::Refused(_)), "{refused}");
    assert!(log.load(id).await.is_err() && log.purge(id, 1).await.is_err());
    assert!(log.forget(id).await.is_err() && Bus::check(&log).await.is_err());
    assert!(MessageLog::check(&log).await.is_err());
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());

    let events = told(&log);
    server.process().signal(Signal::CONT);
    until("it is told to be back", FAILOVER, || *heard.lock() == [false, true]).await;
    until_doubt(&events);
    append_patiently(&log, id, 3, FAILOVER).await;
    let stored = events.recv_timeout(Duration::from_secs(5)).expect("the subscription is there");
    assert!(matches!(stored, LogEvent::Stored { .. }), "{stored:?}");
    Bus::check(&log).await.expect("works again");
    MessageLog::check(&log).await.expect("works again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_are_there_after_a_new_connection() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut server = start(folder.path());
    let (one, other) = (node(&server, "n1").await, node(&server, "n2").await);
    let (watched, later) = (down(1), down(2));
    MessageLog::watch(&other, watched.session);
    other.load(watched).await.expect("readable");
    let events = told(&other);

    server.process().kill();
    until("the loss is known", Duration::from_secs(2), || {
        let append = other.append(watched, Tail::default(), vec![record(4, 1)]);
        matches!(futures_util::FutureExt::now_or_never(append), Some(Err(AppendError::Refused(_))))
    })
    .await;
    MessageLog::watch(&other, later.session);
    server.restart().expect("starts again");
    until_doubt(&events);
    append_patiently(&other, later, 1, FAILOVER).await;

    for (n, id) in [(1, watched), (2, later), (3, later)] {
        append_patiently(&one, id, n, FAILOVER).await;
    }
    let mut stored = Vec::new();
    while let Ok(event) = events.recv_timeout(Duration::from_secs(1)) {
        if let LogEvent::Stored { id, entry, .. } = event {
            stored.push((id, entry.records[0].position.seq.value()));
        }
    }
    assert_eq!(stored, [(later, 1), (watched, 1), (later, 2), (later, 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_a_majority_stores_nothing_and_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut cluster, log) = cluster(folder.path()).await;
    let id = down(1);
    let tail = append(&log, id, 1).await;

    cluster.servers[..2].iter().for_each(|server| server.process().kill());
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The first one may be on its way for ever; those after it wait for it, but not for long.
    for _ in 0..3 {
        let since = Instant::now();
        let failed = log.append(id, tail, vec![record(2, 1)]).await.expect_err("no majority");
        assert!(!matches!(failed, AppendError::Conflict), "{failed}");
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    }
    // A leader that is left alone notices when the words of its followers are overdue.
    let deadline = Instant::now() + FAILOVER;
    while MessageLog::check(&log).await.is_ok() {
        assert!(Instant::now() < deadline, "nothing said");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.servers[..2].iter_mut().for_each(|server| server.restart().expect("starts again"));

    append_patiently(&log, id, 2, 2 * FAILOVER).await;
    assert_eq!(numbers(&log, id).await, [1, 2]);
    let deadline = Instant::now() + FAILOVER;
    while let Err(error) = MessageLog::check(&log).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

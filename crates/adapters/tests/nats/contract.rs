//! The contract of logs, alone and in a cluster.

use std::{sync::Arc, time::Duration};

use belay_core::ports::{
    ChannelId, LogEvent, MessageLog,
    contract::log::{channel, message_log, numbers, record, told_log},
};
use belay_servers::NatsCluster;
use belay_wire::Channel;

use super::{append, connect, down, node, options, start, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_keeps_the_contract_of_logs() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let (one, other) = (node(&server, "n1").await, node(&server, "n2").await);

    message_log(Arc::new(one.clone())).await;
    MessageLog::watch(&other, down(8).session);
    other.load(down(8)).await.expect("readable");
    told_log(Arc::new(one.clone()), Arc::new(other)).await;

    assert!(one.messages() > 50);
    assert_eq!(one.damaged(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_contract_of_logs() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let cluster =
        NatsCluster::start(folder.path(), &belay_servers::NatsOptions::default()).expect("nats");
    cluster.until_led().expect("they agree");
    let with = |name| belay_adapters::NatsOptions { replicas: 3, ..options(&cluster.url(), name) };
    // Both make the streams at once.
    let (one, other) = tokio::join!(connect(with("n1")), connect(with("n2")));

    message_log(Arc::new(one.clone())).await;
    MessageLog::watch(&other, down(8).session);
    other.load(down(8)).await.expect("readable");
    tokio::time::sleep(Duration::from_millis(500)).await;
    told_log(Arc::new(one.clone()), Arc::new(other)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_channels_are_read_whole_and_lose_their_oldest_entries() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let log = node(&server, "n1").await;
    let (id, other) = (down(1), down(2));
    let mut tails = [log.load(id).await, log.load(other).await].map(|l| l.expect("readable").tail);
    for n in 1..=1_100 {
        for (id, tail) in [id, other].into_iter().zip(&mut tails) {
            *tail = log.append(id, *tail, vec![record(n, 10)]).await.expect("stored");
        }
    }

    assert_eq!(numbers(&log, id).await, (77..=1_100).collect::<Vec<_>>());
    assert_eq!(log.load(id).await.expect("readable").tail, tails[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_up_channel_refuses_until_something_was_applied() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let log = node(&server, "n1").await;
    let id = channel(1, Channel::Up);
    let mut tail = log.load(id).await.expect("readable").tail;
    let first = log.append(id, tail, vec![record(1, 10)]).await.expect("stored");
    tail = first;
    for n in 2..=264 {
        tail = log.append(id, tail, vec![record(n, 10)]).await.expect("stored");
    }

    let refused = log.append(id, tail, vec![record(265, 10)]).await.expect_err("full");
    assert_eq!(refused.label(), "refused", "{refused}");
    append(&log, channel(2, Channel::Up), 1).await;
    log.purge(id, first.offset + 10).await.expect("purged");
    log.append(id, tail, vec![record(265, 10)]).await.expect("there is room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_is_counted_and_ends() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let (one, other) = (node(&server, "n1").await, node(&server, "n2").await);
    let events = told(&other);
    let id = down(1);
    let watched = |n: u64| {
        let stored = events.recv_timeout(Duration::from_secs(2)).expect("told");
        assert!(
            matches!(&stored, LogEvent::Stored { id: of, entry, .. }
            if *of == id && entry.records[0] == record(n, 10)),
            "{stored:?}"
        );
    };
    MessageLog::watch(&other, id.session);
    MessageLog::watch(&other, id.session);
    other.load(id).await.expect("readable");
    append(&one, id, 1).await;
    watched(1);
    MessageLog::unwatch(&other, id.session);
    append(&one, id, 2).await;
    watched(2);
    MessageLog::unwatch(&other, id.session);
    append(&one, id, 3).await;
    append(&one, ChannelId { channel: Channel::Down, ..down(2) }, 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(events.try_recv().is_err(), "nobody watches");
    MessageLog::watch(&other, id.session);
    other.load(id).await.expect("readable");
    append(&one, id, 4).await;
    watched(4);
}

/// What is told of an entry names the one before it in its channel, whatever lies between them.
async fn chains_are_told(one: &belay_adapters::Nats, other: &belay_adapters::Nats) {
    let session = down(40).session;
    let member = belay_wire::MemberId::from_bytes([1; 16]);
    let ids = [Channel::Down, Channel::DownTo(member), Channel::Up(member)]
        .map(|channel| ChannelId { session, channel });
    MessageLog::watch(other, session);
    let mut tails = Vec::new();
    for id in ids {
        tails.push(other.load(id).await.expect("readable").tail);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let events = told(other);
    for n in 1..=5 {
        for (id, tail) in ids.into_iter().zip(&mut tails) {
            let before = std::mem::replace(tail, append(one, id, n).await);
            let event = events.recv_timeout(Duration::from_secs(5)).expect("told");
            let LogEvent::Stored { id: of, previous, tail: at, .. } = event else {
                panic!("{event:?}")
            };
            assert_eq!((of, previous, at), (id, before.offset, *tail));
            one.purge(id, tail.offset).await.expect("purged");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_an_entry_names_the_one_before() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(&folder.path().join("alone"));
    chains_are_told(&node(&server, "n1").await, &node(&server, "n2").await).await;
    drop(server);
    let cluster =
        NatsCluster::start(folder.path(), &belay_servers::NatsOptions::default()).expect("nats");
    cluster.until_led().expect("they agree");
    let with = |name| belay_adapters::NatsOptions { replicas: 3, ..options(&cluster.url(), name) };
    chains_are_told(&connect(with("n1")).await, &connect(with("n2")).await).await;
}

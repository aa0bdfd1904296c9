//! What is found at start, what is told of it, and what idle sessions cost.

use std::{path::Path, time::Duration};

use belay_adapters::{Nats, NatsError, NatsOptions, StreamLimits};
use belay_core::ports::{
    AppendError, LogEvent, MessageLog,
    contract::log::{numbers, record},
};
use belay_servers::Nats as Server;
use serde_json::json;

use super::{append, connect, down, node, options, raw, start, told, until};

const PATIENCE: Duration = Duration::from_secs(5);

fn start_with(folder: &Path, settings: &[&str], max_payload: Option<usize>) -> Server {
    let settings = settings.iter().map(|line| (*line).to_owned()).collect();
    let options = belay_servers::NatsOptions { settings, max_payload };
    Server::start(folder, &options).expect("nats")
}

async fn refused(options: NatsOptions) -> NatsError {
    Nats::connect(options).await.expect_err("refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_cannot_be_used_is_told_plainly() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let small = start_with(&folder.path().join("small"), &[], Some(1 << 20));
    let error = refused(options(&small.url(), "n1")).await;
    assert_eq!(error, NatsError::Payload { found: 1 << 20 });
    assert!(error.to_string().contains("max_payload to 2097152"), "{error}");

    let login = "authorization { user: ana, password: sesame }";
    let closed = start_with(&folder.path().join("closed"), &[login], None);
    for login in ["", "ana:wrong@", "sesame@"] {
        let url = format!("nats://{login}127.0.0.1:{}", closed.port);
        let with = options(&url, "n1");
        assert!(!format!("{with:?}").contains("wrong"), "{with:?}");
        let error = refused(with).await;
        assert!(matches!(error, NatsError::Unauthorized { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("wrong"), "{error}");
    }
    let url = format!("nats://ana:sesame@127.0.0.1:{}", closed.port);
    let ours = connect(options(&url, "n1")).await;
    assert!(!format!("{ours:?}").contains("sesame"), "{ours:?}");
    drop(ours);

    let alone = start(&folder.path().join("alone"));
    let error = refused(NatsOptions { replicas: 3, ..options(&alone.url(), "n1") }).await;
    assert!(matches!(error, NatsError::Replicas { wanted: 3, .. }), "{error}");
    connect(options(&alone.url(), "n1")).await;
    let error = refused(NatsOptions { shards: 3, ..options(&alone.url(), "n1") }).await;
    assert!(matches!(error, NatsError::Shards { wanted: 3, .. }), "{error}");

    let body = json!({ "name": "THEIRS", "subjects": ["other.d.>"] }).to_string();
    raw::call(&alone.url(), "STREAM.CREATE.THEIRS", &body).await;
    let prefix = "other".to_owned();
    let error = refused(NatsOptions { prefix, ..options(&alone.url(), "n1") }).await;
    assert!(matches!(&error, NatsError::Taken { stream, .. } if stream == "THEIRS"), "{error}");

    let url = "nats://user:secret@127.0.0.1:1";
    let error = refused(options(url, "n1")).await;
    assert!(matches!(&error, NatsError::Unreachable { servers, .. } if servers == "127.0.0.1:1"));
    let missing = folder.path().join("none.creds");
    let with = NatsOptions { credentials: Some(missing), ..options(&alone.url(), "n1") };
    assert!(matches!(refused(with).await, NatsError::Credentials { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_jetstream_is_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start_with(folder.path(), &["jetstream: disabled"], None);
    let error = refused(options(&server.url(), "n1")).await;
    assert!(matches!(error, NatsError::NoJetStream(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_with_other_settings_are_told_and_left_and_still_read() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let first = node(&server, "n1").await;
    let id = down(1);
    for n in 1..=60 {
        append(&first, id, n.into()).await;
        append(&first, down(n + 1), 1).await;
    }
    let stream = raw::stream(&server.url(), "belay.d.", id.session).await;
    let info = raw::call(&server.url(), &format!("STREAM.INFO.{stream}"), "").await;
    let mut config = info["config"].clone();
    config["allow_direct"] = json!(false);
    config["max_msgs_per_subject"] = json!(500);
    raw::call(&server.url(), &format!("STREAM.UPDATE.{stream}"), &config.to_string()).await;

    let (second, notes) = Nats::connect(options(&server.url(), "n2")).await.expect("connects");

    assert_eq!(notes.len(), 1, "{notes:?}");
    for part in [&stream, "allow_direct is", "max_msgs_per_subject is 500, not 1024"] {
        assert!(notes[0].contains(part), "{notes:?}");
    }
    // No replica answers: the leader is asked for each entry.
    assert_eq!(numbers(&second, id).await, (1..=60).collect::<Vec<_>>());
    assert_eq!(second.load(id).await.expect("readable"), first.load(id).await.expect("readable"));
    let after = raw::call(&server.url(), &format!("STREAM.INFO.{stream}"), "").await;
    assert_eq!(after["config"]["max_msgs_per_subject"], 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_refuses_and_says_so() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let limits = StreamLimits { stream_bytes: Some(100_000), ..StreamLimits::default() };
    let log = connect(NatsOptions { limits, ..options(&server.url(), "n1") }).await;
    let id = down(1);
    let mut tail = log.load(id).await.expect("readable").tail;
    let first = log.append(id, tail, vec![record(1, 40_000)]).await.expect("stored");
    tail = log.append(id, first, vec![record(2, 40_000)]).await.expect("stored");

    let refused = log.append(id, tail, vec![record(3, 40_000)]).await.expect_err("full");
    assert!(matches!(&refused, AppendError::Refused(text) if text.contains("bytes")), "{refused}");
    assert_eq!(numbers(&log, id).await, [1, 2]);
    log.purge(id, tail.offset).await.expect("purged");
    log.append(id, tail, vec![record(3, 40_000)]).await.expect("there is room");
    let big = log.append(id, tail, vec![record(4, 9 << 20)]).await.expect_err("too large");
    assert!(matches!(big, AppendError::Refused(_)), "{big}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_another_version_are_skipped_and_counted_once() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let log = node(&server, "n1").await;
    let id = down(1);
    append(&log, id, 1).await;
    MessageLog::watch(&log, id.session);
    log.load(id).await.expect("readable");
    let events = told(&log);
    let stream = raw::stream(&server.url(), "belay.d.", id.session).await;
    let shard = stream.split('_').nth(2).expect("a shard").to_owned();
    let subject = format!("belay.d.{shard}.{}.d", id.session);
    let client = raw::client(&server.url()).await;
    for payload in [&b"\x09new"[..], b"\x01damaged"] {
        client.request(subject.clone(), payload.to_vec().into()).await.expect("stored");
    }

    let loaded = log.load(id).await.expect("readable");
    assert_eq!((numbers(&log, id).await, log.damaged()), (vec![1], 2));
    assert_eq!(log.unreadable(), [("version", 1), ("damaged", 1)]);
    assert!(loaded.tail.offset > loaded.entries[0].offset);
    let event = events.recv_timeout(PATIENCE).expect("told");
    assert!(matches!(event, LogEvent::Tail { id: of, .. } if of == id), "{event:?}");
    log.append(id, loaded.tail, vec![record(2, 1)]).await.expect("the tail is known");
    assert_eq!(numbers(&log, id).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_in_which_a_newer_version_wrote_is_not_read_and_not_written() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let log = node(&server, "n1").await;
    let id = down(1);
    append(&log, id, 1).await;
    let before = log.load(id).await.expect("readable").tail;
    let stream = raw::stream(&server.url(), "belay.d.", id.session).await;
    let shard = stream.split('_').nth(2).expect("a shard").to_owned();
    let subject = format!("belay.d.{shard}.{}.d", id.session);
    let client = raw::client(&server.url()).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Expected-Last-Subject-Sequence", before.offset.to_string());
    let newer = client.request_with_headers(subject, headers, b"\x09new".to_vec().into()).await;
    newer.expect("stored");

    let refused = log.load(id).await.expect_err("it cannot be read");
    assert!(refused.0.contains("update this relay"), "{refused:?}");
    let appended = log.append(id, before, vec![record(2, 1)]).await;
    assert!(matches!(appended, Err(AppendError::Conflict)), "{appended:?}");
    assert_eq!(log.unreadable(), [("version", 1), ("damaged", 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_was_not_told_is_found_and_idle_sessions_cost_nothing() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let every = Duration::from_millis(500);
    let one = node(&server, "n1").await;
    let two = connect(NatsOptions { look_every: every, ..options(&server.url(), "n2") }).await;
    let ids: Vec<_> = (1..=100).map(down).collect();
    for id in &ids {
        append(&one, *id, 1).await;
        MessageLog::watch(&two, id.session);
        two.load(*id).await.expect("readable");
    }
    let events = told(&two);
    // Young subscriptions are looked after once.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = two.messages();
    tokio::time::sleep(4 * every).await;
    let looks = two.messages() - before;
    assert!((4..=24).contains(&looks), "{looks} messages in about four looks at four streams");
    assert!(events.try_recv().is_err());

    let stream = raw::stream(&server.url(), "belay.d.", ids[0].session).await;
    let info = raw::call(&server.url(), &format!("STREAM.INFO.{stream}"), "").await;
    let mut config = info["config"].clone();
    config.as_object_mut().expect("an object").remove("republish");
    // Of replicas, and of the leader where they may not be asked.
    for (n, direct) in [(2, true), (3, false)] {
        config["allow_direct"] = json!(direct);
        raw::call(&server.url(), &format!("STREAM.UPDATE.{stream}"), &config.to_string()).await;
        let tail = append(&one, ids[0], n).await;
        let event = events.recv_timeout(2 * PATIENCE).expect("told");
        let same = matches!(event, LogEvent::Tail { id, tail: at } if id == ids[0] && at == tail);
        assert!(same, "{event:?}");
        assert_eq!(two.load(ids[0]).await.expect("readable").tail, tail);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_that_are_dropped_end_their_connection() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let monitor = belay_servers::free_port().expect("a port");
    let server = start_with(folder.path(), &[&format!("http: \"127.0.0.1:{monitor}\"")], None);
    let connections = || {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", monitor)).expect("connects");
        socket.write_all(b"GET /varz HTTP/1.0\r\n\r\n").expect("asked");
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("answered");
        let rest = text.split("\"connections\":").nth(1).expect("told");
        rest.trim().split(',').next().expect("told").parse::<usize>().expect("a number")
    };
    let log = node(&server, "n1").await;
    MessageLog::watch(&log, down(1).session);
    append(&log, down(1), 1).await;
    assert_eq!(connections(), 1);
    drop(log);
    until("it ends", PATIENCE, || connections() == 0).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_session_takes_little_memory() {
    const SESSIONS: u32 = 5_000;
    let anonymous = || -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("readable");
        let line = status.lines().find(|l| l.starts_with("RssAnon:")).expect("told");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let log = node(&server, "n1").await;
    let session = |n: u32| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        belay_wire::SessionId::from_bytes(bytes)
    };
    let id = |n| belay_core::ports::ChannelId { session: session(n), ..down(1) };
    log.load(id(0)).await.expect("readable");
    let before = anonymous();

    (0..SESSIONS).for_each(|n| MessageLog::watch(&log, session(n)));
    for n in 0..SESSIONS {
        log.load(id(n)).await.expect("readable");
    }
    let idle = anonymous().saturating_sub(before) * 1024 / SESSIONS as usize;
    // A channel of the client keeps a block of 32 places, which are touched one by one.
    let client = raw::client(&server.url()).await;
    for n in 0..SESSIONS {
        for _ in 0..33 {
            let subject = format!("belay.s.{}.bus", session(n));
            client.publish(subject, bytes::Bytes::new()).await.expect("sent");
        }
    }
    let all = 33 * u64::from(SESSIONS);
    until("all came", 6 * PATIENCE, || log.refused() == [("version", all)]).await;
    let busy = anonymous().saturating_sub(before) * 1024 / SESSIONS as usize;

    eprintln!("bytes for each watched session: {idle} idle, {busy} after traffic");
    assert!(idle < 12_000 && busy < 20_000, "{idle} {busy}");
}

//! What nodes tell each other, and what is not taken from anybody.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use belay_adapters::{Nats, NatsOptions};
use belay_core::{
    delivery::{Body, Volatile},
    ports::{Bus, BusEvent, BusFrame, LogEvent, MessageLog, Tail},
};
use belay_wire::{Channel, Epoch, MemberId, Position, Seq, SessionId};
use bytes::Bytes;
use futures_util::StreamExt;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;

use super::{SECRET, append, connect, down, node, options, raw, start, told, until};

const PATIENCE: Duration = Duration::from_secs(5);

type Heard = Arc<Mutex<Vec<(SessionId, BusFrame)>>>;

fn hear(node: &Nats) -> Heard {
    let heard = Heard::default();
    let hear = heard.clone();
    node.listen(Arc::new(move |event| {
        if let BusEvent::Told { session, frame } = event {
            hear.lock().push((session, frame));
        }
    }));
    heard
}

/// Watches a session, and waits until that is in force.
async fn watch(node: &Nats, session: SessionId) {
    Bus::watch(node, session);
    node.load(down(session.as_bytes()[0])).await.expect("readable");
}

fn count(node: &Nats, reason: &str) -> u64 {
    node.refused().iter().find(|(of, _)| *of == reason).map_or(0, |(_, n)| *n)
}

fn frames() -> Vec<BusFrame> {
    let up = Channel::Up(MemberId::from_bytes([3; 16]));
    let volatile = |body| Volatile {
        key: "terminal".to_owned(),
        epoch: Epoch(7),
        after: Seq::ZERO,
        vseq: 9,
        body,
    };
    let text = Body::Text(Bytes::from_static(b"{\"k\":\"vol\"}"));
    let payload = Bytes::from(vec![0xff; 300_000]);
    let binary = Body::Binary { header: "{\"after\":0,\"key\":\"x\"}".to_owned(), payload };
    let ping = belay_wire::decode(r#"{"k":"ping","t":1}"#);
    let mut all = vec![
        BusFrame::Changed,
        BusFrame::Ended { reason: "over".to_owned() },
        BusFrame::Tail { channel: up, tail: Tail { incarnation: u64::MAX, offset: 5 } },
        BusFrame::Applied {
            positions: [(up, Position::new(Epoch(1), Seq::MAX))].into_iter().collect(),
        },
        BusFrame::Volatile { channel: Channel::Down, message: volatile(text) },
        BusFrame::Volatile {
            channel: Channel::DownTo(MemberId::from_bytes([1; 16])),
            message: volatile(binary),
        },
    ];
    all.extend(ping.ok().map(|frame| BusFrame::ToHost { frame: Box::new(frame) }));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_reach_the_others_that_watch_in_order_and_whole() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let (one, two, three) =
        (node(&server, "n1").await, node(&server, "n2").await, node(&server, "n3").await);
    let session = down(1).session;
    watch(&one, session).await;
    watch(&two, session).await;
    let heard = [hear(&one), hear(&two), hear(&three)];

    let said = frames();
    for frame in &said {
        one.tell(session, frame.clone());
    }
    one.tell(down(2).session, BusFrame::Changed);

    until("all of them", PATIENCE, || heard[1].lock().len() == said.len()).await;
    let expected: Vec<_> = said.into_iter().map(|frame| (session, frame)).collect();
    assert_eq!(format!("{:?}", heard[1].lock()), format!("{expected:?}"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(heard[0].lock().is_empty() && heard[2].lock().is_empty());
    for node in [&one, &two, &three] {
        Bus::check(node).await.expect("it hears itself");
        assert_eq!(node.refused(), []);
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("small")
}

/// A frame as a node makes it, by its description.
fn forged(subject: &str, secret: &str, version: u8, head: &str) -> Vec<u8> {
    let mut bytes = vec![version];
    bytes.extend(u32::try_from(head.len()).expect("small").to_be_bytes());
    bytes.extend(head.as_bytes());
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(b"belay/nats/bus/1");
    mac.update(&(subject.len() as u64).to_be_bytes());
    mac.update(subject.as_bytes());
    mac.update(&bytes);
    bytes.extend(mac.finalize().into_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_said_now_is_refused_and_counted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let window = Duration::from_secs(2);
    let with = NatsOptions { replay_window: window, ..options(&server.url(), "n2") };
    let (one, two) = (node(&server, "n1").await, connect(with).await);
    let (session, other) = (down(1).session, down(2).session);
    watch(&two, session).await;
    watch(&two, other).await;
    let heard = hear(&two);
    let client = raw::client(&server.url()).await;
    let subject = format!("belay.s.{session}.bus");
    let mut overheard = client.subscribe(subject.clone()).await.expect("subscribed");
    // An answer comes after the subscription was taken.
    client.request("$JS.API.INFO", Bytes::new()).await.expect("an answer");

    one.tell(session, BusFrame::Changed);
    let genuine = overheard.next().await.expect("told").payload;
    until("told", PATIENCE, || heard.lock().len() == 1).await;
    let publish = async |subject: &str, bytes: Vec<u8>| {
        client.publish(subject.to_owned(), bytes.into()).await.expect("sent");
    };
    publish(&subject, genuine.to_vec()).await;
    until("replayed", PATIENCE, || count(&two, "replayed") == 1).await;
    publish(&format!("belay.s.{other}.bus"), genuine.to_vec()).await;
    until("moved", PATIENCE, || count(&two, "signature") == 1).await;
    let mut changed = genuine.to_vec();
    changed[10] ^= 1;
    publish(&subject, changed).await;
    let head = |at: u64, count: u64, kind: &str| {
        format!(r#"{{"n":"n9","t":{at},"c":{count},"f":{{"k":"{kind}"}}}}"#)
    };
    publish(&subject, forged(&subject, "another secret", 1, &head(now(), 1, "changed"))).await;
    until("forged", PATIENCE, || count(&two, "signature") == 3).await;
    publish(&subject, forged(&subject, SECRET, 2, &head(now(), 1, "changed"))).await;
    until("version", PATIENCE, || count(&two, "version") == 1).await;
    publish(&subject, forged(&subject, SECRET, 1, &head(now(), 1, "dance"))).await;
    until("kind", PATIENCE, || count(&two, "kind") == 1).await;
    publish(&subject, forged(&subject, SECRET, 1, &head(now() + 31_000, 2, "changed"))).await;
    until("future", PATIENCE, || count(&two, "future") == 1).await;
    publish(&subject, forged(&subject, SECRET, 1, "{\"n\":1}")).await;
    publish(&subject, b"\x01".to_vec()).await;
    until("malformed", PATIENCE, || count(&two, "malformed") == 2).await;
    publish(&format!("belay.s.{session}.dance"), Vec::new()).await;
    until("kind", PATIENCE, || count(&two, "kind") == 2).await;
    assert_eq!(heard.lock().len(), 1, "nothing of this was taken");
    publish(&subject, forged(&subject, SECRET, 1, &head(now(), 3, "changed"))).await;
    until("as a node would", PATIENCE, || heard.lock().len() == 2).await;
    tokio::time::sleep(window).await;
    publish(&subject, genuine.to_vec()).await;
    until("old", PATIENCE, || count(&two, "old") == 1).await;
    assert_eq!((heard.lock().len(), one.refused().len()), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_no_stream_stored_are_not_told() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let node = node(&server, "n1").await;
    let id = down(1);
    watch(&node, id.session).await;
    let events = told(&node);
    let client = raw::client(&server.url()).await;
    let subject = format!("belay.s.{}.log.d.d", id.session);
    client.publish(subject.clone(), "x".into()).await.expect("sent");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Stream", "BELAY_D_0_0000000000000001x");
    headers.insert("Nats-Subject", "belay.d.0.x.d");
    client.publish_with_headers(subject, headers, "x".into()).await.expect("sent");

    until("refused", PATIENCE, || count(&node, "malformed") == 2).await;
    append(&node, id, 1).await;
    let stored = events.recv_timeout(PATIENCE).expect("told");
    assert!(matches!(stored, LogEvent::Stored { .. }), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_cannot_be_sent_are_counted() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let node = node(&server, "n1").await;
    let session = down(1).session;
    server.process().kill();
    until("the loss is known", PATIENCE, || {
        node.tell(session, BusFrame::Changed);
        count(&node, "unsent") > 0
    })
    .await;
    let since = Instant::now();
    assert!(Bus::check(&node).await.is_err());
    assert!(since.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_too_slow_leads_to_a_doubt() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let node = node(&server, "n1").await;
    let session = down(1).session;
    watch(&node, session).await;
    let events = told(&node);
    let (go_on, waits) = std::sync::mpsc::sync_channel::<()>(0);
    let waits = Mutex::new(waits);
    node.listen(Arc::new(move |_| {
        let _ = waits.lock().recv();
    }));
    let client = raw::client(&server.url()).await;
    let subject = format!("belay.s.{session}.bus");
    let head = format!(r#"{{"n":"n9","t":{},"c":1,"f":{{"k":"changed"}}}}"#, now());
    client.publish(subject.clone(), forged(&subject, SECRET, 1, &head).into()).await.expect("sent");
    for _ in 0..10_000 {
        client.publish(subject.clone(), Bytes::new()).await.expect("sent");
    }
    client.flush().await.expect("sent");
    // It blocks a thread of the runtime: another one must see that frames are dropped.
    let doubt = tokio::task::spawn_blocking(move || events.recv_timeout(PATIENCE)).await;
    drop(go_on);
    assert!(matches!(doubt.expect("no panic"), Ok(LogEvent::Doubt)));
}

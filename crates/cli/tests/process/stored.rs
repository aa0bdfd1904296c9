//! What the relay acknowledged is on disk: clients that are gone, kill -9 and a full disk take none of it.

use std::time::{Duration, Instant};

use belay_client::Event;
use belay_testkit::{Desk, Member};
use belay_wire::{Channel, Frame, RawJson};

use crate::relay::{Relay, lift, start, start_at, start_on_full_disk};

fn payload(n: u64) -> RawJson {
    RawJson::of(&n).expect("JSON")
}

fn number(event: &Event) -> Option<u64> {
    let Event::Message(message) = event else { return None };
    message.payload.text().parse().ok()
}

fn notice(event: &Event, code: &str) -> bool {
    matches!(event, Event::Frame(f) if matches!(&**f, Frame::Notice(n) if n.code == code))
}

/// Waits until the relay has stored all that a client sent on a channel.
async fn until_stored(client: &belay_client::Client, channel: Channel) {
    let deadline = Instant::now() + belay_testkit::SOON;
    while client.stored(channel) != client.head(channel) {
        assert!(Instant::now() < deadline, "{:?} of {channel}", client.stored(channel));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The numbers that arrive until this one.
async fn numbers(events: &mut tokio::sync::mpsc::Receiver<Event>, last: u64) -> Vec<u64> {
    let mut got = Vec::new();
    while got.last() != Some(&last) {
        let event = belay_testkit::until(events, |e| {
            assert!(!matches!(e, Event::Frame(f) if matches!(**f, Frame::Gap(_))), "{e:?}");
            number(e).is_some()
        });
        got.extend(number(&event.await));
    }
    got
}

async fn pair(relay: &Relay) -> (Desk, Member) {
    let there = belay_testkit::Relay::at(&relay.url);
    let mut desk = Desk::start(&there).await;
    let phone = desk.pair(&there).await;
    (desk, phone)
}

#[tokio::test]
async fn commands_and_answers_outlive_who_sent_them_and_kill_9() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let relay = start(folder.path());
    let (desk, phone) = pair(&relay).await;
    let (up, down) = (Channel::Up(phone.id), Channel::DownTo(phone.id));
    let Desk { client, identity, credentials, .. } = desk;
    drop(client);
    for n in 1..=20 {
        phone.client.send(up, payload(n), None).expect("room");
    }
    until_stored(&phone.client, up).await;
    let Member { client, identity: phone_identity, credentials: phone_credentials, .. } = phone;
    drop(client);
    let url = relay.url.clone();
    drop(relay);

    let relay = start_at(folder.path(), &url);
    let (client, mut events) = belay_testkit::start_client(&identity, credentials);
    assert_eq!(numbers(&mut events, 20).await, (1..=20).collect::<Vec<_>>());
    for n in 1..=20 {
        client.send(down, payload(n), None).expect("room");
    }
    until_stored(&client, down).await;
    drop((client, events));
    drop(relay);

    let _relay = start_at(folder.path(), &url);
    let (_client, mut events) = belay_testkit::start_client(&phone_identity, phone_credentials);
    assert_eq!(numbers(&mut events, 20).await, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_that_was_connected_goes_on_over_kill_9_without_a_gap() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut relay = start(folder.path());
    let (desk, mut phone) = pair(&relay).await;
    let url = relay.url.clone();
    desk.client.send(Channel::Down, payload(1), None).expect("room");
    assert_eq!(numbers(&mut phone.events, 1).await, [1]);
    let mut sent = 1;
    for _ in 0..3 {
        for _ in 0..50 {
            sent += 1;
            desk.client.send(Channel::Down, payload(sent), None).expect("room");
        }
        drop(relay);
        relay = start_at(folder.path(), &url);
    }

    assert_eq!(numbers(&mut phone.events, sent).await, (2..=sent).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_holds_writers_is_told_within_a_second_and_is_left_by_itself() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let relay = start_on_full_disk(folder.path(), 1024);
    let (mut desk, mut phone) = pair(&relay).await;
    let text = RawJson::of(&"x".repeat(20_000)).expect("JSON");
    let mut sent = 0;
    let told = loop {
        match desk.client.send(Channel::Down, text.clone(), None) {
            Ok(_) => sent += 1,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
        let full = Instant::now();
        if let Ok(event) = tokio::time::timeout(Duration::from_millis(1), phone.events.recv()).await
        {
            let event = event.expect("the client runs");
            if notice(&event, "degraded") {
                break full;
            }
        }
        assert!(sent < 1_000, "the disk never filled");
    };
    assert!(told.elapsed() < Duration::from_secs(1));
    desk.until(|e| notice(e, "degraded")).await;
    let stored = desk.client.stored(Channel::Down).expect("a writer").seq;
    assert!(stored.value() < sent, "what does not fit is not acknowledged");

    lift(&relay);

    phone.until(|e| notice(e, "recovered")).await;
    desk.until(|e| notice(e, "recovered")).await;
    until_stored(&desk.client, Channel::Down).await;
    let last = desk.client.head(Channel::Down).expect("a writer");
    // More than fits into a flow window: who does not acknowledge is not sent the rest.
    let client = phone.client.clone();
    let is_last = move |e: &Event| {
        let Event::Message(message) = e else { return false };
        client.applied(Channel::Down, message.position);
        message.position == last
    };
    phone.until(is_last).await;
}

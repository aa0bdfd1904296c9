//! Pair, talk, resume, revoke.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of many")]

use belay_client::Event;
use belay_wire::{Channel, CloseCode, DeviceRevoke, RawJson};

use belay_testkit::{Desk, Relay, config};

fn text(event: &Event) -> Option<&str> {
    match event {
        Event::Message(message) => Some(message.payload.text()),
        _ => None,
    }
}

fn payload(n: u64) -> RawJson {
    RawJson::of(&n).expect("a number is JSON")
}

#[tokio::test]
async fn a_phone_pairs_and_messages_go_both_ways() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;

    desk.client.send(Channel::Down, payload(1), None).expect("room");
    phone.client.send(Channel::Up(phone.id), payload(2), None).expect("room");

    phone.until(|e| text(e) == Some("1")).await;
    let got = desk.until(|e| text(e) == Some("2")).await;
    let Event::Message(message) = got else { unreachable!() };
    assert_eq!(message.from.expect("stamped").member, Some(phone.id));
    relay.until_number("activeWebSockets", 2).await;
}

#[tokio::test]
async fn a_reconnecting_phone_misses_and_doubles_nothing() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    desk.client.send(Channel::Down, payload(0), None).expect("room");
    phone.until(|e| text(e) == Some("0")).await;
    let mut seen = vec![0];

    for n in 1..150 {
        desk.client.send(Channel::Down, payload(n), None).expect("room");
        if n % 10 == 0 {
            phone.client.reconnect();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    while seen.len() < 150 {
        let event = phone.until(|e| matches!(e, Event::Message(_))).await;
        let Event::Message(message) = event else { unreachable!() };
        phone.client.applied(message.channel, message.position);
        seen.push(message.payload.text().parse::<u64>().expect("a number"));
    }

    assert_eq!(seen, (0..150).collect::<Vec<_>>());
}

#[tokio::test]
async fn commands_wait_for_a_desktop_that_is_away() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let phone = desk.pair(&relay).await;
    let (identity, credentials) = (desk.identity.clone(), desk.credentials.clone());
    drop(desk);
    relay.until_number("sessionsWithDesktop", 0).await;

    for n in 0..10 {
        phone.client.send(Channel::Up(phone.id), payload(n), None).expect("room");
    }
    let (_client, mut events) = belay_testkit::start_client(&identity, credentials);

    for n in 0..10 {
        let event = belay_testkit::until(&mut events, |e| matches!(e, Event::Message(_))).await;
        assert_eq!(text(&event), Some(n.to_string().as_str()));
    }
}

#[tokio::test]
async fn a_revoked_phone_is_closed_at_once_and_stays_out() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    let started = std::time::Instant::now();

    desk.client.control(DeviceRevoke { member: phone.id }).expect("connected");

    assert_eq!(phone.until_stopped().await, CloseCode::Revoked);
    assert!(started.elapsed().as_millis() < 1_000, "{:?}", started.elapsed());
    let (_client, mut events) = belay_testkit::start_client(&phone.identity, phone.credentials);
    let again = belay_testkit::until(&mut events, |e| matches!(e, Event::Stopped { .. })).await;
    assert!(matches!(again, Event::Stopped { code: 4403, .. }), "{again:?}");
    relay.until_number("activeWebSockets", 1).await;
}

#[tokio::test]
async fn a_relay_that_stops_tells_every_client_and_they_come_back() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let disk = |port| belay_testkit::disk_config(folder.path(), port);
    let relay = Relay::start(disk(0)).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    let port = relay.port();

    relay.stop().await;

    let told =
        |e: &Event| matches!(e, Event::Disconnected { reason, .. } if reason == "unavailable");
    phone.until(told).await;
    desk.until(told).await;
    let relay = Relay::start(disk(port)).await;
    phone.until(|e| matches!(e, Event::Connected(_))).await;
    desk.until(|e| matches!(e, Event::Connected(_))).await;
    relay.until_number("activeWebSockets", 2).await;
}

#[tokio::test]
async fn a_restarted_relay_is_healed_by_what_the_desktop_still_holds() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let disk = |port| belay_testkit::disk_config(folder.path(), port);
    let relay = Relay::start(disk(0)).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    desk.client.send(Channel::Down, payload(1), None).expect("room");
    phone.until(|e| text(e) == Some("1")).await;
    let port = relay.port();
    relay.stop().await;

    desk.client.send(Channel::Down, payload(2), None).expect("room");
    phone.client.send(Channel::Up(phone.id), payload(3), None).expect("room");
    let _relay = Relay::start(disk(port)).await;

    phone.until(|e| text(e) == Some("2")).await;
    desk.until(|e| text(e) == Some("3")).await;
}

#[tokio::test]
async fn what_nobody_uses_is_swept_and_what_is_in_use_stays() {
    use std::time::Duration;
    let short = belay_relay::Config {
        session_retention: Duration::from_millis(400),
        device_idle: Duration::from_secs(2),
        sweep_every: Duration::from_millis(100),
        ..config()
    };
    let relay = Relay::start(short).await;
    let abandoned = Desk::start(&relay).await;
    let mut used = Desk::start(&relay).await;
    let mut phone = used.pair(&relay).await;
    let (identity, credentials) = (abandoned.identity.clone(), abandoned.credentials.clone());
    drop(abandoned);

    let unknown = async {
        loop {
            let (client, mut events) = belay_testkit::start_client(&identity, credentials.clone());
            let ended = |e: &Event| matches!(e, Event::Stopped { .. } | Event::Connected(_));
            if let Event::Stopped { code, .. } = belay_testkit::until(&mut events, ended).await {
                return code;
            }
            drop((client, events));
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
    };
    let code = tokio::time::timeout(belay_testkit::SOON, unknown).await.expect("swept in time");

    assert_eq!(code, CloseCode::UnknownDevice.code());
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    used.client.send(Channel::Down, payload(1), None).expect("room");
    phone.until(|e| text(e) == Some("1")).await;
}

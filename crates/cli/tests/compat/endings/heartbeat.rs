//! Section 3.3: pings of the relay, and who does not answer them.

use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::Message;

use super::{desktop_heard_nothing, phone_heard_nothing};
use crate::{auth::COME_BACK, parties::raw::Raw, scenario::Scenario, world::World};

const EACH_SECOND: &[(&str, &str)] =
    &[("WS_HEARTBEAT_INTERVAL_MS", "1000"), ("WS_HEARTBEAT_TIMEOUT_MS", "1000")];

const LONGER: &[(&str, &str)] =
    &[("WS_HEARTBEAT_INTERVAL_MS", "1000"), ("WS_HEARTBEAT_TIMEOUT_MS", "3000")];

pub(super) fn all() -> Vec<Scenario> {
    let mut all = pings();
    all.extend(timeouts());
    all
}

fn pings() -> Vec<Scenario> {
    vec![
        Scenario::new("3.3 a phone is pinged each interval", |w| async move {
            let w = w.with(EACH_SECOND);
            let (_desk, phone) = w.paired().await;
            is_pinged(&w, &phone.token).await;
        }),
        Scenario::new("3.3 a desktop is pinged each interval", |w| async move {
            let w = w.with(EACH_SECOND);
            let desktop = w.started().await;
            is_pinged(&w, &desktop.token).await;
        }),
        Scenario::new("3.3 no shorter interval than a second", |w| async move {
            let w = w.with(&[("WS_HEARTBEAT_INTERVAL_MS", "100")]);
            let desktop = w.started().await;
            let started = Instant::now();
            let mut raw = Raw::authenticated(&w.relay, &desktop.token).await;
            assert!(matches!(raw.frame().await, Some(Message::Ping(_))));
            assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
        }),
        Scenario::new("3.3 a ping of a client is answered", |w| async move {
            let desktop = w.started().await;
            let mut raw = Raw::authenticated(&w.relay, &desktop.token).await;
            raw.send_message(Message::Ping(b"are you there".to_vec().into())).await;
            let answer = raw.frame().await;
            assert_eq!(answer, Some(Message::Pong(b"are you there".to_vec().into())));
        }),
        Scenario::new("3.3 who answers pings and says nothing stays", |w| async move {
            let w = w.with(LONGER);
            let (mut desk, mut phone, _) = w.connected().await;
            // Longer than the timeout; what is read is answered.
            let time = Duration::from_millis(4_200);
            tokio::join!(phone.stays_silent(time), desk.wire.stays_silent(time));
            phone_heard_nothing(&mut phone).await;
            desktop_heard_nothing(&mut desk.wire).await;
        }),
    ]
}

/// Two pings, neither before its time.
async fn is_pinged(w: &World, token: &str) {
    let started = Instant::now();
    let mut raw = Raw::authenticated(&w.relay, token).await;
    for least in [1, 2] {
        while !matches!(raw.frame().await.expect("it stays"), Message::Ping(_)) {}
        assert!(started.elapsed() >= Duration::from_secs(least), "{:?}", started.elapsed());
    }
}

fn timeouts() -> Vec<Scenario> {
    vec![
        Scenario::new("3.3 heartbeat_timeout of a phone that does not answer", |w| async move {
            let w = w.with(EACH_SECOND);
            let (mut desk, phone) = w.paired().await;
            let raw = Raw::authenticated(&w.relay, &phone.token).await;
            desk.wire.until("relay.device_count").await;
            let waiting = tokio::spawn(async move { desk.wire.message().await });
            is_given_up(raw).await;
            assert_eq!(waiting.await.expect("ran")["connectedDeviceCount"], 0);
        }),
        Scenario::new("3.3 heartbeat_timeout of a desktop that does not answer", |w| async move {
            let w = w.with(EACH_SECOND);
            let (desk, mut phone, _) = w.connected().await;
            let raw = Raw::authenticated(&w.relay, &desk.desktop.token).await;
            assert_eq!(phone.message().await["desktopConnected"], true);
            let waiting = tokio::spawn(async move { phone.message().await });
            is_given_up(raw).await;
            assert_eq!(waiting.await.expect("ran")["desktopConnected"], false);
        }),
        Scenario::new("3.3 a longer timeout counts", |w| async move {
            let w = w.with(LONGER);
            given_up_after(&w, 3_000).await;
        }),
        Scenario::new("3.3 a timeout is at least two intervals", |w| async move {
            let w = w.with(EACH_SECOND);
            given_up_after(&w, 2_000).await;
        }),
    ]
}

async fn given_up_after(w: &World, millis: u64) {
    let desktop = w.started().await;
    let started = Instant::now();
    let raw = Raw::authenticated(&w.relay, &desktop.token).await;
    is_given_up(raw).await;
    assert!(started.elapsed() >= Duration::from_millis(millis), "{:?}", started.elapsed());
}

/// From now on nothing is sent: it ends for that.
async fn is_given_up(mut raw: Raw) {
    raw.mute();
    let (last, code, text) = raw.ended().await;
    assert_eq!(last, r#"{"type":"disconnect","reason":"heartbeat_timeout"}"#);
    assert_eq!((code, text.as_str()), (COME_BACK, "heartbeat_timeout"));
}

//! Sections 3.3 and 3.4 of the protocol: each way in which a connection ends.

pub(crate) mod frames;
mod heartbeat;
mod sweep;

use std::time::{Duration, Instant};

use belay_testkit::{SOON, compat::Wire};
use serde_json::json;

use crate::{
    auth::{COME_BACK, desktop_heard_nothing, ends, ends_now, phone_heard_nothing, second_phone},
    parties::raw::Raw,
    relay::PAGE,
    scenario::Scenario,
    world::World,
};

pub(crate) fn all() -> Vec<Scenario> {
    let [calls, loads] = [of_calls(), of_load()];
    [calls, loads, frames::all(), heartbeat::all(), sweep::all()].into_iter().flatten().collect()
}

/// Ends that a call or the other socket brings about.
fn of_calls() -> Vec<Scenario> {
    vec![
        Scenario::new("3.4 device_reconnected", |w| async move {
            let (_desk, mut older, phone) = w.connected().await;
            let mut newer = w.page().open().await;
            newer.auth(&phone.token).await;
            ends_now(&mut older, "device_reconnected", COME_BACK).await;
        }),
        Scenario::new("3.4 desktop_reconnected", |w| async move {
            let mut desk = w.open().await;
            // It stays: another node hears of one that goes at once only by chance.
            let mut newer = w.native().open().await;
            newer.auth(&desk.desktop.token).await;
            ends_now(&mut desk.wire, "desktop_reconnected", COME_BACK).await;
        }),
        Scenario::new("3.4 device_revoked", |w| async move {
            let (mut desk, mut phone, paired) = w.connected().await;
            let (mut other, _) = second_phone(&mut desk).await;
            let mut body = desk.desktop.own();
            body["deviceID"] = json!(paired.device);
            assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
            ends_now(&mut phone, "device_revoked", 1008).await;
            phone_heard_nothing(&mut other).await;
        }),
        Scenario::new("3.4 stopped_by_desktop", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            let (mut other, _) = second_phone(&mut desk).await;
            let own = desk.desktop.own();
            assert_eq!(desk.net.post("/pair/stop", &own).await.status, 200);
            ends(&mut desk.wire, "stopped_by_desktop", 1008).await;
            ends(&mut phone, "stopped_by_desktop", 1008).await;
            ends(&mut other, "stopped_by_desktop", 1008).await;
        }),
        Scenario::new("3.4 a new start of the session ends nobody", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            let start = desk.desktop.start();
            assert_eq!(desk.net.post("/pair/start", &start).await.status, 200);
            desktop_heard_nothing(&mut desk.wire).await;
            phone_heard_nothing(&mut phone).await;
        }),
        Scenario::new("3.4 a new start with another token ends nobody", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            let mut start = desk.desktop.start();
            start["desktopSessionToken"] = json!("another-desktop-0123456789abcdef");
            assert_eq!(desk.net.post("/pair/start", &start).await.status, 409);
            desktop_heard_nothing(&mut desk.wire).await;
            phone_heard_nothing(&mut phone).await;
        }),
        Scenario::new("3.4 session_expired", |w| async move {
            let mut wire = crate::auth::present(&w.page(), "unknown-token-0123456789").await;
            ends_now(&mut wire, "session_expired", 1008).await;
        }),
        Scenario::new("3.4 after the close frame the connection is gone", |w| async move {
            let mut desk = w.open().await;
            // It stays: another node hears of one that goes at once only by chance.
            let mut newer = w.native().open().await;
            newer.auth(&desk.desktop.token).await;
            ends_now(&mut desk.wire, "desktop_reconnected", COME_BACK).await;
            assert_eq!(desk.wire.hear().await, belay_testkit::compat::Heard::Broken);
        }),
    ]
}

/// Ends that have to do with the relay's own state.
fn of_load() -> Vec<Scenario> {
    vec![
        Scenario::new("3.4 relay_over_capacity", |w| async move {
            let w = w.with(&[("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "1")]);
            let (mut desk, phone) = w.paired().await;
            let mut wire = crate::auth::present(&w.page(), &phone.token).await;
            ends_now(&mut wire, "relay_over_capacity", 1013).await;
            desktop_heard_nothing(&mut desk.wire).await;
        }),
        Scenario::new("3.4 server_shutdown", |w| async move {
            let w = w.with(&[]);
            let (mut desk, mut phone, _) = w.connected().await;
            let mut stranger = w.page().open().await;
            w.relay.terminate();
            ends(&mut desk.wire, "server_shutdown", 1012).await;
            ends(&mut phone, "server_shutdown", 1012).await;
            ends(&mut stranger, "server_shutdown", 1012).await;
        }),
        Scenario::new("3.4 server_shutdown ends neither session nor pairing", |w| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let w = crate::auth::on_folder(w.session, &folder, &[]);
            let (desk, mut phone, paired) = w.connected().await;
            w.relay.terminate();
            ends(&mut phone, "server_shutdown", 1012).await;
            gone(&w).await;
            let w = crate::auth::replace_relay(w, &folder, &[]);
            w.native().open().await.auth(&desk.desktop.token).await;
            w.page().open().await.auth(&paired.token).await;
        }),
        Scenario::new("3.4 slow_consumer", |w| async move {
            let w = w.with(&[("MAX_SOCKET_OUTBOUND_QUEUE", "8")]);
            let (mut desk, phone) = w.paired().await;
            let mut raw = Raw::authenticated(&w.relay, &phone.token).await;
            floods(&w, &mut desk.wire).await;
            let (last, code, text) = raw.ended().await;
            assert_eq!(last, r#"{"type":"disconnect","reason":"slow_consumer"}"#);
            assert_eq!((code, text.as_str()), (4508, "slow_consumer"));
        }),
        Scenario::new("3.4 slow_consumer ends the slow one only", |w| async move {
            let w = w.with(&[("MAX_SOCKET_OUTBOUND_QUEUE", "8")]);
            let (mut desk, phone) = w.paired().await;
            desk.refresh().await;
            let second = desk.pair().await;
            let _raw = Raw::authenticated(&w.relay, &phone.token).await;
            let mut other = w.page().open().await;
            other.auth(&second.token).await;
            let reading = tokio::spawn(async move {
                while other.envelope().await["payload"]["last"] != true {}
                phone_heard_nothing(&mut other).await;
            });
            floods(&w, &mut desk.wire).await;
            desk.wire.send(&json!({ "payload": { "last": true } })).await;
            reading.await.expect("the other one reads all");
        }),
        Scenario::new("3.4 socket_rate_limited", |w| async move {
            let w = w.with(&[("MAX_WS_MESSAGES_PER_MINUTE", "20")]);
            let (mut desk, mut phone, _) = w.connected().await;
            for _ in 0..21 {
                phone.send(&json!([])).await;
            }
            for _ in 0..20 {
                assert_eq!(phone.message().await["error"], "invalid_payload");
            }
            ends_now(&mut phone, "socket_rate_limited", 1013).await;
            assert_eq!(desk.wire.message().await["connectedDeviceCount"], 0);
        }),
    ]
}

/// Says more than a socket takes whose phone does not read, until the relay gives it up.
async fn floods(w: &World, desktop: &mut Wire) {
    let envelope = json!({ "payload": { "type": "event", "text": "x".repeat(60_000) } });
    let (net, deadline) = (w.native(), Instant::now() + 3 * SOON);
    while net.get("/metricsz").await.body["slowConsumerDisconnects"] == 0 {
        desktop.send(&envelope).await;
        assert!(Instant::now() < deadline, "it is given up in time");
    }
}

/// Waits until a relay that was asked to end has ended.
async fn gone(w: &World) {
    let deadline = Instant::now() + SOON;
    while belay_testkit::compat::Net::page(&w.relay.url, PAGE).try_open("/ws").await.is_ok() {
        assert!(Instant::now() < deadline, "it ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

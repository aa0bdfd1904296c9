//! Limits of websockets.

use std::time::{Duration, Instant};

use belay_testkit::{SOON, compat::Wire};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    auth::{
        desktop_heard_nothing, ends, ends_now, neighbour, phone_heard_nothing, present,
        second_phone,
    },
    parties::raw::Raw,
    scenario::Scenario,
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = of_rates();
    all.extend(of_sizes());
    all.extend(of_queues());
    all.extend(of_places());
    all
}

const FIVE: &[(&str, &str)] = &[("MAX_WS_MESSAGES_PER_MINUTE", "5")];

/// Texts of any kind count.
async fn says_five(wire: &mut Wire, is_desktop: bool) {
    for _ in 0..5 {
        if is_desktop {
            desktop_heard_nothing(wire).await;
        } else {
            phone_heard_nothing(wire).await;
        }
    }
}

fn of_rates() -> Vec<Scenario> {
    vec![
        Scenario::new("4.8 MAX_WS_MESSAGES_PER_MINUTE: a phone", |w| async move {
            let w = w.with(FIVE);
            let (mut desk, mut phone, _) = w.connected().await;
            says_five(&mut phone, false).await;
            phone.send(&json!([])).await;
            ends_now(&mut phone, "socket_rate_limited", 1013).await;
            assert_eq!(desk.wire.message().await["connectedDeviceCount"], 0);
        }),
        Scenario::new("4.8 MAX_WS_MESSAGES_PER_MINUTE: a desktop", |w| async move {
            let w = w.with(FIVE);
            let desktop = w.started().await;
            let mut wire = w.native().open().await;
            wire.auth(&desktop.token).await;
            says_five(&mut wire, true).await;
            wire.send(&json!({})).await;
            ends_now(&mut wire, "socket_rate_limited", 1013).await;
        }),
        Scenario::new(
            "4.8 MAX_WS_MESSAGES_PER_MINUTE: what is over is not passed on",
            |w| async move {
                let w = w.with(FIVE);
                let (desk, mut phone, _) = w.connected().await;
                let mut wire = w.native().open().await;
                wire.auth(&desk.desktop.token).await;
                phone.until("relay.desktop_status").await;
                for n in 1..=6 {
                    wire.send(&json!({ "payload": n })).await;
                }
                let mut heard = Vec::new();
                for _ in 0..6 {
                    heard.push(phone.message().await);
                }
                // That the desktop went is told at once, also before what it said last.
                heard.retain(|m| m["desktopConnected"] != false);
                let said: Vec<_> = (1..=5).map(|n| json!({ "payload": n })).collect();
                assert_eq!(heard, said);
                phone_heard_nothing(&mut phone).await;
                ends_now(&mut wire, "socket_rate_limited", 1013).await;
            },
        ),
        Scenario::new("4.8 MAX_WS_MESSAGES_PER_MINUTE: a new socket starts anew", |w| async move {
            let w = w.with(FIVE);
            let (_desk, mut phone, paired) = w.connected().await;
            says_five(&mut phone, false).await;
            let mut again = w.page().open().await;
            again.auth(&paired.token).await;
            says_five(&mut again, false).await;
            again.send(&json!([])).await;
            ends_now(&mut again, "socket_rate_limited", 1013).await;
        }),
        Scenario::new("4.8 MAX_WS_MESSAGES_PER_MINUTE: pings are no messages", |w| async move {
            let w = w.with(FIVE);
            let (_desk, mut phone, _) = w.connected().await;
            for _ in 0..20 {
                phone.send_message(Message::Ping(Vec::new().into())).await;
            }
            says_five(&mut phone, false).await;
        }),
    ]
}

const KILO: &[(&str, &str)] = &[("MAX_WS_MESSAGE_BYTES", "1000")];

fn text_of(bytes: usize) -> Message {
    Message::text(format!("\"{}\"", "x".repeat(bytes - 2)))
}

fn of_sizes() -> Vec<Scenario> {
    vec![
        Scenario::new("4.8 MAX_WS_MESSAGE_BYTES: a desktop", |w| async move {
            let w = w.with(KILO);
            let (mut desk, mut phone, _) = w.connected().await;
            desk.wire.send_message(text_of(1_000)).await;
            assert_eq!(phone.message().await, json!("x".repeat(998)));
            desk.wire.send_message(text_of(1_001)).await;
            ends_now(&mut desk.wire, "message_too_large", 1009).await;
        }),
        Scenario::new("4.8 MAX_WS_MESSAGE_BYTES: a phone", |w| async move {
            let w = w.with(KILO);
            let (_desk, mut phone, _) = w.connected().await;
            phone.send_message(text_of(1_000)).await;
            assert_eq!(phone.message().await["error"], "invalid_payload");
            phone.send_message(text_of(1_001)).await;
            ends_now(&mut phone, "message_too_large", 1009).await;
        }),
        Scenario::new("4.8 MAX_WS_MESSAGE_BYTES: a first frame", |w| async move {
            let w = w.with(KILO);
            let mut wire = w.page().open().await;
            wire.send_message(text_of(1_001)).await;
            ends_now(&mut wire, "message_too_large", 1009).await;
        }),
        Scenario::new("4.8 MAX_WS_MESSAGE_BYTES: its default is 65536", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            desk.wire.send_message(text_of(65_536)).await;
            assert_eq!(phone.message().await, json!("x".repeat(65_534)));
            desk.wire.send_message(text_of(65_537)).await;
            ends_now(&mut desk.wire, "message_too_large", 1009).await;
        }),
        Scenario::new("4.8 MAX_WS_MESSAGE_BYTES: a frame far over it", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            desk.wire.send_message(text_of(1_000_000)).await;
            ends_now(&mut desk.wire, "message_too_large", 1009).await;
            assert_eq!(phone.message().await["desktopConnected"], false);
        }),
    ]
}

fn of_queues() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "4.8 MAX_SOCKET_OUTBOUND_QUEUE: who does not read is ended",
            |w| async move {
                let w = w.with(&[("MAX_SOCKET_OUTBOUND_QUEUE", "8")]);
                let (mut desk, phone) = w.paired().await;
                let mut raw = Raw::authenticated(&w.relay, &phone.token).await;
                desk.wire.until("relay.device_count").await;
                let message = json!({ "payload": "x".repeat(60_000) });
                let (net, deadline) = (w.native(), Instant::now() + 3 * SOON);
                while net.get("/metricsz").await.body["slowConsumerDisconnects"] == 0 {
                    desk.wire.send(&message).await;
                    assert!(Instant::now() < deadline, "it is ended in time");
                }
                assert_eq!(raw.ended().await.1, 4508);
                // The phone is not lost to its desktop.
                assert_eq!(desk.wire.message().await["connectedDeviceCount"], 0);
                w.page().open().await.auth(&phone.token).await;
            },
        ),
        Scenario::new("4.8 MAX_SOCKET_OUTBOUND_QUEUE: who reads gets all", |w| async move {
            let w = w.with(&[("MAX_SOCKET_OUTBOUND_QUEUE", "8")]);
            let (mut desk, mut phone, _) = w.connected().await;
            for n in 0..100 {
                let message = json!({ "payload": n });
                desk.wire.send(&message).await;
                assert_eq!(phone.message().await, message);
            }
        }),
    ]
}

const TWO: &[(&str, &str)] = &[("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "2")];

fn of_places() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "4.8 MAX_ACTIVE_WEBSOCKET_CONNECTIONS: one more is refused",
            |w| async move {
                let w = w.with(TWO);
                let (mut desk, mut phone, _) = w.connected().await;
                desk.refresh().await;
                let second = desk.pair().await;
                let mut wire = present(&w.page(), &second.token).await;
                ends_now(&mut wire, "relay_over_capacity", 1013).await;
                desktop_heard_nothing(&mut desk.wire).await;
                phone_heard_nothing(&mut phone).await;
            },
        ),
        Scenario::new("4.8 MAX_ACTIVE_WEBSOCKET_CONNECTIONS: a desktop, too", |w| async move {
            let w = w.with(TWO);
            let (_desk, _phone, _) = w.connected().await;
            let desktop = neighbour(&w).started().await;
            let mut wire = present(&w.native(), &desktop.token).await;
            ends_now(&mut wire, "relay_over_capacity", 1013).await;
        }),
        Scenario::new(
            "4.8 MAX_ACTIVE_WEBSOCKET_CONNECTIONS: who is not in does not count",
            |w| async move {
                let w = w.with(TWO);
                let mut strangers = Vec::new();
                for _ in 0..5 {
                    strangers.push(w.page().open().await);
                }
                w.connected().await;
                drop(strangers);
            },
        ),
        Scenario::new(
            "4.8 MAX_ACTIVE_WEBSOCKET_CONNECTIONS: who goes makes room",
            |w| async move {
                let w = w.with(&[("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "3")]);
                let (mut desk, mut phone, _) = w.connected().await;
                let (second, paired) = second_phone(&mut desk).await;
                second.close().await;
                assert_eq!(desk.wire.message().await["connectedDeviceCount"], 1);
                let deadline = Instant::now() + SOON;
                while w.relay.number("activeWebSockets").await > 2 {
                    assert!(Instant::now() < deadline, "it is counted no more");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                let mut again = w.page().open().await;
                again.auth(&paired.token).await;
                phone_heard_nothing(&mut phone).await;
            },
        ),
        Scenario::new(
            "4.8 MAX_ACTIVE_WEBSOCKET_CONNECTIONS: its token stays good",
            |w| async move {
                let w = w.with(&[
                    ("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "1"),
                    ("TOKEN_ROTATION_GRACE_MS", "0"),
                ]);
                let (mut desk, phone) = w.paired().await;
                let mut wire = present(&w.page(), &phone.token).await;
                ends(&mut wire, "relay_over_capacity", 1013).await;
                desktop_heard_nothing(&mut desk.wire).await;
                desk.wire.close().await;
                let deadline = Instant::now() + SOON;
                while w.relay.number("activeWebSockets").await > 0 {
                    assert!(Instant::now() < deadline, "it is counted no more");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                w.page().open().await.auth(&phone.token).await;
            },
        ),
    ]
}

//! Frames that nobody may send, and goodbyes of clients.

use belay_testkit::compat::Heard;
use serde_json::json;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::{desktop_heard_nothing, ends_now, phone_heard_nothing};
use crate::scenario::Scenario;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = of_desktops();
    all.extend(of_phones());
    all.extend(goodbyes());
    all
}

/// Text whose bytes are not UTF-8.
pub(crate) fn not_utf8() -> Message {
    Message::Frame(Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true))
}

/// A frame with a bit that only an extension may set.
pub(crate) fn reserved() -> Message {
    let mut frame = Frame::message(b"{}".to_vec(), OpCode::Data(Data::Text), true);
    frame.header_mut().rsv1 = true;
    Message::Frame(frame)
}

/// Text of this many bytes that is JSON.
fn json_of(bytes: usize) -> Message {
    Message::text(format!("\"{}\"", "x".repeat(bytes - 2)))
}

const LARGEST: usize = 65_536;

fn of_desktops() -> Vec<Scenario> {
    let rows = [
        ("a binary frame", Message::binary(vec![1]), "binary_not_supported", 1003),
        ("text that is not JSON", Message::text("{\"a\":"), "invalid_json", 1003),
        ("no text at all", Message::text(""), "invalid_json", 1003),
        ("two JSON values", Message::text("{} {}"), "invalid_json", 1003),
        ("a member twice", Message::text(r#"{"a":1,"a":2}"#), "invalid_json", 1003),
        ("text that is not UTF-8", not_utf8(), "invalid_utf8", 1007),
        ("a frame with a reserved bit", reserved(), "protocol_error", 1002),
        ("a frame over the limit", json_of(LARGEST + 1), "message_too_large", 1009),
    ];
    let ended = rows.into_iter().map(|(name, frame, reason, code)| {
        Scenario::new(format!("3.4 {reason}: a desktop sends {name}"), move |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            desk.wire.send_message(frame).await;
            ends_now(&mut desk.wire, reason, code).await;
            let told = phone.message().await;
            assert_eq!(told["type"], "relay.desktop_status", "nothing of it is passed on: {told}");
            assert_eq!(told["desktopConnected"], false);
        })
    });
    ended
        .chain([Scenario::new("3.4 invalid_json: a second relay.auth with its type twice", |w| {
            async move {
                // A reader that takes the last of two members would read a relay.auth here.
                let (mut desk, mut phone, _) = w.connected().await;
                let token = &desk.desktop.token;
                let text = format!(r#"{{"type":"hello","type":"relay.auth","token":"{token}"}}"#);
                desk.wire.send_message(Message::text(text)).await;
                ends_now(&mut desk.wire, "invalid_json", 1003).await;
                assert_eq!(phone.message().await["type"], "relay.desktop_status");
            }
        })])
        .collect()
}

fn of_phones() -> Vec<Scenario> {
    let rows = [
        ("a binary frame", Message::binary(vec![1]), "binary_not_supported", 1003),
        ("text that is not UTF-8", not_utf8(), "invalid_utf8", 1007),
        ("a frame with a reserved bit", reserved(), "protocol_error", 1002),
        ("a frame over the limit", json_of(LARGEST + 1), "message_too_large", 1009),
    ];
    let ended = rows.into_iter().map(|(name, frame, reason, code)| {
        Scenario::new(format!("3.4 {reason}: a phone sends {name}"), move |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            phone.send_message(frame).await;
            ends_now(&mut phone, reason, code).await;
            let told = desk.wire.message().await;
            assert_eq!(told["type"], "relay.device_count", "nothing of it is passed on: {told}");
            assert_eq!(told["connectedDeviceCount"], 0);
        })
    });
    ended
        .chain([
            Scenario::new("3.4 message_too_large: a phone sends it in parts", |w| async move {
                let (_desk, mut phone, _) = w.connected().await;
                let half = || vec![b'x'; LARGEST / 2 + 1];
                let part = |kind, is_last| {
                    Message::Frame(Frame::message(half(), OpCode::Data(kind), is_last))
                };
                phone.send_message(part(Data::Text, false)).await;
                phone.send_message(part(Data::Continue, true)).await;
                ends_now(&mut phone, "message_too_large", 1009).await;
            }),
            Scenario::new("3.4 text of a phone that is not JSON ends nothing", |w| async move {
                let (mut desk, mut phone, _) = w.connected().await;
                phone.send_message(Message::text("{\"a\":")).await;
                assert_eq!(phone.message().await["error"], "invalid_payload");
                phone_heard_nothing(&mut phone).await;
                desktop_heard_nothing(&mut desk.wire).await;
            }),
        ])
        .collect()
}

fn goodbyes() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "3.4 a close frame of a phone is answered, and told at once",
            |w| async move {
                let (mut desk, mut phone, _) = w.connected().await;
                phone.send_message(Message::Close(None)).await;
                assert_eq!(desk.wire.message().await["connectedDeviceCount"], 0);
                assert!(matches!(phone.hear().await, Heard::Broken | Heard::Closed { .. }));
            },
        ),
        Scenario::new("3.4 a close frame of a desktop is told at once", |w| async move {
            let (desk, mut phone, _) = w.connected().await;
            desk.wire.close().await;
            assert_eq!(phone.message().await["desktopConnected"], false);
        }),
        Scenario::new("3.4 a phone that breaks off is told at once", |w| async move {
            let (mut desk, phone, _) = w.connected().await;
            drop(phone);
            assert_eq!(desk.wire.message().await["connectedDeviceCount"], 0);
        }),
        Scenario::new("3.4 a desktop that breaks off is told at once", |w| async move {
            let (desk, mut phone, _) = w.connected().await;
            drop(desk.wire);
            let expected = json!({
                "type": "relay.desktop_status", "sessionID": w.session, "desktopConnected": false,
            });
            assert_eq!(phone.message().await, expected);
        }),
    ]
}

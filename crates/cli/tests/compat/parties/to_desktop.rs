//! Section 4.2: device counts, and what is forwarded from phones.

use belay_testkit::compat::{Phone, Wire};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::raw::Raw;
use crate::{
    auth::{desktop_heard_nothing, has_only, second_phone},
    scenario::Scenario,
    world::{Desk, World},
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = counts();
    all.extend(snapshot_requests());
    all.extend(commands());
    all.extend(stamps());
    all
}

fn count_of(w: &World, count: u64) -> Value {
    json!({ "type": "relay.device_count", "sessionID": w.session, "connectedDeviceCount": count })
}

fn counts() -> Vec<Scenario> {
    vec![
        Scenario::new("4.2 device_count when a phone comes and goes", |w| async move {
            let (mut desk, phone) = w.paired().await;
            let mut wire = w.page().open().await;
            wire.auth(&phone.token).await;
            assert_eq!(desk.wire.message().await, count_of(&w, 1));
            wire.close().await;
            assert_eq!(desk.wire.message().await, count_of(&w, 0));
        }),
        Scenario::new("4.2 device_count with two phones", |w| async move {
            let (mut desk, first, _) = w.connected().await;
            desk.refresh().await;
            let paired = desk.pair().await;
            let mut second = w.page().open().await;
            second.auth(&paired.token).await;
            assert_eq!(desk.wire.message().await, count_of(&w, 2));
            drop(first);
            assert_eq!(desk.wire.message().await, count_of(&w, 1));
            second.close().await;
            assert_eq!(desk.wire.message().await, count_of(&w, 0));
        }),
        Scenario::new("4.2 device_count when a connected phone is revoked", |w| async move {
            let (mut desk, _phone, paired) = w.connected().await;
            revoke(&desk, &paired.device).await;
            assert_eq!(desk.wire.until("relay.device_count").await, count_of(&w, 0));
        }),
        Scenario::new("4.2 device_count when a phone is revoked that is away", |w| async move {
            let (mut desk, phone) = w.paired().await;
            revoke(&desk, &phone.device).await;
            assert_eq!(desk.wire.message().await, count_of(&w, 0));
        }),
        Scenario::new("4.2 no device_count when a phone is let in", |w| async move {
            let (mut desk, _) = w.paired().await;
            desktop_heard_nothing(&mut desk.wire).await;
        }),
    ]
}

async fn revoke(desk: &Desk, device: &str) {
    let mut body = desk.desktop.own();
    body["deviceID"] = json!(device);
    assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
}

/// A desktop that sees raw text, and a phone.
async fn raw_desktop(w: &World) -> (Desk, Raw, Wire, String) {
    let (mut desk, mut phone) = w.paired().await;
    let raw = Raw::authenticated(&w.relay, &desk.desktop.token).await;
    desk.wire.until("disconnect").await;
    let mut wire = w.page().open().await;
    phone.token = wire.auth(&phone.token).await["nextDeviceSessionToken"].to_string();
    (desk, raw, wire, phone.device)
}

/// The two injected members are the last ones; what stands before them.
fn without_stamps(text: &str, device: &str) -> String {
    let value: Value = serde_json::from_str(text).expect("JSON");
    let connection = value["relayConnectionID"].as_str().expect("a connection");
    let stamps = format!(r#","relayConnectionID":"{connection}","relayDeviceID":"{device}"}}"#);
    let rest = text.strip_suffix(&stamps);
    rest.unwrap_or_else(|| panic!("{stamps} ends {text}")).to_owned() + "}"
}

async fn until_forwarded(raw: &mut Raw) -> String {
    loop {
        let text = raw.text().await;
        if text.contains("relayConnectionID") {
            return text;
        }
    }
}

fn snapshot_requests() -> Vec<Scenario> {
    let rows = [
        ("alone", r#"{"type":"relay.snapshot_request","sessionID":"S"}"#),
        (
            "in another order",
            r#"{"lastSeq":12,"reason":"gap","sessionID":"S","type":"relay.snapshot_request"}"#,
        ),
        (
            "with nulls",
            r#"{"type":"relay.snapshot_request","sessionID":"S","reason":null,"lastSeq":null}"#,
        ),
        (
            "with lastSeq as text and blanks",
            r#"{ "type" : "relay.snapshot_request", "lastSeq":"0012", "sessionID": "S" }"#,
        ),
    ];
    let of_row = rows.into_iter().map(|(name, text)| {
        Scenario::new(
            format!("4.2 snapshot_request {name}: stamped and in order"),
            move |w| async move {
                let (_desk, mut raw, mut phone, device) = raw_desktop(&w).await;
                let text = text.replace("\"S\"", &format!("\"{}\"", w.session));
                phone.send_message(Message::text(text.clone())).await;
                let forwarded = without_stamps(&until_forwarded(&mut raw).await, &device);
                assert_eq!(compact(&forwarded), compact(&text));
            },
        )
    });
    of_row
        .chain([Scenario::new(
            "4.2 snapshot_request: the members that a desktop reads",
            |w| async move {
                let (mut desk, mut phone, paired) = w.connected().await;
                let request = json!({
                    "type": "relay.snapshot_request", "sessionID": w.session,
                    "reason": "gap_detected", "lastSeq": 3,
                });
                phone.send(&request).await;
                let told = desk.wire.message().await;
                let all = [
                    "type",
                    "sessionID",
                    "reason",
                    "lastSeq",
                    "relayConnectionID",
                    "relayDeviceID",
                ];
                has_only(&told, &all);
                assert_eq!(
                    (&told["reason"], &told["lastSeq"]),
                    (&json!("gap_detected"), &json!(3))
                );
                assert_eq!(told["relayDeviceID"], json!(paired.device));
            },
        )])
        .collect()
}

/// Blanks outside of strings have no meaning; these texts have none inside.
fn compact(text: &str) -> String {
    text.split_whitespace().collect()
}

fn commands() -> Vec<Scenario> {
    let rows = [
        (
            "in an unusual order",
            concat!(
                r#"{"timestamp":"2026-02-25T10:00:00.000Z","payload":{"payload":"#,
                r#"{"threadID":"t-1","commandID":"c:1","name":"thread.select"},"#,
                r#""type":"command"},"seq":1,"#,
                r#""sessionID":"S","schemaVersion":2}"#,
            ),
        ),
        (
            "with the nulls of the web client",
            concat!(
                r#"{"schemaVersion":2,"sessionID":"S","seq":1,"timestamp":null,"payload":{"#,
                r#""type":"command","payload":{"name":"thread.send_message","commandID":"c-1","#,
                r#""threadID":"t-1","projectID":null,"text":"\u0041\/é","#,
                r#""runtimeRequestID":null,"runtimeRequestKind":null,"#,
                r#""runtimeRequestResponse":null}}}"#,
            ),
        ),
        (
            "of schemaVersion 1",
            concat!(
                r#"{"schemaVersion":1,"sessionID":"S","seq":1,"payload":{"type":"command","#,
                r#""payload":{"name":"project.select","commandID":"c-1","projectID":"p-1"}}}"#,
            ),
        ),
    ];
    let of_row = rows.into_iter().map(|(name, text)| {
        Scenario::new(format!("4.2 a command {name}: stamped and in order"), move |w| async move {
            let (_desk, mut raw, mut phone, device) = raw_desktop(&w).await;
            let text = text.replace("\"S\"", &format!("\"{}\"", w.session));
            phone.send_message(Message::text(text.clone())).await;
            assert_eq!(without_stamps(&raw.envelope().await, &device), text);
        })
    });
    of_row
        .chain([Scenario::new("4.2 a command with forged stamps", |w| async move {
            let (_desk, mut raw, mut phone, device) = raw_desktop(&w).await;
            let inner = concat!(
                r#""payload":{"type":"command","payload":"#,
                r#"{"name":"thread.select","commandID":"c","threadID":"t"}}"#,
            );
            let head = format!(r#""schemaVersion":2,"sessionID":"{}","seq":1"#, w.session);
            let stamps = r#""relayDeviceID":"forged-device","relayConnectionID":"forged""#;
            let text = format!("{{{head},{stamps},{inner}}}");
            phone.send_message(Message::text(text)).await;
            let told = raw.envelope().await;
            assert!(!told.contains("forged"), "{told}");
            assert_eq!(without_stamps(&told, &device), format!("{{{head},{inner}}}"));
        })])
        .collect()
}

fn stamps() -> Vec<Scenario> {
    vec![
        Scenario::new("4.2 relayConnectionID is one per socket of a phone", |w| async move {
            let (mut desk, mut phone, mut paired) = w.connected().await;
            let first = stamp(&mut desk, &mut phone).await;
            assert_eq!(stamp(&mut desk, &mut phone).await, first, "the same socket");
            let mut again = desk.connect(&mut paired).await;
            let second = stamp(&mut desk, &mut again).await;
            assert_ne!(second.0, first.0, "another socket");
            assert_eq!(second.1, first.1, "the same device");
        }),
        Scenario::new("4.2 two phones have two relayConnectionIDs", |w| async move {
            let (mut desk, mut first, paired) = w.connected().await;
            let (mut second, other) = second_phone(&mut desk).await;
            let (a, b) = (stamp(&mut desk, &mut first).await, stamp(&mut desk, &mut second).await);
            assert_ne!(a.0, b.0);
            assert_eq!((a.1, b.1), (json!(paired.device), json!(other.device)));
        }),
        Scenario::new("4.2 what one phone sends the other does not hear", |w| async move {
            let (mut desk, mut first, paired) = w.connected().await;
            let (mut second, _) = second_phone(&mut desk).await;
            let mut hand = Phone::new(&paired.joined);
            first.send(&hand.command("thread.select", &json!({ "threadID": "t-1" }))).await;
            desk.wire.envelope().await;
            crate::auth::phone_heard_nothing(&mut second).await;
        }),
    ]
}

/// The two stamps of a snapshot request of this phone.
async fn stamp(desk: &mut Desk, phone: &mut Wire) -> (Value, Value) {
    let session = desk.session();
    phone.send(&json!({ "type": "relay.snapshot_request", "sessionID": session })).await;
    let told = desk.wire.until("relay.snapshot_request").await;
    assert!(told["relayConnectionID"].as_str().is_some_and(|id| id.len() >= 14), "{told}");
    (told["relayConnectionID"].clone(), told["relayDeviceID"].clone())
}

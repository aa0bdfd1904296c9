//! Section 4.1: what a desktop says to its phones.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::raw::Raw;
use crate::{
    auth::{desktop_heard_nothing, neighbour, phone_heard_nothing, second_phone},
    scenario::Scenario,
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = byte_for_byte();
    all.extend(receivers());
    all.extend(dropped());
    all
}

/// Texts that a relay that re-serialises would change.
const TEXTS: &[(&str, &str)] = &[
    (
        "an envelope in an unusual order",
        r#"{"payload":{"type":"event","payload":{"z":1,"a":2}},"seq":7,"schemaVersion":2,"b":0}"#,
    ),
    (
        "an envelope of schemaVersion 1",
        r#"{"schemaVersion":1,"sessionID":null,"seq":1,"payload":{"type":"event","payload":{}}}"#,
    ),
    (
        "an envelope of an unknown schemaVersion",
        r#"{"schemaVersion":9,"payload":{"type":"anything"}}"#,
    ),
    ("numbers as they were written", r#"{"a":1.50,"b":1e3,"c":-0.0,"d":18446744073709551616}"#),
    ("blanks between members", "{ \"a\" :\t1,\n  \"b\" : [ ] }"),
    ("escapes as they were written", r#"{"a":"\u0041\/\u00e9 é \ud83d\ude00 😀"}"#),
    ("an unknown type", r#"{"type":"desktop.says","value":1}"#),
    ("an object without members", "{}"),
    ("an array", r#"[1,"two",null]"#),
    ("a string", r#""text""#),
    ("a number", "7"),
    ("null", "null"),
    ("false", "false"),
];

fn byte_for_byte() -> Vec<Scenario> {
    let of_text = TEXTS.iter().map(|(name, text)| {
        Scenario::new(format!("4.1 forwarded byte for byte: {name}"), move |w| async move {
            let (mut desk, phone) = w.paired().await;
            let mut raw = Raw::authenticated(&w.relay, &phone.token).await;
            desk.wire.send_message(Message::text(*text)).await;
            assert_eq!(raw.text().await, *text);
        })
    });
    let with_session = [1, 2].into_iter().map(|version| {
        let row = format!("4.1 forwarded byte for byte: an envelope of this session, v{version}");
        Scenario::new(row, move |w| async move {
            let (mut desk, phone) = w.paired().await;
            let mut raw = Raw::authenticated(&w.relay, &phone.token).await;
            let payload = r#""payload":{"type":"hello","payload":{"role":"desktop"}}"#;
            let rest = format!(r#""sessionID":"{}","schemaVersion":{version}"#, w.session);
            let text = format!(r#"{{"seq":1,{payload},{rest}}}"#);
            desk.wire.send_message(Message::text(text.clone())).await;
            assert_eq!(raw.text().await, text);
        })
    });
    of_text.chain(with_session).collect()
}

fn receivers() -> Vec<Scenario> {
    vec![
        Scenario::new("4.1 every phone is told, in the order of the desktop", |w| async move {
            let (mut desk, mut first, _) = w.connected().await;
            let (mut second, _) = second_phone(&mut desk).await;
            let said: Vec<_> = (0..20).map(|_| desk.desktop.snapshot()).collect();
            for message in &said {
                desk.wire.send(message).await;
            }
            for phone in [&mut first, &mut second] {
                for message in &said {
                    assert_eq!(phone.message().await, *message);
                }
            }
        }),
        Scenario::new("4.1 who comes later is not told what was said before", |w| async move {
            let (mut desk, mut first, _) = w.connected().await;
            let before = desk.desktop.hello();
            desk.wire.send(&before).await;
            assert_eq!(first.message().await, before);
            let (mut second, _) = second_phone(&mut desk).await;
            let after = desk.desktop.snapshot();
            desk.wire.send(&after).await;
            assert_eq!(second.message().await, after);
        }),
        Scenario::new("4.1 what is said while no phone is there is lost", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            let before = desk.desktop.snapshot();
            desk.wire.send(&before).await;
            desktop_heard_nothing(&mut desk.wire).await;
            let mut wire = desk.connect(&mut phone).await;
            let after = desk.desktop.snapshot();
            desk.wire.send(&after).await;
            assert_eq!(wire.message().await, after);
        }),
        Scenario::new("4.1 phones of another session are not told", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            let (_desk, mut stranger, _) = neighbour(&w).connected().await;
            let said = desk.desktop.snapshot();
            desk.wire.send(&said).await;
            assert_eq!(phone.message().await, said);
            phone_heard_nothing(&mut stranger).await;
        }),
        Scenario::new("4.1 the desktop does not hear itself", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            let said = desk.desktop.snapshot();
            desk.wire.send(&said).await;
            assert_eq!(phone.message().await, said);
            desktop_heard_nothing(&mut desk.wire).await;
        }),
        Scenario::new("4.1 a large envelope passes whole", |w| async move {
            let (mut desk, phone) = w.paired().await;
            let mut raw = Raw::authenticated(&w.relay, &phone.token).await;
            let text = format!(r#"{{"payload":"{}"}}"#, "é".repeat(30_000));
            desk.wire.send_message(Message::text(text.clone())).await;
            assert!(raw.text().await == text, "60 KB arrive as they were sent");
        }),
    ]
}

/// A text that holds this token.
type OfToken = fn(&str) -> String;

fn dropped() -> Vec<Scenario> {
    let rows: [(&str, OfToken); 4] = [
        ("of another session", |_| json!({ "sessionID": "session-of-others" }).to_string()),
        ("that is a second relay.auth", |token| {
            json!({ "type": "relay.auth", "token": token }).to_string()
        }),
        ("that is a second relay.auth with more members", |token| {
            json!({ "more": [1], "token": token, "type": "relay.auth", "sessionID": null })
                .to_string()
        }),
        ("that is a second relay.auth in escapes", |token| {
            format!(r#"{{"\u0074ype":"relay.\u0061uth","token":"{token}"}}"#)
        }),
    ];
    let silent = rows.into_iter().map(|(name, text)| {
        Scenario::new(format!("4.1 not forwarded: a text {name}"), move |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            desk.wire.send_message(Message::text(text(&desk.desktop.token))).await;
            let marker = desk.desktop.snapshot();
            desk.wire.send(&marker).await;
            assert_eq!(phone.message().await, marker, "the next thing that a phone hears");
            desktop_heard_nothing(&mut desk.wire).await;
        })
    });
    let no_text = [7.into(), json!({}), Value::Null].into_iter().map(|session: Value| {
        Scenario::new(
            format!("4.1 forwarded: an object whose sessionID is {session}"),
            move |w| async move {
                let (mut desk, mut phone, _) = w.connected().await;
                let message = json!({ "sessionID": session, "payload": {} });
                desk.wire.send(&message).await;
                assert_eq!(phone.message().await, message);
            },
        )
    });
    silent
        .chain(no_text)
        .chain([Scenario::new("4.1 a second relay.auth of a phone goes nowhere", |w| async move {
            let (mut desk, mut phone, paired) = w.connected().await;
            phone.send(&json!({ "type": "relay.auth", "token": paired.token })).await;
            let told = phone.message().await;
            assert_eq!(
                (&told["type"], &told["error"]),
                (&json!("relay.error"), &json!("invalid_command"))
            );
            assert!(!told.to_string().contains(&paired.token), "{told}");
            desktop_heard_nothing(&mut desk.wire).await;
            phone_heard_nothing(&mut phone).await;
        })])
        .collect()
}

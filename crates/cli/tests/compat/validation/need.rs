//! 4.6, point 11: what each command needs.

use serde_json::{Value, json};

use super::frame::{Pair, show};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let names = ["thread.delete", "", "Thread.select", "thread.select ", "runtime_request"];
    let names = names.into_iter().map(|name| {
        Scenario::new(format!("4.6.11 name \"{name}\" is not allowed"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let frame = pair.command(1, &json!({ "name": name, "threadID": "t-1" }));
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            assert_eq!(message, "Command name is not allowed.");
        })
    });
    let needs = [
        ("thread.select", "threadID"),
        ("project.select", "projectID"),
        ("thread.send_message", "threadID"),
    ];
    let ids = needs.into_iter().flat_map(|(name, member)| {
        bad_ids().into_iter().map(move |value| refused(name, member, value))
    });
    let texts = bad_texts().into_iter().map(|v| refused("thread.send_message", "text", v));
    let passing = passing().into_iter().map(|(what, inner)| {
        Scenario::new(format!("4.6.11 passes: {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.command(1, &inner)).await;
        })
    });
    names.chain(ids).chain(texts).chain(passing).chain(limits()).collect()
}

fn refused(name: &'static str, member: &'static str, value: Option<Value>) -> Scenario {
    let row = format!("4.6.11 {name} needs {member}: {}", show(value.as_ref()));
    Scenario::new(row, move |w| async move {
        let mut pair = Pair::of(&w).await;
        let mut inner = json!({ "name": name, "threadID": "t-1", "projectID": "p-1", "text": "x" });
        super::frame::spoil(&mut inner, &format!("/{member}"), value);
        let frame = pair.command(1, &inner);
        let message = pair.refused_then_passes(&frame, "invalid_command").await;
        assert!(message.contains(member), "{message}");
    })
}

fn bad_ids() -> Vec<Option<Value>> {
    vec![
        None,
        Some(json!(null)),
        Some(json!(7)),
        Some(json!({})),
        Some(json!("")),
        Some(json!("t 1")),
        Some(json!("t.1")),
        Some(json!("ţ")),
        Some(json!("t".repeat(129))),
    ]
}

fn bad_texts() -> Vec<Option<Value>> {
    vec![
        None,
        Some(json!(null)),
        Some(json!(7)),
        Some(json!(["x"])),
        Some(json!("")),
        Some(json!("  ")),
        Some(json!("\n\t\r")),
        Some(json!("\u{3000}\u{a0}")),
        Some(json!("x".repeat(16_385))),
        Some(json!("é".repeat(8_193))),
    ]
}

fn passing() -> Vec<(&'static str, Value)> {
    let message =
        |text: &str| json!({ "name": "thread.send_message", "threadID": "t", "text": text });
    vec![
        (
            "thread.select with its members only",
            json!({ "name": "thread.select", "threadID": "t" }),
        ),
        (
            "project.select with its members only",
            json!({ "name": "project.select", "projectID": "p" }),
        ),
        ("thread.send_message with its members only", message("hello")),
        ("text of 16384 bytes", message(&"x".repeat(16_384))),
        ("text of 16384 bytes in 8192 characters", message(&"é".repeat(8_192))),
        ("text with space around it", message(" \n x \n ")),
        ("text with every kind of character", message("\u{0}\"\\\u{1f600}{}[]\u{2028}")),
        (
            "threadID of 128 characters",
            json!({ "name": "thread.select", "threadID": "t".repeat(128) }),
        ),
        ("threadID of every kind", json!({ "name": "thread.select", "threadID": "AZaz09:_-" })),
        (
            "projectID of 128 characters",
            json!({ "name": "project.select", "projectID": "p".repeat(128) }),
        ),
    ]
}

fn limits() -> Vec<Scenario> {
    vec![
        Scenario::new("4.6.11 the limit is of bytes, not of their JSON form", |w| async move {
            let mut pair = Pair::of(&w).await;
            let text = "\\u0061".repeat(10_000);
            let session = pair.desk.session();
            pair.send_text(format!(
                r#"{{"schemaVersion":2,"sessionID":"{session}","seq":1,"payload":{{"type":"command",
                "payload":{{"name":"thread.send_message","commandID":"c","threadID":"t",
                "text":"{text}"}}}}}}"#
            ))
            .await;
            let got = pair.arrived().await;
            assert_eq!(got["payload"]["payload"]["text"], json!("a".repeat(10_000)));
        }),
        Scenario::new("4.6.11 MAX_REMOTE_COMMAND_TEXT_BYTES is the limit", |w| async move {
            let w = w.with(&[("MAX_REMOTE_COMMAND_TEXT_BYTES", "4")]);
            let mut pair = Pair::of(&w).await;
            let message = |p: &Pair, text: &str| {
                let inner = json!({ "name": "thread.send_message", "threadID": "t", "text": text });
                p.command(1, &inner)
            };
            let told = pair.refused(&message(&pair, "12345"), "invalid_command").await;
            assert!(told.contains("text"), "{told}");
            pair.passes(&message(&pair, "1234")).await;
        }),
    ]
}

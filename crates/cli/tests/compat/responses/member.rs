//! 4.7: the members of an answer, to their limits.

use serde_json::{Value, json};

use super::respond;
use crate::{
    scenario::Scenario,
    validation::frame::{Pair, show},
};

pub(crate) fn all() -> Vec<Scenario> {
    let passes = passing().into_iter().map(|(member, value)| {
        let row = format!("4.7 {member} {} passes", show(Some(&value)));
        Scenario::new(row, move |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.command(1, &respond("userInput", &json!({ member: value })))).await;
        })
    });
    let refused = refused().into_iter().map(|(member, value)| {
        let row = format!("4.7 {member} {} is refused", show(Some(&value)));
        Scenario::new(row, move |w| async move {
            let mut pair = Pair::of(&w).await;
            let frame = pair.command(1, &respond("userInput", &json!({ member: value })));
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            assert!(message.contains(member), "{message}");
        })
    });
    passes.chain(refused).chain(around()).collect()
}

fn passing() -> Vec<(&'static str, Value)> {
    let many: Vec<_> = (0..1_000).map(|n| format!("permission-{n}")).collect();
    vec![
        ("decision", json!(null)),
        ("permissions", json!(null)),
        ("scope", json!(null)),
        ("text", json!(null)),
        ("optionID", json!(null)),
        ("approved", json!(null)),
        ("permissions", json!([])),
        ("permissions", json!(["network"])),
        ("permissions", json!(["p".repeat(256)])),
        ("permissions", json!(["é".repeat(128)])),
        ("permissions", json!(many)),
        ("scope", json!("session")),
        ("scope", json!("s".repeat(128))),
        ("scope", json!("é".repeat(64))),
        ("text", json!("")),
        ("text", json!(" ")),
        ("text", json!("x".repeat(16_384))),
        ("text", json!("é".repeat(8_192))),
        ("optionID", json!("o")),
        ("optionID", json!("AZaz09:_-")),
        ("optionID", json!("o".repeat(128))),
        ("approved", json!(true)),
        ("approved", json!(false)),
    ]
}

fn refused() -> Vec<(&'static str, Value)> {
    vec![
        ("colour", json!("red")),
        ("colour", json!(null)),
        ("Decision", json!("accept")),
        ("permissions", json!("network")),
        ("permissions", json!({})),
        ("permissions", json!([7])),
        ("permissions", json!(["network", true])),
        ("permissions", json!([""])),
        ("permissions", json!(["network", " \t"])),
        ("permissions", json!(["p".repeat(257)])),
        ("permissions", json!(["é".repeat(129)])),
        ("scope", json!("")),
        ("scope", json!("  ")),
        ("scope", json!(7)),
        ("scope", json!(["session"])),
        ("scope", json!("s".repeat(129))),
        ("scope", json!("é".repeat(65))),
        ("text", json!(7)),
        ("text", json!(["x"])),
        ("text", json!("x".repeat(16_385))),
        ("text", json!("é".repeat(8_193))),
        ("optionID", json!("")),
        ("optionID", json!(7)),
        ("optionID", json!("o 1")),
        ("optionID", json!("o.1")),
        ("optionID", json!("ö")),
        ("optionID", json!("o".repeat(129))),
        ("approved", json!("true")),
        ("approved", json!(1)),
        ("approved", json!({})),
    ]
}

fn around() -> Vec<Scenario> {
    vec![
        Scenario::new("4.7 every member null passes", |w| async move {
            let mut pair = Pair::of(&w).await;
            let nulls = json!({
                "decision": null, "permissions": null, "scope": null, "text": null,
                "optionID": null, "approved": null,
            });
            pair.passes(&pair.command(1, &respond("approval", &nulls))).await;
        }),
        Scenario::new("4.7 every member at once passes", |w| async move {
            let mut pair = Pair::of(&w).await;
            let all = json!({
                "decision": "decline", "permissions": ["network"], "scope": "turn", "text": "no",
                "optionID": "o-1", "approved": false,
            });
            pair.passes(&pair.command(1, &respond("approval", &all))).await;
        }),
        Scenario::new("4.7 one bad member among good ones is refused", |w| async move {
            let mut pair = Pair::of(&w).await;
            let all = json!({
                "decision": "decline", "permissions": ["network"], "scope": "turn", "text": "no",
                "optionID": "o-1", "approved": "no",
            });
            let frame = pair.command(1, &respond("approval", &all));
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            assert!(message.contains("approved"), "{message}");
        }),
        Scenario::new("4.7 MAX_REMOTE_COMMAND_TEXT_BYTES is the limit of text", |w| async move {
            let w = w.with(&[("MAX_REMOTE_COMMAND_TEXT_BYTES", "4")]);
            let mut pair = Pair::of(&w).await;
            let answer = |p: &Pair, text: &str| {
                p.command(1, &respond("mcpElicitation", &json!({ "text": text })))
            };
            pair.refused(&answer(&pair, "12345"), "invalid_command").await;
            pair.passes(&answer(&pair, "1234")).await;
        }),
    ]
}

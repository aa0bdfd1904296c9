//! 4.6, points 4 to 8: the envelope of a command.

use serde_json::{Value, json};

use super::frame::{Pair, show, spoil};
use crate::scenario::Scenario;

/// Where, and what is there; none: nothing.
type Fault = (&'static str, &'static str, Option<Value>);

pub(crate) fn all() -> Vec<Scenario> {
    let refused = faults().into_iter().map(|(row, path, value)| {
        let what = show(value.as_ref());
        Scenario::new(format!("{row} invalid_command: {path} {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.good(1);
            spoil(&mut frame, path, value);
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            let name = path.rsplit('/').next().unwrap_or_default();
            assert!(message.contains(name), "{message}");
        })
    });
    let passes = passing().into_iter().map(|(row, path, value)| {
        let what = show(value.as_ref());
        Scenario::new(format!("{row} passes: {path} {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.good(1);
            spoil(&mut frame, path, value);
            pair.passes(&frame).await;
        })
    });
    refused.chain(passes).collect()
}

fn at(row: &'static str, path: &'static str, values: &[Option<Value>]) -> Vec<Fault> {
    values.iter().map(|value| (row, path, value.clone())).collect()
}

fn faults() -> Vec<Fault> {
    let not_object = [None, Some(json!(null)), Some(json!("x")), Some(json!([{}])), Some(json!(7))];
    let red = [Some(json!("red")), Some(json!(null))];
    let ids = [
        None,
        Some(json!(null)),
        Some(json!(7)),
        Some(json!({})),
        Some(json!("")),
        Some(json!("c 1")),
        Some(json!("c.1")),
        Some(json!("c/1")),
        Some(json!("ç-1")),
        Some(json!("c-1\n")),
        Some(json!("c".repeat(129))),
    ];
    let versions = [None, Some(json!(null)), Some(json!("2")), Some(json!(2.5)), Some(json!(true))];
    let numbers = [
        None,
        Some(json!(null)),
        Some(json!("1")),
        Some(json!(-1)),
        Some(json!(1.5)),
        Some(json!(1.0)),
        Some(json!(1e300)),
        Some(json!(true)),
        Some(json!([1])),
    ];
    [
        at("4.6.4", "/colour", &red),
        at("4.6.4", "/type", &[Some(json!("command")), Some(json!(null))]),
        at("4.6.4", "/commandID", &[Some(json!("c-1"))]),
        at("4.6.5", "/sessionID", &[None, Some(json!(null)), Some(json!(7)), Some(json!({}))]),
        at("4.6.6", "/schemaVersion", &versions),
        at("4.6.7", "/payload", &not_object),
        at("4.6.7", "/payload/type", &[None, Some(json!(null)), Some(json!(7))]),
        at("4.6.7", "/payload/type", &[Some(json!("Command")), Some(json!(""))]),
        at("4.6.7", "/payload/colour", &red),
        at("4.6.8", "/payload/payload", &not_object),
        at("4.6.8", "/payload/payload/colour", &red),
        at("4.6.8", "/payload/payload/seq", &[Some(json!(1))]),
        at("4.6.8", "/payload/payload/name", &[None, Some(json!(null)), Some(json!(7))]),
        at("4.6.8", "/payload/payload/name", &[Some(json!(["thread.select"]))]),
        at("4.6.8", "/payload/payload/commandID", &ids),
        at("4.6.8", "/seq", &numbers),
    ]
    .concat()
}

fn passing() -> Vec<Fault> {
    let times = [
        None,
        Some(json!(null)),
        Some(json!(7)),
        Some(json!("yesterday")),
        Some(json!({ "a": [1] })),
    ];
    let ids = [
        Some(json!("c")),
        Some(json!("AZaz09:_-")),
        Some(json!("8E2B1C54-8C3F-4D0E-9B41-2D4B0C9C3F11")),
        Some(json!("c".repeat(128))),
    ];
    [at("4.6.4", "/timestamp", &times), at("4.6.8", "/payload/payload/commandID", &ids)].concat()
}

//! 4.6, point 3: requests for a snapshot.

use serde_json::{Value, json};

use super::frame::{Pair, show};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let passes = passing().into_iter().map(|more| {
        Scenario::new(format!("4.6.3 passes with {}", show(Some(&more))), |w| async move {
            let mut pair = Pair::of(&w).await;
            let frame = pair.snapshot(&more);
            pair.passes(&frame).await;
        })
    });
    let refused = refused().into_iter().map(|(error, name, value)| {
        let what = show(value.as_ref());
        Scenario::new(format!("4.6.3 {error}: {name} {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.snapshot(&json!({}));
            super::frame::spoil(&mut frame, &format!("/{name}"), value);
            let message = pair.refused_then_passes(&frame, error).await;
            assert!(message.contains(name), "{message}");
        })
    });
    passes.chain(refused).chain(around()).collect()
}

fn passing() -> Vec<Value> {
    let reasons = [
        json!("initial_sync"),
        json!(""),
        json!(null),
        json!("r".repeat(128)),
        json!("é".repeat(64)),
        json!("no word that a client knows"),
    ];
    let numbers = [
        json!(0),
        json!(1),
        json!(9_007_199_254_740_993_u64),
        json!(u64::MAX),
        json!("0"),
        json!("00000000000000000001"),
        json!("99999999999999999999"),
        json!(null),
    ];
    let reasons = reasons.into_iter().map(|reason| json!({ "reason": reason }));
    reasons.chain(numbers.into_iter().map(|last| json!({ "lastSeq": last }))).collect()
}

fn refused() -> Vec<(&'static str, &'static str, Option<Value>)> {
    let invalid = "invalid_snapshot_request";
    vec![
        (invalid, "colour", Some(json!("red"))),
        (invalid, "colour", Some(json!(null))),
        (invalid, "seq", Some(json!(1))),
        (invalid, "schemaVersion", Some(json!(2))),
        (invalid, "timestamp", Some(json!("2026-02-25T10:00:00.000Z"))),
        (invalid, "payload", Some(json!({ "type": "command" }))),
        ("invalid_session", "sessionID", None),
        ("invalid_session", "sessionID", Some(json!(null))),
        ("invalid_session", "sessionID", Some(json!(7))),
        ("invalid_session", "sessionID", Some(json!(["session"]))),
        (invalid, "reason", Some(json!(7))),
        (invalid, "reason", Some(json!(false))),
        (invalid, "reason", Some(json!({}))),
        (invalid, "reason", Some(json!("r".repeat(129)))),
        (invalid, "reason", Some(json!("é".repeat(65)))),
        (invalid, "lastSeq", Some(json!(-1))),
        (invalid, "lastSeq", Some(json!(1.5))),
        (invalid, "lastSeq", Some(json!(true))),
        (invalid, "lastSeq", Some(json!([]))),
        (invalid, "lastSeq", Some(json!({}))),
        (invalid, "lastSeq", Some(json!(""))),
        (invalid, "lastSeq", Some(json!("-1"))),
        (invalid, "lastSeq", Some(json!("1.5"))),
        (invalid, "lastSeq", Some(json!(" 1"))),
        (invalid, "lastSeq", Some(json!("٣"))),
        (invalid, "lastSeq", Some(json!("1".repeat(21)))),
    ]
}

fn around() -> Vec<Scenario> {
    vec![
        Scenario::new("4.6.3 a refused request with a command says which", |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.good(7);
            frame["type"] = json!("relay.snapshot_request");
            pair.refused_then_passes(&frame, "invalid_snapshot_request").await;
        }),
        Scenario::new("4.6.3 members come before the session", |w| async move {
            let mut pair = Pair::of(&w).await;
            let frame = json!({ "type": "relay.snapshot_request", "colour": "red", "reason": 7 });
            let message = pair.refused(&frame, "invalid_snapshot_request").await;
            assert!(message.contains("colour"), "{message}");
        }),
        Scenario::new("4.6.3 the session comes before reason and lastSeq", |w| async move {
            let mut pair = Pair::of(&w).await;
            let frame = json!({ "type": "relay.snapshot_request", "reason": 7, "lastSeq": -1 });
            pair.refused(&frame, "invalid_session").await;
        }),
        Scenario::new("4.6.3 requests take no number of commands", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(5)).await;
            pair.passes(&pair.snapshot(&json!({ "lastSeq": 9 }))).await;
            pair.passes(&pair.good(6)).await;
        }),
    ]
}

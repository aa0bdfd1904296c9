//! 4.3: a phone sends snapshot requests and commands; everything else is refused.

use serde_json::{Value, json};

use super::frame::{Pair, show};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let foreign = foreign().into_iter().map(|frame| {
        Scenario::new(format!("4.3 refused {}", show(Some(&frame))), |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.refused_then_passes(&frame, "invalid_command").await;
        })
    });
    let types = ["hello", "auth_ok", "snapshot", "event", "command_ack"].map(|kind| {
        Scenario::new(format!("4.3 envelope of type {kind} refused"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.good(1);
            frame["payload"]["type"] = json!(kind);
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            assert!(message.contains("type"), "{message}");
        })
    });
    foreign.chain(types).chain(own()).collect()
}

/// What a phone must not say. The session is absent, so that only the kind can be judged.
fn foreign() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "type": "ping" }),
        json!({ "type": 7 }),
        json!({ "type": "auth_ok" }),
        json!({ "type": "disconnect" }),
        json!({ "type": "relay.error" }),
        json!({ "type": "relay.pair_result" }),
        json!({ "type": "relay.device_count" }),
        json!({ "type": "relay.desktop_status" }),
        json!({ "type": "relay.Snapshot_request" }),
    ]
}

fn own() -> Vec<Scenario> {
    vec![
        Scenario::new("4.3 a second relay.auth is refused and never forwarded", |w| async move {
            let mut pair = Pair::of(&w).await;
            let token = pair.paired.token.clone();
            let frame = json!({ "type": "relay.auth", "token": token });
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            assert!(!message.contains(&token), "{message}");
        }),
        Scenario::new("4.3 a second relay.auth with the desktop's token", |w| async move {
            let mut pair = Pair::of(&w).await;
            let frame = json!({
                "type": "relay.auth", "token": pair.desk.desktop.token,
                "sessionID": pair.desk.session(),
            });
            pair.refused_then_passes(&frame, "invalid_command").await;
        }),
        Scenario::new("4.3 a phone cannot decide about another phone", |w| async move {
            let mut pair = Pair::of(&w).await;
            assert_eq!(pair.desk.refresh().await.status, 200);
            let joining = pair.desk.joining();
            let request = pair.desk.wire.until("relay.pair_request").await;
            let mut decision = json!({
                "type": "relay.pair_decision", "sessionID": pair.desk.session(),
                "requestID": request["requestID"], "approved": true,
            });
            pair.refused_then_passes(&decision, "invalid_command").await;
            decision["approved"] = json!(false);
            pair.desk.wire.send(&decision).await;
            let answer = joining.await.expect("ran");
            assert_eq!((answer.status, answer.error()), (403, "pair_request_denied"));
        }),
        Scenario::new("4.3 snapshot request with all its members passes", |w| async move {
            let mut pair = Pair::of(&w).await;
            let frame = pair.snapshot(&json!({ "reason": "initial_sync", "lastSeq": 7 }));
            pair.passes(&frame).await;
        }),
        Scenario::new("4.3 snapshot request with its required members passes", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.snapshot(&json!({}))).await;
        }),
        Scenario::new("4.3 command envelope passes", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.good(1)).await;
        }),
    ]
}

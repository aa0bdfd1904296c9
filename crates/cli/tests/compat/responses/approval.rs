//! Section 9: `approval.respond` of `schemaVersion` 1.

use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    validation::frame::{Pair, show, spoil},
};

pub(crate) fn all() -> Vec<Scenario> {
    let decisions = ["approve_once", "approve_for_session", "decline"].map(|decision| {
        Scenario::new(
            format!("9 approvalDecision {decision} passes unchanged"),
            move |w| async move {
                let mut pair = Pair::of(&w).await;
                let mut inner = respond();
                inner["approvalDecision"] = json!(decision);
                let frame = first(&pair, &inner);
                pair.passes(&frame).await;
            },
        )
    });
    let ids = [json!("0"), json!("9".repeat(32))].map(|id| {
        Scenario::new(format!("9 approvalRequestID {} passes", show(Some(&id))), |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut inner = respond();
            inner["approvalRequestID"] = id;
            let frame = first(&pair, &inner);
            pair.passes(&frame).await;
        })
    });
    let refused = refused().into_iter().map(|(member, value)| {
        let row = format!("9 {member} {} is refused", show(value.as_ref()));
        Scenario::new(row, move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut inner = respond();
            spoil(&mut inner, &format!("/{member}"), value);
            let frame = first(&pair, &inner);
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            assert!(message.contains(member), "{message}");
        })
    });
    decisions.into_iter().chain(ids).chain(refused).chain(around()).collect()
}

fn respond() -> Value {
    json!({ "name": "approval.respond", "approvalRequestID": "7", "approvalDecision": "decline" })
}

fn first(pair: &Pair, inner: &Value) -> Value {
    let mut frame = pair.command(1, inner);
    frame["schemaVersion"] = json!(1);
    frame
}

fn refused() -> Vec<(&'static str, Option<Value>)> {
    let (id, decision) = ("approvalRequestID", "approvalDecision");
    vec![
        (id, None),
        (id, Some(json!(null))),
        (id, Some(json!(7))),
        (id, Some(json!("7a"))),
        (id, Some(json!("9".repeat(33)))),
        (decision, None),
        (decision, Some(json!(null))),
        (decision, Some(json!(true))),
        (decision, Some(json!("maybe"))),
        (decision, Some(json!(""))),
    ]
}

fn around() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "9 approval.respond: what it does not use may hold anything",
            |w| async move {
                let mut pair = Pair::of(&w).await;
                let mut inner = respond();
                for (member, value) in [
                    ("threadID", json!(null)),
                    ("projectID", json!(7)),
                    ("text", json!([])),
                    ("runtimeRequestID", json!("x")),
                    ("runtimeRequestKind", json!({})),
                    ("runtimeRequestResponse", json!("x")),
                ] {
                    inner[member] = value;
                }
                let frame = first(&pair, &inner);
                pair.passes(&frame).await;
            },
        ),
        Scenario::new("9 a command of version 1 with nulls passes", |w| async move {
            let mut pair = Pair::of(&w).await;
            let inner = json!({
                "name": "thread.select", "threadID": "t-1", "projectID": null, "text": null,
                "approvalRequestID": null, "approvalDecision": null,
            });
            let frame = first(&pair, &inner);
            pair.passes(&frame).await;
        }),
    ]
}

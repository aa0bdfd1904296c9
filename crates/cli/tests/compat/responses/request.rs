//! 4.7: which question is answered, of which kind, and that there is an answer.

use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    validation::frame::{Pair, show, spoil},
};

pub(crate) fn all() -> Vec<Scenario> {
    let passes = passing().into_iter().map(|(member, value)| {
        let row = format!("4.7 {member} {} passes", show(value.as_ref()));
        Scenario::new(row, move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut inner = respond();
            spoil(&mut inner, &format!("/{member}"), value);
            pair.passes(&pair.command(1, &inner)).await;
        })
    });
    let refused = refused().into_iter().map(|(member, value)| {
        let row = format!("4.7 {member} {} is refused", show(value.as_ref()));
        Scenario::new(row, move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut inner = respond();
            spoil(&mut inner, &format!("/{member}"), value);
            let frame = pair.command(1, &inner);
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            assert!(message.contains(member), "{message}");
        })
    });
    passes.chain(refused).collect()
}

/// With its required members only.
fn respond() -> Value {
    json!({
        "name": "runtime_request.respond", "runtimeRequestID": "7",
        "runtimeRequestResponse": { "approved": true },
    })
}

type Member = (&'static str, Option<Value>);

fn passing() -> Vec<Member> {
    let ids = ["0", "", "00012", &"9".repeat(32)].map(|id| ("runtimeRequestID", json!(id)));
    let kinds =
        ["approval", "permissionsApproval", "userInput", "mcpElicitation", "dynamicToolCall"];
    let kinds = kinds.map(|kind| ("runtimeRequestKind", Some(json!(kind))));
    ids.into_iter()
        .map(|(member, id)| (member, Some(id)))
        .chain(kinds)
        .chain([("runtimeRequestKind", None), ("runtimeRequestKind", Some(json!(null)))])
        .collect()
}

fn refused() -> Vec<Member> {
    let id = "runtimeRequestID";
    let kind = "runtimeRequestKind";
    let response = "runtimeRequestResponse";
    vec![
        (id, None),
        (id, Some(json!(null))),
        (id, Some(json!(7))),
        (id, Some(json!(["7"]))),
        (id, Some(json!("7a"))),
        (id, Some(json!("-7"))),
        (id, Some(json!(" 7"))),
        (id, Some(json!("7.0"))),
        (id, Some(json!("٧"))),
        (id, Some(json!("9".repeat(33)))),
        (kind, Some(json!(""))),
        (kind, Some(json!("Approval"))),
        (kind, Some(json!("approvals"))),
        (kind, Some(json!("permissions"))),
        (kind, Some(json!(7))),
        (kind, Some(json!({}))),
        (response, None),
        (response, Some(json!(null))),
        (response, Some(json!({}))),
        (response, Some(json!([]))),
        (response, Some(json!("accept"))),
        (response, Some(json!(true))),
    ]
}

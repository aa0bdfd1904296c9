//! 5.4: what the web client sends for each kind of question, and what the desktop makes of it.

use belay_testkit::compat::Party as _;
use serde_json::{Value, json};

use super::respond;
use crate::{scenario::Scenario, validation::frame::Pair};

pub(crate) fn all() -> Vec<Scenario> {
    let same = answers().into_iter().map(|(kind, what, response)| {
        Scenario::new(format!("5.4 {kind}: {what} passes unchanged"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.passes(&pair.command(1, &respond(kind, &response))).await;
        })
    });
    same.chain(applied()).collect()
}

fn answers() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("approval", "decline", json!({ "decision": "decline", "optionID": "decline" })),
        ("approval", "cancel", json!({ "decision": "cancel", "optionID": "cancel" })),
        ("approval", "an option alone", json!({ "optionID": "approve_once" })),
        (
            "permissionsApproval",
            "grant with a scope",
            json!({
                "optionID": "grant", "approved": true, "permissions": ["network", "fs:/tmp"],
                "scope": "session",
            }),
        ),
        (
            "permissionsApproval",
            "grant without a scope",
            json!({ "optionID": "grant", "approved": true, "permissions": ["fs"], "scope": null }),
        ),
        (
            "permissionsApproval",
            "decline",
            json!({ "optionID": "decline", "approved": false, "permissions": [] }),
        ),
        ("userInput", "text and option", json!({ "text": "yes", "optionID": "o-1" })),
        ("userInput", "text without option", json!({ "text": "yes", "optionID": null })),
        ("userInput", "option without text", json!({ "text": null, "optionID": "o-1" })),
        ("userInput", "dismiss", json!({ "text": null, "optionID": null })),
        ("userInput", "blank text", json!({ "text": "  ", "optionID": null })),
        ("mcpElicitation", "text", json!({ "text": "a\nb" })),
        ("mcpElicitation", "dismiss", json!({ "text": null })),
        ("dynamicToolCall", "approve", json!({ "optionID": "approve", "approved": true })),
        ("dynamicToolCall", "decline", json!({ "optionID": "decline", "approved": false })),
    ]
}

/// Answers of the web client that the desktop carries out.
fn applied() -> Vec<Scenario> {
    ["accept", "acceptForSession", "decline", "cancel"]
        .into_iter()
        .map(|decision| {
            Scenario::new(
                format!("5.4 {decision} is carried out by a desktop"),
                move |w| async move {
                    let mut pair = Pair::of(&w).await;
                    for message in pair.desk.desktop.asks("7", "t-1") {
                        pair.desk.wire.send(&message).await;
                    }
                    let asked = pair.phone.envelope().await;
                    assert_eq!(asked["payload"]["payload"]["name"], "runtime_request.requested");
                    let response = json!({ "decision": decision, "optionID": null });
                    pair.phone.send(&pair.command(1, &respond("approval", &response))).await;
                    let got = pair.arrived().await;
                    for answer in pair.desk.desktop.hears(&got.into()) {
                        pair.desk.wire.send(&answer).await;
                    }
                    let event = pair.phone.envelope().await;
                    assert_eq!(event["payload"]["payload"]["name"], "runtime_request.responded");
                    let ack = pair.phone.envelope().await;
                    assert_eq!(ack["payload"]["payload"]["status"], "accepted", "{ack}");
                    let snapshot = pair.phone.envelope().await;
                    assert_eq!(snapshot["payload"]["payload"]["pendingRuntimeRequests"], json!([]));
                },
            )
        })
        .collect()
}

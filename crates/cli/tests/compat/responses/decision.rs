//! 4.7 and 5.4: decisions of all vocabularies, in the words that the desktop knows.

use serde_json::{Value, json};

use super::respond;
use crate::{
    scenario::Scenario,
    validation::{
        frame::{Pair, show},
        raw::Ear,
    },
};

pub(crate) fn all() -> Vec<Scenario> {
    let words = known().into_iter().map(|(word, told)| {
        Scenario::new(format!("5.4 decision {word} reaches the desktop"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            assert_eq!(decided(&mut pair, 1, json!("approval"), word).await, told);
        })
    });
    let refused = [json!("maybe"), json!(""), json!("accept "), json!(7), json!(true), json!([])];
    let refused = refused.into_iter().map(|decision| {
        Scenario::new(
            format!("4.7 decision {} is refused", show(Some(&decision))),
            |w| async move {
                let mut pair = Pair::of(&w).await;
                let response = json!({ "decision": decision, "optionID": "approve_once" });
                let frame = pair.command(1, &respond("approval", &response));
                let message = pair.refused_then_passes(&frame, "invalid_command").await;
                assert!(message.contains("decision"), "{message}");
            },
        )
    });
    words.chain(refused).chain(around()).collect()
}

/// Words of clients, each with what the desktop is to hear: one that it knows, lower case or not.
fn known() -> Vec<(&'static str, &'static str)> {
    vec![
        ("accept", "approve_once"),
        ("acceptForSession", "approve_for_session"),
        ("decline", "decline"),
        ("cancel", "cancel"),
        ("approve", "approve"),
        ("approve_once", "approve_once"),
        ("approve-once", "approve-once"),
        ("approve_for_session", "approve_for_session"),
        ("approve-session", "approve-session"),
        ("approveforsession", "approveforsession"),
        ("reject", "reject"),
    ]
}

/// Sends a decision: what the desktop hears of it.
async fn decided(pair: &mut Pair, seq: u64, kind: Value, decision: &str) -> String {
    let mut inner = respond("approval", &json!({ "decision": decision, "optionID": null }));
    inner["runtimeRequestKind"] = kind;
    pair.phone.send(&pair.command(seq, &inner)).await;
    let got = pair.arrived().await;
    let told = &got["payload"]["payload"]["runtimeRequestResponse"]["decision"];
    told.as_str().expect("text").to_owned()
}

/// Without its last brace.
const TRANSLATED: &str = concat!(
    r#"{"payload":{"payload":{"runtimeRequestResponse":{"optionID":null,"decision":"accept","#,
    r#""approved":true},"runtimeRequestID":"7","name":"runtime_request.respond","#,
    r#""commandID":"c-1"},"type":"command"},"seq":1,"sessionID":"SESSION","schemaVersion":2"#,
);

fn around() -> Vec<Scenario> {
    vec![
        Scenario::new("5.4 decisions in the desktop's words in any case", |w| async move {
            let mut pair = Pair::of(&w).await;
            for (seq, word) in (1..).zip(["approveForSession", "Approve", "DECLINE", "Cancel"]) {
                let told = decided(&mut pair, seq, json!("approval"), word).await;
                assert_eq!(told.to_lowercase(), word.to_lowercase());
            }
        }),
        Scenario::new("5.4 a decision is translated without a kind, too", |w| async move {
            let mut pair = Pair::of(&w).await;
            let kind = json!(null);
            assert_eq!(decided(&mut pair, 1, kind, "accept").await, "approve_once");
        }),
        Scenario::new("5.4 nothing but the decision is changed", |w| async move {
            let mut pair = Pair::of(&w).await;
            let response = json!({
                "decision": "acceptForSession", "optionID": "approve_for_session", "text": null,
                "approved": true, "scope": "session", "permissions": ["accept"],
            });
            let frame = pair.command(1, &respond("approval", &response));
            pair.phone.send(&frame).await;
            let mut got = pair.arrived().await;
            got.remove("relayConnectionID");
            got.remove("relayDeviceID");
            let mut expected = frame;
            expected["payload"]["payload"]["runtimeRequestResponse"]["decision"] =
                json!("approve_for_session");
            assert_eq!(Value::Object(got), expected);
        }),
        Scenario::new(
            "5.4 members keep their order when a decision is translated",
            |w| async move {
                let mut pair = Pair::of(&w).await;
                let mut ear = Ear::of(&w, &pair).await;
                let sent = TRANSLATED.replace("SESSION", &pair.desk.session());
                pair.send_text(format!("{sent}}}")).await;
                let got = ear.text().await;
                let kept = sent.replace(r#":"accept""#, r#":"approve_once""#);
                assert!(got.starts_with(&format!(r#"{kept},"relayConnectionID":""#)), "{got}");
            },
        ),
    ]
}

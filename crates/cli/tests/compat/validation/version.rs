//! 4.6, point 6, and section 9: both versions, both vocabularies, nothing else.

use serde_json::{Value, json};

use super::frame::{Pair, show};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let passes = [1, 2].into_iter().flat_map(|version| {
        commands().into_iter().map(move |inner| {
            let name = inner["name"].as_str().unwrap_or_default().to_owned();
            let row = format!("4.6.6 schemaVersion {version}: {name} passes unchanged");
            Scenario::new(row, move |w| async move {
                let mut pair = Pair::of(&w).await;
                let mut frame = pair.command(1, &inner);
                frame["schemaVersion"] = json!(version);
                pair.passes(&frame).await;
            })
        })
    });
    let others = [json!(0), json!(3), json!(200), json!(u64::MAX)].into_iter().map(|version| {
        let row = format!("4.6.6 unsupported_schema: {}", show(Some(&version)));
        Scenario::new(row, move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.good(1);
            frame["schemaVersion"] = version;
            let message = pair.refused_then_passes(&frame, "unsupported_schema").await;
            for word in ["schemaVersion", "1", "2"] {
                assert!(message.contains(word), "{message}");
            }
        })
    });
    passes.chain(others).chain(first()).collect()
}

fn commands() -> Vec<Value> {
    vec![
        json!({ "name": "thread.send_message", "threadID": "t-1", "text": "hello" }),
        json!({ "name": "thread.select", "threadID": "t-1" }),
        json!({ "name": "project.select", "projectID": "p-1" }),
        json!({
            "name": "approval.respond", "approvalRequestID": "7", "approvalDecision": "decline",
        }),
        json!({
            "name": "runtime_request.respond", "runtimeRequestID": "7",
            "runtimeRequestResponse": { "decision": "decline" },
        }),
    ]
}

/// What only the first version has.
fn first() -> Vec<Scenario> {
    vec![
        Scenario::new("9 schemaVersion 1 without commandID passes", |w| async move {
            let mut pair = Pair::of(&w).await;
            for seq in [1, 2] {
                let mut frame = pair.good(seq);
                frame["schemaVersion"] = json!(1);
                super::frame::spoil(&mut frame, "/payload/payload/commandID", None);
                pair.passes(&frame).await;
            }
        }),
        Scenario::new("9 schemaVersion 1: a commandID must be one", |w| async move {
            let mut pair = Pair::of(&w).await;
            for id in [json!(7), json!(""), json!("c 1")] {
                let mut frame = pair.good(1);
                frame["schemaVersion"] = json!(1);
                frame["payload"]["payload"]["commandID"] = id;
                let message = pair.refused(&frame, "invalid_command").await;
                assert!(message.contains("commandID"), "{message}");
            }
        }),
        Scenario::new("9 versions may change within a connection", |w| async move {
            let mut pair = Pair::of(&w).await;
            for (seq, version) in [(1, 2), (2, 1), (3, 2)] {
                let mut frame = pair.good(seq);
                frame["schemaVersion"] = json!(version);
                pair.passes(&frame).await;
            }
        }),
        Scenario::new(
            "9 a desktop's envelopes of schemaVersion 1 pass unchanged",
            |w| async move {
                let mut pair = Pair::of(&w).await;
                let turn = json!({ "threadID": "t", "isAwaitingApproval": true });
                let pending = json!([{ "requestID": "7", "threadID": "t", "summary": "ls" }]);
                for (seq, kind, inner) in [
                    (1, "hello", json!({ "role": "desktop", "supportsApprovals": true })),
                    (2, "snapshot", json!({ "turnState": turn, "pendingApprovals": pending })),
                    (3, "command_ack", json!({ "commandSeq": 1, "status": "rejected" })),
                ] {
                    let envelope = json!({
                        "schemaVersion": 1, "sessionID": pair.desk.session(), "seq": seq,
                        "timestamp": "2026-02-26T10:00:00Z",
                        "payload": { "type": kind, "payload": inner },
                    });
                    pair.desk.wire.send(&envelope).await;
                    assert_eq!(pair.phone.message().await, envelope);
                }
            },
        ),
        Scenario::new(
            "9 hello.supportsApprovals is told to a phone that connects",
            |w| async move {
                let mut pair = Pair::of(&w).await;
                for is_able in [true, false] {
                    let hello = json!({
                        "schemaVersion": 1, "sessionID": pair.desk.session(), "seq": 1,
                        "timestamp": "2026-02-26T10:00:00Z",
                        "payload": { "type": "hello", "payload": { "supportsApprovals": is_able } },
                    });
                    pair.desk.wire.send(&hello).await;
                    assert_eq!(pair.phone.envelope().await, hello);
                    let next = pair.desk.page.open().await;
                    std::mem::replace(&mut pair.phone, next).close().await;
                    let told = pair.phone.auth(&pair.paired.token).await;
                    assert_eq!(told["supportsRuntimeRequests"], is_able);
                    let token = told["nextDeviceSessionToken"].as_str().expect("a token");
                    token.clone_into(&mut pair.paired.token);
                }
            },
        ),
    ]
}

//! 4.5: the sender's ids are the relay's, whatever a phone claims.

use serde_json::{Value, json};

use super::{
    frame::{Pair, connection_of, show},
    raw::Ear,
};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let claims = [json!("desktop"), json!(""), json!(null), json!(7), json!({ "a": 1 })];
    let overwritten = claims.into_iter().map(|claim| {
        Scenario::new(format!("4.5 claim {} is overwritten", show(Some(&claim))), |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.good(1);
            frame["relayConnectionID"] = claim.clone();
            frame["relayDeviceID"] = claim.clone();
            pair.phone.send(&frame).await;
            let got = pair.arrived().await;
            assert_ne!(got.get("relayConnectionID"), Some(&claim));
            assert_eq!(got.len(), frame.as_object().map_or(0, serde_json::Map::len));
        })
    });
    let refused = ["relayConnectionID", "relayDeviceID"].map(|name| {
        Scenario::new(format!("4.5 snapshot request with {name} is refused"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            for claim in [json!("spoofed"), json!(pair.paired.device)] {
                let frame = pair.snapshot(&json!({ name: claim }));
                let message = pair.refused(&frame, "invalid_snapshot_request").await;
                assert!(message.contains(name), "{message}");
            }
            pair.passes(&pair.snapshot(&json!({}))).await;
        })
    });
    let inside = ["/payload/relayDeviceID", "/payload/payload/relayDeviceID"].map(|path| {
        Scenario::new(format!("4.5 {path} is refused"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut frame = pair.good(1);
            super::frame::spoil(&mut frame, path, Some(json!("spoofed")));
            let message = pair.refused_then_passes(&frame, "invalid_command").await;
            assert!(message.contains("relayDeviceID"), "{message}");
        })
    });
    overwritten.chain(refused).chain(inside).chain(identities()).chain(order()).collect()
}

fn identities() -> Vec<Scenario> {
    vec![
        Scenario::new("4.5 a snapshot request is stamped", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.phone.send(&pair.snapshot(&json!({ "reason": "gap_detected" }))).await;
            let names: Vec<_> = pair.arrived().await.keys().cloned().collect();
            let all = ["reason", "relayConnectionID", "relayDeviceID", "sessionID", "type"];
            assert_eq!(names, all);
        }),
        Scenario::new("4.5 a command is stamped", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.phone.send(&pair.good(1)).await;
            let names: Vec<_> = pair.arrived().await.keys().cloned().collect();
            assert_eq!(
                names,
                [
                    "payload",
                    "relayConnectionID",
                    "relayDeviceID",
                    "schemaVersion",
                    "seq",
                    "sessionID",
                    "timestamp"
                ]
            );
        }),
        Scenario::new("4.5 one connection keeps its relayConnectionID", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.phone.send(&pair.good(1)).await;
            let first = pair.arrived().await;
            pair.phone.send(&pair.snapshot(&json!({}))).await;
            assert_eq!(connection_of(&pair.arrived().await), connection_of(&first));
        }),
        Scenario::new("4.5 a reconnect has another relayConnectionID", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.phone.send(&pair.good(1)).await;
            let before = pair.arrived().await;
            pair.reconnects().await;
            pair.phone.send(&pair.good(1)).await;
            let after = pair.arrived().await;
            assert_ne!(connection_of(&after), connection_of(&before));
            assert_eq!(after["relayDeviceID"], before["relayDeviceID"]);
        }),
        Scenario::new("4.5 a phone cannot pass for another phone", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.phone.send(&pair.good(1)).await;
            let of_first = pair.arrived().await;
            assert_eq!(pair.desk.refresh().await.status, 200);
            let mut other = pair.desk.pair().await;
            let mut wire = pair.desk.connect(&mut other).await;
            let mut frame = pair.good(1);
            for name in ["relayConnectionID", "relayDeviceID"] {
                frame[name] = of_first[name].clone();
            }
            wire.send(&frame).await;
            let got = pair.desk.wire.message().await;
            assert_eq!(got["relayDeviceID"], json!(other.device));
            assert_ne!(got["relayConnectionID"], of_first["relayConnectionID"]);
        }),
    ]
}

const COMMAND: &str = concat!(
    r#"{"seq":1,CLAIM"payload":{"type":"command","payload":{"threadID":"t-1","commandID":"c-1","#,
    r#""name":"thread.select"}},"sessionID":"SESSION","timestamp":"now","schemaVersion":2}"#,
);
const SNAPSHOT: &str = r#"{"sessionID":"SESSION","type":"relay.snapshot_request","lastSeq":1}"#;
const CLAIMED: &str = r#""relayDeviceID":"x","relayConnectionID":"y","#;
const ESCAPED: &str = r#""relay\u0044eviceID":"x","relayConnectionI\u0044":"y","#;

/// Member order is kept; the sender is appended, wherever it was claimed.
fn order() -> Vec<Scenario> {
    [
        ("command", COMMAND, ""),
        ("command with claims", COMMAND, CLAIMED),
        ("command with escaped claims", COMMAND, ESCAPED),
        ("snapshot request", SNAPSHOT, ""),
    ]
    .into_iter()
    .map(|(what, text, claim)| {
        Scenario::new(format!("4.5 member order is kept: {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut ear = Ear::of(&w, &pair).await;
            let text = text.replace("SESSION", &pair.desk.session());
            pair.send_text(text.replace("CLAIM", claim)).await;
            let got = ear.text().await;
            let parsed: Value = serde_json::from_str(&got).expect("JSON");
            let connection = parsed["relayConnectionID"].as_str().expect("text");
            let plain = text.replace("CLAIM", "");
            let kept = plain.strip_suffix('}').expect("an object");
            let device = &pair.paired.device;
            let expected = format!(
                r#"{kept},"relayConnectionID":"{connection}","relayDeviceID":"{device}"}}"#
            );
            assert_eq!(got, expected);
        })
    })
    .collect()
}

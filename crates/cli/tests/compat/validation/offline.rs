//! 4.6, points 0 and 1: frames of another session, and frames without a desktop.

use serde_json::{Value, json};

use super::frame::{Pair, spoil};
use crate::scenario::Scenario;

const TEXT: &str = "Mac is offline. Reconnect desktop and try again.";

pub(crate) fn all() -> Vec<Scenario> {
    let kinds = ["command", "snapshot request", "other frame"];
    let refusals = kinds.map(|kind| {
        Scenario::new(format!("4.6.0 {kind} of another session is refused"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let frame = elsewhere(&pair, kind);
            pair.phone.send(&frame).await;
            let told = pair.phone.until("relay.error").await;
            assert_eq!(told["error"], "invalid_session", "{told}");
        })
    });
    let hidden = kinds.map(|kind| {
        Scenario::new(
            format!("4.6.0 {kind} of another session reaches nobody and takes no number"),
            move |w| async move {
                let mut pair = Pair::of(&w).await;
                let frame = elsewhere(&pair, kind);
                pair.phone.send(&frame).await;
                pair.passes(&pair.good(1)).await;
            },
        )
    });
    refusals.into_iter().chain(hidden).chain(refused()).chain(around()).collect()
}

/// A frame with the id of a session that is not the phone's.
fn elsewhere(pair: &Pair, kind: &str) -> Value {
    let mut frame = match kind {
        "command" => pair.good(1),
        "snapshot request" => pair.snapshot(&json!({})),
        _ => json!({ "type": "ping" }),
    };
    frame["sessionID"] = json!("another-session-0123456789");
    frame
}

/// Without a desktop the form is not looked at.
fn refused() -> Vec<Scenario> {
    let commands = [
        ("good", "/seq", Some(json!(1))),
        ("unknown member", "/colour", Some(json!("red"))),
        ("session absent", "/sessionID", None),
        ("schemaVersion 3", "/schemaVersion", Some(json!(3))),
        ("name unknown", "/payload/payload/name", Some(json!("thread.delete"))),
        ("number absent", "/seq", None),
        ("number 0", "/seq", Some(json!(0))),
        ("payload of a command null", "/payload/payload", Some(json!(null))),
    ];
    let snapshots = [
        ("good", json!({})),
        ("unknown member", json!({ "colour": "red" })),
        ("reason of another type", json!({ "reason": 7 })),
        ("session absent", json!({ "sessionID": null })),
    ];
    let commands = commands.map(|(what, path, value)| {
        Scenario::new(format!("4.6.1 desktop_offline: command, {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.desktop_leaves().await;
            let mut frame = pair.good(1);
            spoil(&mut frame, path, value);
            assert_eq!(pair.refused(&frame, "desktop_offline").await, TEXT);
        })
    });
    let snapshots = snapshots.map(|(what, more)| {
        Scenario::new(format!("4.6.1 desktop_offline: snapshot, {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.desktop_leaves().await;
            let frame = pair.snapshot(&more);
            assert_eq!(pair.refused(&frame, "desktop_offline").await, TEXT);
        })
    });
    commands.into_iter().chain(snapshots).collect()
}

fn around() -> Vec<Scenario> {
    vec![
        Scenario::new("4.6.1 what is no command is judged as ever", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.desktop_leaves().await;
            pair.send_text("{").await;
            pair.told("invalid_payload", None, None).await;
            pair.refused(&json!({ "type": "ping" }), "invalid_command").await;
            let mut event = pair.good(1);
            event["payload"]["type"] = json!("event");
            pair.refused(&event, "invalid_command").await;
        }),
        Scenario::new("4.6.1 desktop_offline takes no number and no budget", |w| async move {
            let w = w.with(&[("MAX_REMOTE_COMMANDS_PER_MINUTE", "1")]);
            let mut pair = Pair::of(&w).await;
            pair.desktop_leaves().await;
            for seq in [1, 2, 1] {
                pair.refused(&pair.good(seq), "desktop_offline").await;
            }
            pair.desktop_returns().await;
            pair.passes(&pair.good(1)).await;
        }),
        Scenario::new("4.6.1 desktop_offline of snapshots takes no budget", |w| async move {
            let w = w.with(&[("MAX_SNAPSHOT_REQUESTS_PER_MINUTE", "1")]);
            let mut pair = Pair::of(&w).await;
            pair.desktop_leaves().await;
            for _ in 0..2 {
                pair.refused(&pair.snapshot(&json!({})), "desktop_offline").await;
            }
            pair.desktop_returns().await;
            pair.passes(&pair.snapshot(&json!({}))).await;
        }),
        Scenario::new("4.6.1 nothing refused is kept for the desktop", |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.desktop_leaves().await;
            pair.refused(&pair.good(1), "desktop_offline").await;
            pair.desktop_returns().await;
            pair.passes(&pair.good(2)).await;
        }),
    ]
}

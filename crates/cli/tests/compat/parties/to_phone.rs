//! Section 4.4: what a phone is told by the relay.

use belay_testkit::compat::{Phone, Wire};
use serde_json::{Value, json};

use crate::{
    auth::{desktop_heard_nothing, has_only, neighbour, phone_heard_nothing, second_phone},
    scenario::Scenario,
    world::{Desk, World},
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = statuses();
    all.extend(errors());
    all
}

fn status_of(w: &World, is_connected: bool) -> Value {
    json!({
        "type": "relay.desktop_status", "sessionID": w.session, "desktopConnected": is_connected,
    })
}

async fn leaves(desk: &mut Desk) {
    let fresh = desk.net.open().await;
    std::mem::replace(&mut desk.wire, fresh).close().await;
}

fn statuses() -> Vec<Scenario> {
    vec![
        Scenario::new("4.4 desktop_status when the desktop goes and comes", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            leaves(&mut desk).await;
            assert_eq!(phone.message().await, status_of(&w, false));
            desk.wire.auth(&desk.desktop.token).await;
            assert_eq!(phone.message().await, status_of(&w, true));
        }),
        Scenario::new("4.4 desktop_status goes to each phone", |w| async move {
            let (mut desk, mut first, _) = w.connected().await;
            let (mut second, _) = second_phone(&mut desk).await;
            leaves(&mut desk).await;
            for phone in [&mut first, &mut second] {
                assert_eq!(phone.message().await, status_of(&w, false));
            }
        }),
        Scenario::new("4.4 desktop_status, then what the desktop says", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            leaves(&mut desk).await;
            phone.until("relay.desktop_status").await;
            desk.wire.auth(&desk.desktop.token).await;
            let hello = desk.desktop.hello();
            desk.wire.send(&hello).await;
            assert_eq!(phone.message().await, status_of(&w, true));
            assert_eq!(phone.message().await, hello);
        }),
        Scenario::new("4.4 no desktop_status when another phone comes or goes", |w| async move {
            let (mut desk, mut first, _) = w.connected().await;
            let (second, _) = second_phone(&mut desk).await;
            second.close().await;
            desk.wire.until("relay.device_count").await;
            phone_heard_nothing(&mut first).await;
        }),
        Scenario::new("4.4 desktop_status of another session is not told", |w| async move {
            let (_desk, mut phone, _) = w.connected().await;
            let (mut desk, mut theirs, _) = neighbour(&w).connected().await;
            leaves(&mut desk).await;
            theirs.until("relay.desktop_status").await;
            phone_heard_nothing(&mut phone).await;
        }),
    ]
}

fn errors() -> Vec<Scenario> {
    vec![
        Scenario::new("4.4 relay.error of a command names it", |w| async move {
            let (_desk, mut phone, paired) = w.connected().await;
            let mut hand = Phone::new(&paired.joined);
            let told = refused(&mut phone, &hand.command("thread.delete", &json!({}))).await;
            has_only(&told, &["type", "error", "message", "commandID", "seq"]);
            assert_eq!(told["error"], "invalid_command");
            assert_eq!((&told["commandID"], &told["seq"]), (&json!("cmd-1"), &json!(1)));
        }),
        Scenario::new("4.4 relay.error of what has neither commandID nor seq", |w| async move {
            let (_desk, mut phone, _) = w.connected().await;
            let told = refused(&mut phone, &json!("text")).await;
            has_only(&told, &["type", "error", "message"]);
            assert_eq!(told["error"], "invalid_payload");
        }),
        Scenario::new("4.4 relay.error of an envelope with a seq only", |w| async move {
            let (_desk, mut phone, _) = w.connected().await;
            let envelope = json!({ "schemaVersion": 2, "sessionID": w.session, "seq": 9 });
            let told = refused(&mut phone, &envelope).await;
            has_only(&told, &["type", "error", "message", "seq"]);
            assert_eq!(told["seq"], 9);
        }),
        Scenario::new("4.4 relay.error of a snapshot request", |w| async move {
            let (_desk, mut phone, _) = w.connected().await;
            let request = json!({
                "type": "relay.snapshot_request", "sessionID": w.session, "lastSeq": -1,
            });
            let told = refused(&mut phone, &request).await;
            has_only(&told, &["type", "error", "message"]);
            assert_eq!(told["error"], "invalid_snapshot_request");
        }),
        Scenario::new("4.4 relay.error while the desktop is away", |w| async move {
            let (mut desk, mut phone, paired) = w.connected().await;
            leaves(&mut desk).await;
            phone.until("relay.desktop_status").await;
            let command =
                Phone::new(&paired.joined).command("thread.select", &json!({ "threadID": "t-1" }));
            let told = refused(&mut phone, &command).await;
            has_only(&told, &["type", "error", "message", "commandID", "seq"]);
            assert_eq!(told["error"], "desktop_offline");
            assert_eq!(told["message"], "Mac is offline. Reconnect desktop and try again.");
        }),
        Scenario::new("4.4 relay.error goes to the one who sent it", |w| async move {
            let (mut desk, mut first, _) = w.connected().await;
            let (mut second, _) = second_phone(&mut desk).await;
            refused(&mut first, &json!({})).await;
            phone_heard_nothing(&mut second).await;
            desktop_heard_nothing(&mut desk.wire).await;
        }),
        Scenario::new("4.4 relay.error is the next frame after what is refused", |w| async move {
            let (mut desk, mut phone, paired) = w.connected().await;
            let mut hand = Phone::new(&paired.joined);
            for seq in 1..=10 {
                let told = refused(&mut phone, &hand.command("thread.delete", &json!({}))).await;
                assert_eq!(told["seq"], seq, "answers come in order");
            }
            desktop_heard_nothing(&mut desk.wire).await;
        }),
    ]
}

/// Sends what is refused and gives the answer, which is the next frame.
async fn refused(phone: &mut Wire, message: &Value) -> Value {
    phone.send(message).await;
    let told = phone.message().await;
    assert_eq!(told["type"], "relay.error", "{told}");
    assert!(told["message"].as_str().is_some_and(|m| !m.is_empty()), "{told}");
    told
}

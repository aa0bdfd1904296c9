//! Section 2.4 with rulings 10 and 5: a session id that is started once more.

use belay_testkit::compat::Answer;
use serde_json::json;

use crate::{
    bodies::check::{STARTED, accepted, refused},
    scenario::Scenario,
    world::World,
};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = others();
    all.extend(own());
    all
}

/// Another desktop that found out the session id.
async fn taken(w: &World) -> Answer {
    let mut body = w.desktop().start();
    body["desktopSessionToken"] = json!("another-desktop-0123456789abcdef");
    body["joinToken"] = json!("another-join-token-0123456789");
    w.native().post("/pair/start", &body).await
}

fn others() -> Vec<Scenario> {
    vec![
        Scenario::new("2.4 409 session_already_active with its desktop there", |w| async move {
            let mut desk = w.open().await;
            refused(&taken(&w).await, 409, "session_already_active");
            let phone = desk.pair().await;
            w.page().open().await.auth(&phone.token).await;
        }),
        Scenario::new("2.4 409 session_already_active with a paired device", |w| async move {
            let (desk, phone) = w.paired().await;
            desk.wire.close().await;
            refused(&taken(&w).await, 409, "session_already_active");
            w.page().open().await.auth(&phone.token).await;
        }),
        Scenario::new("2.4 409 session_already_active with nobody there", |w| async move {
            let desktop = w.started().await;
            refused(&taken(&w).await, 409, "session_already_active");
            assert_eq!(w.native().post("/devices/list", &desktop.own()).await.status, 200);
        }),
        Scenario::new("2.4 an ended session's id is free", |w| async move {
            let desktop = w.started().await;
            assert_eq!(w.native().post("/pair/stop", &desktop.own()).await.status, 200);
            accepted(&taken(&w).await, &STARTED);
        }),
    ]
}

fn own() -> Vec<Scenario> {
    vec![
        Scenario::new("2.4 the own session keeps its devices", |w| async move {
            let (desk, phone) = w.paired().await;
            let answer = desk.net.post("/pair/start", &desk.desktop.start()).await;
            accepted(&answer, &STARTED);
            let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
            assert_eq!(list.body["devices"][0]["deviceID"], json!(phone.device), "{}", list.text);
            w.page().open().await.auth(&phone.token).await;
        }),
        Scenario::new("2.4 the own session keeps its sockets", |w| async move {
            let (mut desk, mut wire, _) = w.connected().await;
            desk.net.post("/pair/start", &desk.desktop.start()).await;
            let hello = desk.desktop.hello();
            desk.wire.send(&hello).await;
            assert_eq!(wire.message().await, hello);
        }),
        Scenario::new("2.4 the own session has the new join token", |w| async move {
            let mut desk = w.open().await;
            let former = desk.desktop.join_token.clone();
            desk.desktop.join_token = String::from("join-token-2-0123456789abcdef");
            desk.net.post("/pair/start", &desk.desktop.start()).await;
            let body = json!({ "sessionID": desk.session(), "joinToken": former });
            refused(&desk.page.post("/pair/join", &body).await, 403, "invalid_join_token");
            desk.pair().await;
        }),
        Scenario::new("2.4 the own session lets the next phone in", |w| async move {
            let (mut desk, first) = w.paired().await;
            desk.net.post("/pair/start", &desk.desktop.start()).await;
            let second = desk.pair().await;
            assert_ne!(first.device, second.device);
        }),
        Scenario::new("2.4 the own session takes another relayWebSocketURL", |w| async move {
            let mut desk = w.open().await;
            let mut body = desk.desktop.start();
            body["relayWebSocketURL"] = json!("wss://other.example.org/ws");
            let answer = desk.net.post("/pair/start", &body).await;
            assert_eq!(answer.body["wsURL"], "wss://other.example.org/ws");
            assert_eq!(desk.pair().await.joined["wsURL"], "wss://other.example.org/ws");
        }),
    ]
}

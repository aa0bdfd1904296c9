//! `/pair/stop`: a session ends.

use serde_json::json;

use crate::{
    bodies::check::{accepted, refused},
    scenario::Scenario,
    world::World,
};

const STOPPED: (&str, u16) = ("stopped_by_desktop", 1008);
const EXPIRED: (&str, u16) = ("session_expired", 1008);

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = answers();
    all.extend(ends());
    all
}

fn answers() -> Vec<Scenario> {
    vec![
        Scenario::new("2.6 stop 200 members", |w| async move {
            let desktop = w.started().await;
            let answer = w.native().post("/pair/stop", &desktop.own()).await;
            accepted(&answer, &["sessionID"]);
            assert_eq!(answer.body["sessionID"], json!(w.session));
        }),
        Scenario::new("2.6 stop 200 of a session that is unknown", |w| async move {
            let answer = w.native().post("/pair/stop", &w.desktop().own()).await;
            accepted(&answer, &["sessionID"]);
            assert_eq!(answer.body["sessionID"], json!(w.session));
        }),
        Scenario::new("2.6 stop 200 twice", |w| async move {
            let (desktop, net) = (w.started().await, w.native());
            for _ in 0..2 {
                accepted(&net.post("/pair/stop", &desktop.own()).await, &["sessionID"]);
            }
        }),
    ]
}

fn ends() -> Vec<Scenario> {
    vec![
        Scenario::new("2.6 stop tells and closes everybody", |w| async move {
            let (mut desk, mut first, _) = w.connected().await;
            desk.refresh().await;
            let mut phone = desk.pair().await;
            let mut second = desk.connect(&mut phone).await;
            desk.net.post("/pair/stop", &desk.desktop.own()).await;
            for wire in [&mut desk.wire, &mut first, &mut second] {
                let (reason, code) = wire.ended().await;
                assert_eq!((reason.as_str(), code), STOPPED);
            }
        }),
        Scenario::new("2.6 stop leaves other sessions alone", |w| async move {
            let other = World { relay: w.relay.clone(), session: format!("{}-b", w.session) };
            let (mut desk, mut wire, _) = other.connected().await;
            let desktop = w.started().await;
            w.native().post("/pair/stop", &desktop.own()).await;
            let hello = desk.desktop.hello();
            desk.wire.send(&hello).await;
            assert_eq!(wire.message().await, hello);
        }),
        Scenario::new("2.6 stop ends the desktop's token", |w| async move {
            let desktop = w.started().await;
            w.native().post("/pair/stop", &desktop.own()).await;
            is_dead(&w, &desktop.token).await;
        }),
        Scenario::new("2.6 stop ends the tokens of phones", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            let former = phone.token.clone();
            let wire = desk.connect(&mut phone).await;
            wire.close().await;
            desk.net.post("/pair/stop", &desk.desktop.own()).await;
            for token in [&former, &phone.token] {
                is_dead(&w, token).await;
            }
        }),
        Scenario::new(
            "2.6 stop ends the tokens of phones for a session of that id",
            |w| async move {
                let (desk, phone) = w.paired().await;
                desk.net.post("/pair/stop", &desk.desktop.own()).await;
                assert_eq!(desk.net.post("/pair/start", &desk.desktop.start()).await.status, 200);
                is_dead(&w, &phone.token).await;
                let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
                assert_eq!(list.body["devices"], json!([]));
            },
        ),
        Scenario::new("2.6 stop ends the join token", |w| async move {
            let mut desk = w.open().await;
            desk.net.post("/pair/stop", &desk.desktop.own()).await;
            refused(&desk.joining().await.expect("ran"), 404, "session_not_found");
            for path in ["/devices/list", "/devices/revoke", "/pair/refresh"] {
                let body = crate::bodies::check::body(path, &desk.desktop);
                refused(&desk.net.post(path, &body).await, 404, "session_not_found");
            }
            assert_eq!(desk.wire.ended().await.0, STOPPED.0);
        }),
    ]
}

pub(super) async fn is_dead(w: &World, token: &str) {
    let mut wire = w.page().open().await;
    wire.send(&json!({ "type": "relay.auth", "token": token })).await;
    let (reason, code) = wire.ended().await;
    assert_eq!((reason.as_str(), code), EXPIRED);
}

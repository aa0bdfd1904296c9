//! `/pair/refresh`: a new join token for a session that runs.

use belay_testkit::unix_ms;
use serde_json::{Value, json};

use crate::{
    bodies::check::{accepted, refused, refused_saying},
    pairing::{
        decide, expiring,
        time::{passed, rfc3339},
    },
    scenario::Scenario,
    world::Desk,
};

/// Row S129 of `rows.md`: how many devices are paired, and how many may be.
pub(super) const COUNTS: [&str; 2] = ["usedDevices", "allowedDevices"];

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = answers();
    all.extend(tokens());
    all.extend(times());
    all
}

fn answers() -> Vec<Scenario> {
    vec![
        Scenario::new("2.6 refresh 200 members", |w| async move {
            let mut desk = w.open().await;
            let started = desk.net.post("/pair/start", &desk.desktop.start()).await;
            let answer = desk.refresh().await;
            accepted(&answer, &["sessionID", "wsURL", COUNTS[0], COUNTS[1]]);
            assert_eq!(answer.body["sessionID"], json!(w.session));
            assert_eq!(answer.body["wsURL"], started.body["wsURL"]);
            assert_eq!(counts(&answer.body), (0, 2));
            desk.pair().await;
            assert_eq!(counts(&desk.refresh().await.body), (1, 2));
        }),
        Scenario::new("2.6 refresh with the desktop away", |w| async move {
            let mut desktop = w.started().await;
            let answer = w.native().post("/pair/refresh", &desktop.refresh()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let mut wire = w.native().open().await;
            wire.auth(&desktop.token).await;
            let mut desk = Desk { desktop, wire, net: w.native(), page: w.page() };
            desk.pair().await;
        }),
        Scenario::new("2.6 refresh ignores relayWebSocketURL", |w| async move {
            let mut desk = w.open().await;
            let mut body = desk.desktop.refresh();
            body["relayWebSocketURL"] = json!("wss://other.example.org/ws");
            let answer = desk.net.post("/pair/refresh", &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_ne!(answer.body["wsURL"], "wss://other.example.org/ws");
            assert_eq!(desk.pair().await.joined["wsURL"], answer.body["wsURL"]);
        }),
        Scenario::new("2.6 refresh leaves sockets and devices alone", |w| async move {
            let (mut desk, mut wire, phone) = w.connected().await;
            desk.refresh().await;
            let hello = desk.desktop.hello();
            desk.wire.send(&hello).await;
            assert_eq!(wire.message().await, hello);
            let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
            let device = &list.body["devices"][0];
            assert_eq!(device["deviceID"], json!(phone.device), "{}", list.text);
            assert_eq!(device["connected"], true, "{}", list.text);
            w.page().open().await.auth(&phone.token).await;
        }),
    ]
}

fn counts(body: &Value) -> (u64, u64) {
    let number = |name: &str| body[name].as_u64().expect("a number");
    (number(COUNTS[0]), number(COUNTS[1]))
}

fn tokens() -> Vec<Scenario> {
    vec![
        Scenario::new("2.6 refresh replaces the join token", |w| async move {
            let mut desk = w.open().await;
            let former = desk.desktop.join_token.clone();
            desk.refresh().await;
            let body = json!({ "sessionID": w.session, "joinToken": former });
            let answer = desk.page.post("/pair/join", &body).await;
            refused(&answer, 403, "invalid_join_token");
            desk.pair().await;
        }),
        Scenario::new("2.6 refresh clears that the token was used", |w| async move {
            let (mut desk, first) = w.paired().await;
            assert_eq!(desk.joining().await.expect("ran").error(), "join_token_already_used");
            desk.refresh().await;
            assert_ne!(desk.pair().await.device, first.device);
        }),
        Scenario::new("2.6 refresh with the same token clears that it was used", |w| async move {
            let (mut desk, _) = w.paired().await;
            let mut body = desk.desktop.own();
            body["joinToken"] = json!(desk.desktop.join_token);
            body["joinTokenExpiresAt"] = json!("2100-01-01T00:00:00Z");
            assert_eq!(desk.net.post("/pair/refresh", &body).await.status, 200);
            desk.pair().await;
        }),
        Scenario::new("2.6 refresh makes an expired session joinable", |w| async move {
            let mut desk = w.open().await;
            passed(expiring(&desk.net, &mut desk.desktop).await).await;
            assert_eq!(desk.joining().await.expect("ran").error(), "join_token_expired");
            desk.refresh().await;
            desk.pair().await;
        }),
        Scenario::new("2.6 a waiting phone does not use the new token up", |w| async move {
            let mut desk = w.open().await;
            let first = desk.joining();
            // The first phone redeems the former token, whether it is let in or not.
            let request = desk.wire.until("relay.pair_request").await;
            desk.refresh().await;
            decide(&mut desk, &request, true).await;
            first.await.expect("ran");
            let mut second = desk.joining();
            tokio::select! {
                request = desk.wire.until("relay.pair_request") => {
                    decide(&mut desk, &request, true).await;
                }
                answer = &mut second => panic!("{}", answer.expect("ran").text),
            }
            assert_eq!(second.await.expect("ran").status, 200);
        }),
    ]
}

fn times() -> Vec<Scenario> {
    let mut all = Vec::new();
    for text in ["", "tomorrow", "2100-01-01", "4102444800"] {
        let row = format!("2.6 400 refresh invalid_pair_refresh joinTokenExpiresAt {text:?}");
        all.push(Scenario::new(row, move |w| async move {
            let mut desktop = w.started().await;
            let mut body = desktop.refresh();
            body["joinTokenExpiresAt"] = json!(text);
            let answer = w.native().post("/pair/refresh", &body).await;
            refused(&answer, 400, "invalid_pair_refresh");
        }));
    }
    all.push(Scenario::new("2.6 400 refresh expired_join_token", |w| async move {
        let mut desk = w.open().await;
        let former = desk.desktop.join_token.clone();
        for past in ["2020-01-01T00:00:00Z".to_owned(), rfc3339(unix_ms() - 1)] {
            let mut body = desk.desktop.refresh();
            body["joinTokenExpiresAt"] = json!(past);
            let answer = desk.net.post("/pair/refresh", &body).await;
            refused(&answer, 400, "expired_join_token");
        }
        // What is refused changes nothing.
        desk.desktop.join_token = former;
        desk.pair().await;
    }));
    all.push(Scenario::new("2.6 refresh sets when the token expires", |w| async move {
        let mut desk = w.open().await;
        passed(expiring(&desk.net, &mut desk.desktop).await).await;
        let answer = desk.joining().await.expect("ran");
        refused_saying(&answer, 410, "join_token_expired", "Join token has expired.");
    }));
    all
}

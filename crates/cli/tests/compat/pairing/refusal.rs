//! Section 2.5: joins that are refused at once, and which reason is told first.

use belay_testkit::compat::Answer;
use serde_json::json;

use super::{
    expiring,
    join::{USED, decide},
    time::passed,
};
use crate::{
    bodies::check::{refused, refused_saying, refused_with},
    scenario::Scenario,
    world::World,
};

const ABSENT: &str =
    "Desktop is not connected to relay. Re-open Remote Control on desktop and retry.";

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = simple();
    all.extend(tokens());
    all.extend(caps());
    all
}

async fn join(w: &World, session: &str, token: &str) -> Answer {
    let body = json!({ "sessionID": session, "joinToken": token });
    w.page().post("/pair/join", &body).await
}

const NOBODYS: &str = "join-token-of-nobody-0123456789";

fn simple() -> Vec<Scenario> {
    let mut all: Vec<_> = [("sessionID", 16), ("joinToken", 22)]
        .into_iter()
        .map(|(name, least)| {
            Scenario::new(format!("2.5 400 invalid_pair_join {name}"), move |w| async move {
                let page = w.page();
                for text in ["a".repeat(least - 1), "a".repeat(513), format!("{}+", "a".repeat(30))]
                {
                    let mut body = json!({ "sessionID": w.session, "joinToken": NOBODYS });
                    body[name] = json!(text);
                    let told = "sessionID and joinToken are required.";
                    let answer = page.post("/pair/join", &body).await;
                    refused_saying(&answer, 400, "invalid_pair_join", told);
                }
            })
        })
        .collect();
    all.push(Scenario::new("2.5 404 session_not_found", |w| async move {
        let answer = join(&w, "session-of-nobody-0123456789", NOBODYS).await;
        refused_saying(&answer, 404, "session_not_found", "Remote session not found.");
    }));
    all.push(Scenario::new("2.5 403 invalid_join_token", |w| async move {
        let desk = w.open().await;
        let same_size = desk.desktop.join_token.replace('1', "2");
        let longer = format!("{}x", desk.desktop.join_token);
        for token in [NOBODYS, &same_size, &longer, &desk.desktop.token] {
            let answer = join(&w, &w.session, token).await;
            refused_saying(&answer, 403, "invalid_join_token", "Join token is invalid.");
        }
    }));
    all.push(Scenario::new("2.5 403 the join token of another session", |w| async move {
        let other = World { relay: w.relay.clone(), session: format!("{}-b", w.session) };
        let (_desk, other) = (w.open().await, other.open().await);
        let answer = join(&w, &w.session, &other.desktop.join_token).await;
        refused(&answer, 403, "invalid_join_token");
    }));
    all.push(Scenario::new("2.5 409 desktop_not_connected before", |w| async move {
        let desktop = w.started().await;
        let answer = join(&w, &w.session, &desktop.join_token).await;
        refused_saying(&answer, 409, "desktop_not_connected", ABSENT);
    }));
    all.push(Scenario::new("2.5 409 desktop_not_connected after it left", |w| async move {
        let desk = w.open().await;
        let token = desk.desktop.join_token.clone();
        desk.wire.close().await;
        let answer = join(&w, &w.session, &token).await;
        refused_saying(&answer, 409, "desktop_not_connected", ABSENT);
    }));
    all
}

fn is_expired(answer: &Answer) {
    refused_saying(answer, 410, "join_token_expired", "Join token has expired.");
}

fn tokens() -> Vec<Scenario> {
    vec![
        Scenario::new("2.5 410 join_token_expired before", |w| async move {
            let mut desk = w.open().await;
            passed(expiring(&desk.net, &mut desk.desktop).await).await;
            is_expired(&desk.joining().await.expect("ran"));
        }),
        Scenario::new("2.5 410 join_token_expired at the approval", |w| async move {
            let mut desk = w.open().await;
            let end = expiring(&desk.net, &mut desk.desktop).await;
            let joining = desk.joining();
            let request = desk.wire.until("relay.pair_request").await;
            passed(end).await;
            decide(&mut desk, &request, true).await;
            is_expired(&joining.await.expect("ran"));
            let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
            assert_eq!(list.body["devices"], json!([]));
        }),
        Scenario::new("2.5 410 comes before desktop_not_connected", |w| async move {
            let mut desk = w.open().await;
            let end = expiring(&desk.net, &mut desk.desktop).await;
            let token = desk.desktop.join_token.clone();
            desk.wire.close().await;
            passed(end).await;
            is_expired(&join(&w, &w.session, &token).await);
        }),
        Scenario::new("2.5 410 comes before join_token_already_used", |w| async move {
            let mut desk = w.open().await;
            let end = expiring(&desk.net, &mut desk.desktop).await;
            desk.pair().await;
            passed(end).await;
            is_expired(&desk.joining().await.expect("ran"));
        }),
        Scenario::new("2.5 403 of a wrong token comes before what is told of it", |w| async move {
            let mut desk = w.open().await;
            let end = expiring(&desk.net, &mut desk.desktop).await;
            desk.pair().await;
            refused(&join(&w, &w.session, NOBODYS).await, 403, "invalid_join_token");
            passed(end).await;
            refused(&join(&w, &w.session, NOBODYS).await, 403, "invalid_join_token");
            desk.wire.close().await;
            refused(&join(&w, &w.session, NOBODYS).await, 403, "invalid_join_token");
        }),
        Scenario::new("2.5 409 join_token_already_used without a desktop", |w| async move {
            let (desk, _) = w.paired().await;
            let token = desk.desktop.join_token.clone();
            desk.wire.close().await;
            let answer = join(&w, &w.session, &token).await;
            refused_saying(&answer, 409, "join_token_already_used", USED);
        }),
    ]
}

/// The members `used` and `allowed` are row S129 of `rows.md`.
fn is_full(answer: &Answer, most: u64) {
    let message = refused_with(answer, 409, "device_cap_reached", &["used", "allowed"]);
    assert_eq!(message, format!("This session allows at most {most} connected devices."));
    assert_eq!((&answer.body["used"], &answer.body["allowed"]), (&json!(most), &json!(most)));
}

fn caps() -> Vec<Scenario> {
    vec![
        Scenario::new("2.5 409 device_cap_reached with 2 devices", |w| async move {
            let (mut desk, _) = w.paired().await;
            desk.refresh().await;
            desk.pair().await;
            desk.refresh().await;
            // Neither of the two is connected: those that are paired count.
            is_full(&desk.joining().await.expect("ran"), 2);
        }),
        Scenario::new("2.5 409 device_cap_reached MAX_DEVICES_PER_SESSION", |w| async move {
            let w = w.with(&[("MAX_DEVICES_PER_SESSION", "1")]);
            let (mut desk, _) = w.paired().await;
            assert_eq!(desk.joining().await.expect("ran").error(), "join_token_already_used");
            desk.refresh().await;
            is_full(&desk.joining().await.expect("ran"), 1);
        }),
        Scenario::new("2.5 409 device_cap_reached comes before the desktop", |w| async move {
            let w = w.with(&[("MAX_DEVICES_PER_SESSION", "1")]);
            let (mut desk, _) = w.paired().await;
            desk.refresh().await;
            let token = desk.desktop.join_token.clone();
            desk.wire.close().await;
            is_full(&join(&w, &w.session, &token).await, 1);
        }),
        Scenario::new("2.5 a revoked device leaves its place", |w| async move {
            let w = w.with(&[("MAX_DEVICES_PER_SESSION", "1")]);
            let (mut desk, phone) = w.paired().await;
            let mut body = desk.desktop.own();
            body["deviceID"] = json!(phone.device);
            assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
            desk.refresh().await;
            desk.pair().await;
        }),
    ]
}

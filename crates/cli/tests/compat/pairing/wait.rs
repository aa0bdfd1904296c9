//! Section 2.5: how a waiting join ends without an approval, and how long it may wait.

use std::time::{Duration, Instant};

use belay_testkit::unix_ms;
use serde_json::json;

use super::{
    join::decide,
    time::{rfc3339, whole_seconds},
};
use crate::{
    bodies::check::{refused, refused_saying},
    scenario::Scenario,
    world::World,
};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = ends();
    all.extend(limits());
    all.extend(times());
    all
}

fn ends() -> Vec<Scenario> {
    vec![
        Scenario::new("2.5 403 pair_request_denied", |w| async move {
            let mut desk = w.open().await;
            let joining = desk.joining();
            desk.decide(false).await;
            let answer = joining.await.expect("ran");
            let text = "Desktop denied this pairing request.";
            refused_saying(&answer, 403, "pair_request_denied", text);
            let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
            assert_eq!(list.body["devices"], json!([]));
        }),
        Scenario::new("2.5 409 desktop_not_connected while waiting", |w| async move {
            let mut desk = w.open().await;
            let joining = desk.joining();
            desk.wire.until("relay.pair_request").await;
            desk.wire.close().await;
            let answer = joining.await.expect("ran");
            let text = "Desktop disconnected before pairing could be approved.";
            refused_saying(&answer, 409, "desktop_not_connected", text);
        }),
        Scenario::new("2.5 409 desktop_not_connected when its line breaks", |w| async move {
            let mut desk = w.open().await;
            let joining = desk.joining();
            desk.wire.until("relay.pair_request").await;
            drop(desk.wire);
            refused(&joining.await.expect("ran"), 409, "desktop_not_connected");
        }),
        Scenario::new(
            "2.5 a join token that nobody could approve is not used up",
            |w| async move {
                let mut desk = w.open().await;
                let joining = desk.joining();
                desk.wire.until("relay.pair_request").await;
                desk.wire.close().await;
                joining.await.expect("ran");
                desk.wire = w.native().open().await;
                desk.wire.auth(&desk.desktop.token).await;
                desk.pair().await;
            },
        ),
        Scenario::new("2.5 408 pair_request_timed_out after at least 5 s", |w| async move {
            let w = w.with(&[("PAIR_APPROVAL_TIMEOUT_MS", "300")]);
            let mut desk = w.open().await;
            let since = Instant::now();
            let joining = desk.joining();
            let request = desk.wire.until("relay.pair_request").await;
            let answer = joining.await.expect("ran");
            let text = "Desktop pairing approval timed out.";
            refused_saying(&answer, 408, "pair_request_timed_out", text);
            assert!(since.elapsed() >= Duration::from_secs(5), "{:?}", since.elapsed());
            assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
            // An approval that comes too late lets nobody in, and the next phone can ask.
            decide(&mut desk, &request, true).await;
            desk.wire.until("relay.pair_result").await;
            desk.pair().await;
            let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
            assert_eq!(list.body["devices"].as_array().map(Vec::len), Some(1));
        }),
    ]
}

const FULL: &str = "Relay is handling too many pending pairing approvals. Retry shortly.";

fn limits() -> Vec<Scenario> {
    vec![
        Scenario::new("2.5 503 pairing_backpressure", |w| async move {
            let w = w.with(&[("MAX_PENDING_JOIN_WAITERS", "1")]);
            let other = World { relay: w.relay.clone(), session: format!("{}-b", w.session) };
            let (mut one, mut two) = (w.open().await, other.open().await);
            let joining = one.joining();
            let request = one.wire.until("relay.pair_request").await;
            let answer = two.joining().await.expect("ran");
            refused_saying(&answer, 503, "pairing_backpressure", FULL);
            decide(&mut one, &request, true).await;
            assert_eq!(joining.await.expect("ran").status, 200);
            two.pair().await;
        }),
        Scenario::new("2.5 503 comes before the session and its token", |w| async move {
            let w = w.with(&[("MAX_PENDING_JOIN_WAITERS", "1")]);
            let mut desk = w.open().await;
            let joining = desk.joining();
            let request = desk.wire.until("relay.pair_request").await;
            let nobodys = json!({
                "sessionID": "session-of-nobody-0123456789",
                "joinToken": "join-token-of-nobody-0123456789",
            });
            let answer = desk.page.post("/pair/join", &nobodys).await;
            refused(&answer, 503, "pairing_backpressure");
            let shapeless = json!({ "sessionID": "short", "joinToken": "short" });
            let answer = desk.page.post("/pair/join", &shapeless).await;
            refused(&answer, 400, "invalid_pair_join");
            decide(&mut desk, &request, false).await;
            joining.await.expect("ran");
        }),
    ]
}

/// Seconds between `requestedAt` and `expiresAt` of a pair request.
async fn asked_for(w: &World, token_ms: Option<u64>) -> i64 {
    let (net, page, desktop) = (w.native(), w.page(), w.desktop());
    let mut body = desktop.start();
    if let Some(ms) = token_ms {
        body["joinTokenExpiresAt"] = json!(rfc3339(unix_ms() + ms));
    }
    assert_eq!(net.post("/pair/start", &body).await.status, 200);
    let mut wire = net.open().await;
    wire.auth(&desktop.token).await;
    let join = json!({ "sessionID": w.session, "joinToken": desktop.join_token });
    let joining = tokio::spawn(async move { page.post("/pair/join", &join).await });
    let request = wire.until("relay.pair_request").await;
    joining.abort();
    let at = |name: &str| whole_seconds(request[name].as_str().expect("a time"));
    let now = i64::try_from(unix_ms() / 1_000).expect("a time");
    assert!((now - at("requestedAt")).abs() <= 5, "{request}");
    at("expiresAt") - at("requestedAt")
}

fn times() -> Vec<Scenario> {
    vec![
        Scenario::new("2.5 waits 45 s", |w| async move {
            assert_eq!(asked_for(&w, None).await, 45);
        }),
        Scenario::new("2.5 waits PAIR_APPROVAL_TIMEOUT_MS", |w| async move {
            let w = w.with(&[("PAIR_APPROVAL_TIMEOUT_MS", "9000")]);
            assert_eq!(asked_for(&w, None).await, 9);
        }),
        Scenario::new("2.5 waits as long as the join token counts", |w| async move {
            let waits = asked_for(&w, Some(20_000)).await;
            assert!((15..=20).contains(&waits), "{waits}");
        }),
        Scenario::new("2.5 waits 5 s at least", |w| async move {
            assert_eq!(asked_for(&w, Some(4_000)).await, 5);
        }),
        Scenario::new(
            "2.5 waits 5 s at least with PAIR_APPROVAL_TIMEOUT_MS 1000",
            |w| async move {
                let w = w.with(&[("PAIR_APPROVAL_TIMEOUT_MS", "1000")]);
                assert_eq!(asked_for(&w, None).await, 5);
            },
        ),
    ]
}

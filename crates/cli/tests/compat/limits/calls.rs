//! Limits of HTTP calls.

use belay_testkit::compat::Answer;
use serde_json::{Value, json};

use crate::{
    auth::{has_only, neighbour},
    scenario::Scenario,
};

/// An error body with these members, and the message.
fn is_error(answer: &Answer, status: u16, error: &str, message: &str) {
    assert_eq!((answer.status, answer.error()), (status, error), "{}", answer.text);
    assert_eq!(answer.body["message"], message);
    assert_eq!(answer.header("cache-control"), "no-store");
}

pub(super) fn all() -> Vec<Scenario> {
    let mut all = of_pairing();
    all.extend(of_rates());
    all.extend(of_bodies());
    all
}

fn of_pairing() -> Vec<Scenario> {
    vec![
        Scenario::new("4.8 MAX_DEVICES_PER_SESSION: one more phone is refused", |w| async move {
            let w = w.with(&[("MAX_DEVICES_PER_SESSION", "1")]);
            let (mut desk, phone) = w.paired().await;
            desk.refresh().await;
            let answer = desk.joining().await.expect("ran");
            let text = "This session allows at most 1 connected devices.";
            is_error(&answer, 409, "device_cap_reached", text);
            // Paired phones are counted, connected or not; a revoked one makes room.
            let mut body = desk.desktop.own();
            body["deviceID"] = json!(phone.device);
            assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
            desk.pair().await;
        }),
        Scenario::new("4.8 MAX_DEVICES_PER_SESSION: three may be three", |w| async move {
            let w = w.with(&[("MAX_DEVICES_PER_SESSION", "3")]);
            let (mut desk, _first, _) = w.connected().await;
            let (_second, _) = crate::auth::second_phone(&mut desk).await;
            let (_third, _) = crate::auth::second_phone(&mut desk).await;
            desk.refresh().await;
            let answer = desk.joining().await.expect("ran");
            let text = "This session allows at most 3 connected devices.";
            is_error(&answer, 409, "device_cap_reached", text);
        }),
        Scenario::new("4.8 MAX_PENDING_JOIN_WAITERS: one more call is refused", |w| async move {
            let w = w.with(&[("MAX_PENDING_JOIN_WAITERS", "1")]);
            let mut desk = w.open().await;
            let waiting = desk.joining();
            desk.wire.until("relay.pair_request").await;
            let mut other = neighbour(&w).open().await;
            let answer = other.joining().await.expect("ran");
            let text = "Relay is handling too many pending pairing approvals. Retry shortly.";
            is_error(&answer, 503, "pairing_backpressure", text);
            has_only(&answer.body, &["error", "message"]);
            crate::auth::desktop_heard_nothing(&mut other.wire).await;
            waiting.abort();
        }),
        Scenario::new("4.8 MAX_PENDING_JOIN_WAITERS: the place is free after it", |w| async move {
            let w = w.with(&[("MAX_PENDING_JOIN_WAITERS", "1")]);
            let mut desk = w.open().await;
            for _ in 0..3 {
                let joining = desk.joining();
                desk.decide(false).await;
                assert_eq!(joining.await.expect("ran").error(), "pair_request_denied");
            }
            neighbour(&w).open().await.pair().await;
        }),
    ]
}

const THREE: &[(&str, &str)] = &[("MAX_PAIR_REQUESTS_PER_MINUTE", "3")];

fn of_rates() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "4.8 MAX_PAIR_REQUESTS_PER_MINUTE: one more call is refused",
            |w| async move {
                let w = w.with(THREE);
                let start = w.desktop().start();
                for _ in 0..3 {
                    assert_eq!(w.native().post("/pair/start", &start).await.status, 200);
                }
                let answer = w.native().post("/pair/start", &start).await;
                let text = "Too many pairing attempts. Try again in a minute.";
                is_error(&answer, 429, "rate_limited", text);
                has_only(&answer.body, &["error", "message"]);
                waits(&answer);
            },
        ),
        Scenario::new(
            "4.8 MAX_PAIR_REQUESTS_PER_MINUTE: management is counted apart",
            |w| async move {
                let w = w.with(THREE);
                let desktop = w.started().await;
                for _ in 0..3 {
                    w.native().post("/pair/start", &desktop.start()).await;
                }
                let answer = w.native().post("/pair/start", &desktop.start()).await;
                assert_eq!(answer.status, 429);
                let list = w.native().post("/devices/list", &desktop.own()).await;
                assert_eq!(list.status, 200, "{}", list.text);
            },
        ),
        Scenario::new(
            "4.8 MAX_PAIR_REQUESTS_PER_MINUTE: refused calls count, too",
            |w| async move {
                let w = w.with(THREE);
                let join = json!({
                    "sessionID": w.session, "joinToken": "join-token-0123456789abcdef",
                });
                for _ in 0..3 {
                    let answer = w.page().post("/pair/join", &join).await;
                    assert_eq!(answer.error(), "session_not_found");
                }
                let answer = w.page().post("/pair/join", &join).await;
                let text = "Too many pairing attempts. Try again in a minute.";
                is_error(&answer, 429, "rate_limited", text);
                waits(&answer);
            },
        ),
    ]
}

/// It says when to come back.
fn waits(answer: &Answer) {
    let seconds: u64 = answer.header("retry-after").parse().expect("Retry-After in seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

fn of_bodies() -> Vec<Scenario> {
    vec![
        Scenario::new("4.8 MAX_JSON_BYTES: a larger body is refused", |w| async move {
            let w = w.with(&[("MAX_JSON_BYTES", "600")]);
            let start = w.desktop().start();
            let fits = padded(&start, 600);
            let headers = [("content-type", "application/json")];
            let answer = w.native().raw("POST", "/pair/start", &headers, fits).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let large = padded(&start, 601);
            let answer = w.native().raw("POST", "/pair/start", &headers, large).await;
            assert_eq!((answer.status, answer.error()), (413, "invalid_request"));
            has_only(&answer.body, &["error", "message"]);
            assert!(answer.body["message"].as_str().is_some_and(|m| !m.is_empty()));
            assert_eq!(answer.header("cache-control"), "no-store");
        }),
        Scenario::new("4.8 MAX_JSON_BYTES says nothing of websockets", |w| async move {
            let w = w.with(&[("MAX_JSON_BYTES", "600")]);
            let (mut desk, mut phone, _) = w.connected().await;
            let message = json!({ "payload": "x".repeat(2_000) });
            desk.wire.send(&message).await;
            assert_eq!(phone.message().await, message);
        }),
    ]
}

/// A body of this many bytes: blanks after the JSON.
fn padded(body: &Value, bytes: usize) -> String {
    format!("{:<bytes$}", body.to_string())
}

//! Section 2.8: HTTP calls, their successes and failures.

use belay_testkit::compat::Net;
use serde_json::{Value, json};

use super::until;
use crate::{
    pairing::{expiring, time::passed},
    scenario::Scenario,
};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = joins();
    all.extend([start(), refresh()]);
    all
}

/// Requests, successes, failures of one kind of call.
async fn are(net: &Net, call: &str, requests: u64, successes: u64, failures: u64) {
    let names = ["Requests", "Successes", "Failures"].map(|what| format!("{call}{what}"));
    let values = [requests, successes, failures];
    let expected: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
    until(net, &expected).await;
}

fn with(mut body: Value, name: &str, value: &str) -> Value {
    body[name] = json!(value);
    body
}

const PAST: &str = "2020-01-01T00:00:00Z";
const NOBODYS: &str = "token-of-nobody-0123456789";

fn start() -> Scenario {
    Scenario::new("2.8 pairStartRequests, Successes, Failures", |w| async move {
        let w = w.with(&[]);
        let (net, desktop) = (w.native(), w.desktop());
        net.post("/pair/start", &desktop.start()).await;
        are(&net, "pairStart", 1, 1, 0).await;
        for (at, wrong) in [
            with(desktop.start(), "joinToken", "short"),
            with(desktop.start(), "joinTokenExpiresAt", PAST),
            with(desktop.start(), "desktopSessionToken", NOBODYS),
        ]
        .iter()
        .enumerate()
        {
            let failures = at as u64 + 1;
            assert_ne!(net.post("/pair/start", wrong).await.status, 200);
            are(&net, "pairStart", 1 + failures, 1, failures).await;
        }
        net.post("/pair/start", &desktop.start()).await;
        are(&net, "pairStart", 5, 2, 3).await;
        are(&net, "pairJoin", 0, 0, 0).await;
        are(&net, "pairRefresh", 0, 0, 0).await;
    })
}

fn refresh() -> Scenario {
    Scenario::new("2.8 pairRefreshRequests, Successes, Failures", |w| async move {
        let w = w.with(&[]);
        let (net, mut desktop) = (w.native(), w.started().await);
        net.post("/pair/refresh", &desktop.refresh()).await;
        are(&net, "pairRefresh", 1, 1, 0).await;
        for (at, wrong) in [
            with(desktop.refresh(), "joinToken", "short"),
            with(desktop.refresh(), "joinTokenExpiresAt", PAST),
            with(desktop.refresh(), "desktopSessionToken", NOBODYS),
            with(desktop.refresh(), "sessionID", NOBODYS),
        ]
        .iter()
        .enumerate()
        {
            let failures = at as u64 + 1;
            assert_ne!(net.post("/pair/refresh", wrong).await.status, 200);
            are(&net, "pairRefresh", 1 + failures, 1, failures).await;
        }
        are(&net, "pairStart", 1, 1, 0).await;
    })
}

fn joins() -> Vec<Scenario> {
    vec![
        Scenario::new("2.8 pairJoinRequests, Successes, Failures", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let mut desk = w.open().await;
            let join = json!({ "sessionID": w.session, "joinToken": desk.desktop.join_token });
            desk.page.post("/pair/join", &with(join.clone(), "joinToken", NOBODYS)).await;
            are(&net, "pairJoin", 1, 0, 1).await;
            desk.page.post("/pair/join", &with(join.clone(), "sessionID", NOBODYS)).await;
            are(&net, "pairJoin", 2, 0, 2).await;
            let joining = desk.joining();
            desk.decide(false).await;
            joining.await.expect("ran");
            are(&net, "pairJoin", 3, 0, 3).await;
            desk.pair().await;
            are(&net, "pairJoin", 4, 1, 3).await;
            desk.page.post("/pair/join", &join).await;
            are(&net, "pairJoin", 5, 1, 4).await;
        }),
        Scenario::new("2.8 pairJoinFailures of an expired token", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let mut desktop = w.started().await;
            let end = expiring(&net, &mut desktop).await;
            passed(end).await;
            let join = json!({ "sessionID": w.session, "joinToken": desktop.join_token });
            assert_eq!(net.post("/pair/join", &join).await.error(), "join_token_expired");
            are(&net, "pairJoin", 1, 0, 1).await;
        }),
        Scenario::new("2.8 pairJoinFailures of an approval that timed out", |w| async move {
            let w = w.with(&[("PAIR_APPROVAL_TIMEOUT_MS", "300")]);
            let net = w.native();
            let desk = w.open().await;
            let answer = desk.joining().await.expect("ran");
            assert_eq!(answer.error(), "pair_request_timed_out");
            are(&net, "pairJoin", 1, 0, 1).await;
        }),
        Scenario::new("2.8 pairJoinFailures of a desktop that left", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let mut desk = w.open().await;
            let joining = desk.joining();
            desk.wire.until("relay.pair_request").await;
            desk.wire.close().await;
            assert_eq!(joining.await.expect("ran").error(), "desktop_not_connected");
            are(&net, "pairJoin", 1, 0, 1).await;
        }),
        // Row S147 of `rows.md`: a join that waits is no failure yet.
        Scenario::new("2.8 pairJoin* while one waits", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let mut desk = w.open().await;
            let joining = desk.joining();
            desk.wire.until("relay.pair_request").await;
            are(&net, "pairJoin", 1, 0, 0).await;
            until(&net, &[("pendingJoinWaiters", 1)]).await;
            joining.abort();
            are(&net, "pairJoin", 1, 0, 1).await;
            until(&net, &[("pendingJoinWaiters", 0)]).await;
        }),
    ]
}

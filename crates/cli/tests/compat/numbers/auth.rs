//! Section 2.8: sockets that authenticate, and each reason for which one did not.

use belay_testkit::compat::{Net, Wire};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{beside, until};
use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = vec![Scenario::new("2.8 wsAuthAttempts, Successes, Failures", |w| async move {
        let w = w.with(&[]);
        let net = w.native();
        let (_desk, _wire, _) = w.connected().await;
        are(&net, 2, 2, 0).await;
        refused(net.open().await, "token-of-nobody-0123456789").await;
        are(&net, 3, 2, 1).await;
        let mut desktop = net.open().await;
        desktop.auth(&w.desktop().token).await;
        are(&net, 4, 3, 1).await;
    })];
    all.extend(early());
    all.extend(late());
    all
}

async fn are(net: &Net, attempts: u64, successes: u64, failures: u64) {
    let expected = [
        ("wsAuthAttempts", attempts),
        ("wsAuthSuccesses", successes),
        ("wsAuthFailures", failures),
    ];
    until(net, &expected).await;
}

/// So many failures, all for this reason.
pub(super) async fn failed(net: &Net, reason: &str, times: u64) {
    let reason = format!("wsAuthFailureReasons/{reason}");
    until(net, &[(&reason, times), ("wsAuthFailures", times)]).await;
}

/// Sends a token and waits for the end; what is told then is not the matter here.
pub(super) async fn refused(mut wire: Wire, token: &str) {
    wire.send(&json!({ "type": "relay.auth", "token": token })).await;
    wire.until("disconnect").await;
}

fn early() -> Vec<Scenario> {
    vec![
        Scenario::new("2.8 auth_timeout_or_missing_payload nothing in time", |w| async move {
            let w = w.with(&[("WS_AUTH_TIMEOUT_MS", "200")]);
            let net = w.native();
            let mut wire = net.open().await;
            wire.until("disconnect").await;
            failed(&net, "auth_timeout_or_missing_payload", 1).await;
        }),
        Scenario::new("2.8 auth_timeout_or_missing_payload closed before", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            net.open().await.close().await;
            failed(&net, "auth_timeout_or_missing_payload", 1).await;
            drop(net.open().await);
            failed(&net, "auth_timeout_or_missing_payload", 2).await;
        }),
        Scenario::new("2.8 invalid_auth_payload", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let frames = [
                Message::text("{"),
                Message::text("[]"),
                Message::text("{}"),
                Message::text(r#"{"type":"relay.auth"}"#),
                Message::text(r#"{"type":"relay.auth","token":7}"#),
                Message::text(r#"{"type":"relay.auth","token":null}"#),
                Message::text(r#"{"type":"relay.auth","token":"short"}"#),
                Message::text(r#"{"type":"hello","token":"token-of-nobody-0123456789"}"#),
                Message::binary(vec![1, 2, 3]),
            ];
            for (at, frame) in frames.into_iter().enumerate() {
                let mut wire = net.open().await;
                wire.send_message(frame).await;
                wire.until("disconnect").await;
                failed(&net, "invalid_auth_payload", at as u64 + 1).await;
            }
        }),
        Scenario::new("2.8 token_not_found", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            refused(net.open().await, "token-of-nobody-0123456789").await;
            failed(&net, "token_not_found", 1).await;
            let desktop = w.started().await;
            net.post("/pair/stop", &desktop.own()).await;
            refused(net.open().await, &desktop.token).await;
            failed(&net, "token_not_found", 2).await;
        }),
        Scenario::new("2.8 token_not_found after the grace", |w| async move {
            let w = w.with(&[("TOKEN_ROTATION_GRACE_MS", "0")]);
            let net = w.native();
            let (mut desk, mut phone) = w.paired().await;
            let former = phone.token.clone();
            let _wire = desk.connect(&mut phone).await;
            refused(w.page().open().await, &former).await;
            failed(&net, "token_not_found", 1).await;
        }),
        Scenario::new("2.8 relay_over_capacity", |w| async move {
            let w = w.with(&[("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "1")]);
            let net = w.native();
            let _desk = w.open().await;
            let other = beside(&w).started().await;
            refused(net.open().await, &other.token).await;
            failed(&net, "relay_over_capacity", 1).await;
        }),
    ]
}

fn late() -> Vec<Scenario> {
    vec![
        Scenario::new("2.8 mobile_origin_not_allowed", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let (_desk, phone) = w.paired().await;
            refused(net.open().await, &phone.token).await;
            failed(&net, "mobile_origin_not_allowed", 1).await;
            let evil = Net::page(&w.relay.url, "https://evil.example.org");
            refused(evil.open().await, &phone.token).await;
            failed(&net, "mobile_origin_not_allowed", 2).await;
        }),
        Scenario::new("2.8 mobile_session_missing", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let (desk, phone) = w.paired().await;
            desk.net.post("/pair/stop", &desk.desktop.own()).await;
            refused(w.page().open().await, &phone.token).await;
            failed(&net, "mobile_session_missing", 1).await;
        }),
        Scenario::new("2.8 device_not_registered", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let (desk, phone) = w.paired().await;
            let mut body = desk.desktop.own();
            body["deviceID"] = json!(phone.device);
            desk.net.post("/devices/revoke", &body).await;
            refused(w.page().open().await, &phone.token).await;
            failed(&net, "device_not_registered", 1).await;
        }),
    ]
}

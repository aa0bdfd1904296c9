//! Section 3: the token in the query, and that no token is ever logged.

use serde_json::json;

use super::{COME_BACK, ends_now, present};
use crate::{scenario::Scenario, world::World};

const LEGACY: (&str, &str) = ("ALLOW_LEGACY_QUERY_TOKEN_AUTH", "true");

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("3 a token in the query is 400", |w| async move {
            let desktop = w.started().await;
            let path = format!("/ws?token={}", desktop.token);
            assert_eq!(w.native().try_open(&path).await.err(), Some(400));
            let answer = w.native().raw("GET", &path, UPGRADE, "").await;
            super::has_only(&answer.body, &["error", "message"]);
            assert!(!answer.error().is_empty(), "{}", answer.text);
            assert!(answer.body["message"].as_str().is_some_and(|m| !m.is_empty()));
            assert_eq!(answer.header("cache-control"), "no-store");
            assert!(!answer.text.contains(&desktop.token), "{}", answer.text);
        }),
        Scenario::new(
            "3 with the legacy switch a desktop is let in by its query",
            |w| async move {
                let w = w.with(&[LEGACY]);
                let desktop = w.started().await;
                let path = format!("/ws?token={}", desktop.token);
                let mut wire = w.native().try_open(&path).await.expect("upgraded");
                assert_eq!(wire.message().await["role"], "desktop");
            },
        ),
        Scenario::new("3 with the legacy switch a phone is let in by its query", |w| async move {
            let w = w.with(&[LEGACY]);
            let (_desk, phone) = w.paired().await;
            let path = format!("/ws?token={}", phone.token);
            let mut wire = w.page().try_open(&path).await.expect("upgraded");
            assert_eq!(wire.message().await["deviceID"], json!(phone.device));
        }),
        Scenario::new("3 the legacy switch does not lift the check of origins", |w| async move {
            let w = w.with(&[LEGACY]);
            let (_desk, phone) = w.paired().await;
            let path = format!("/ws?token={}", phone.token);
            let mut wire = w.native().try_open(&path).await.expect("upgraded");
            ends_now(&mut wire, "origin_not_allowed", COME_BACK).await;
        }),
        Scenario::new("3 with the legacy switch a wrong query token is refused", |w| async move {
            let w = w.with(&[LEGACY]);
            for (token, reason, code) in [
                ("short", "auth_invalid", COME_BACK),
                ("unknown-token-0123456789", "session_expired", 1008),
            ] {
                let path = format!("/ws?token={token}");
                let mut wire = w.page().try_open(&path).await.expect("upgraded");
                ends_now(&mut wire, reason, code).await;
            }
        }),
        Scenario::new("3 with the legacy switch the first frame counts as ever", |w| async move {
            let w = w.with(&[LEGACY]);
            let desktop = w.started().await;
            w.native().open().await.auth(&desktop.token).await;
        }),
        Scenario::new("3 no token is logged, let in or refused", |w| async move {
            let w = w.with(&[LEGACY, ("RUST_LOG", "debug")]);
            no_token_is_logged(&w, true).await;
        }),
        Scenario::new("3 no token is logged that comes in a refused query", |w| async move {
            let w = w.with(&[("RUST_LOG", "debug")]);
            no_token_is_logged(&w, false).await;
        }),
    ]
}

const UPGRADE: &[(&str, &str)] = &[
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

async fn no_token_is_logged(w: &World, is_legacy: bool) {
    let (mut desk, mut phone) = w.paired().await;
    let first = phone.token.clone();
    desk.connect(&mut phone).await.close().await;
    let unknown = "unknown-token-of-nobody-0123456789";
    for token in [&desk.desktop.token, &phone.token, unknown] {
        let opened = w.page().try_open(&format!("/ws?token={token}")).await;
        assert_eq!(opened.is_ok(), is_legacy);
        if let Ok(mut wire) = opened {
            wire.message().await;
        }
    }
    ends_now(&mut present(&w.page(), unknown).await, "session_expired", 1008).await;
    let mut wrong = desk.desktop.own();
    wrong["desktopSessionToken"] = json!("another-desktop-0123456789abcdef");
    assert_eq!(desk.net.post("/devices/list", &wrong).await.status, 403);

    let log = w.relay.log();
    assert!(log.contains("session_expired"), "the log tells of the refusal: {log}");
    let tokens = [
        first.as_str(),
        &phone.token,
        &desk.desktop.token,
        &desk.desktop.join_token,
        unknown,
        "another-desktop-0123456789abcdef",
    ];
    for token in tokens {
        assert!(!log.contains(token), "{token} was logged");
    }
}

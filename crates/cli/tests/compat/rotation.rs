//! Section 3.2 of the protocol: tokens of phones.

mod grace;
mod restart;

use std::time::Duration;

use belay_testkit::compat::Wire;
use serde_json::json;

use crate::{
    auth::{ends_now, present},
    scenario::Scenario,
    world::{Desk, Paired, World},
};

pub(crate) fn all() -> Vec<Scenario> {
    [successors(), desktops(), lifetimes(), grace::all(), restart::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// Connects with a token and gives the next one.
async fn connect(w: &World, token: &str) -> (Wire, String) {
    let mut wire = w.page().open().await;
    let told = wire.auth(token).await;
    let next = told["nextDeviceSessionToken"].as_str().expect("a token").to_owned();
    (wire, next)
}

/// The first text of a phone: it shows that the phone has its new token. That it was heard shows in
/// its answer.
async fn first_text(wire: &mut Wire) {
    wire.send(&json!([])).await;
    wire.until("relay.error").await;
}

async fn is_dead(w: &World, token: &str) {
    ends_now(&mut present(&w.page(), token).await, "session_expired", 1008).await;
}

async fn is_good(w: &World, token: &str) {
    connect(w, token).await;
}

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

fn successors() -> Vec<Scenario> {
    vec![
        Scenario::new("3.2.1 each connect makes a new token", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            let mut seen = vec![phone.token.clone()];
            for _ in 0..3 {
                desk.connect(&mut phone).await.close().await;
                desk.wire.until("relay.device_count").await;
                assert!(!seen.contains(&phone.token));
                seen.push(phone.token.clone());
            }
        }),
        Scenario::new("3.2.1 a new token has the form of tokens", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            desk.connect(&mut phone).await;
            assert!((22..=512).contains(&phone.token.len()));
            let is_sign = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            assert!(phone.token.bytes().all(is_sign), "{}", phone.token);
        }),
        Scenario::new("3.2.1 the new token is good for the next connect", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            for _ in 0..3 {
                let wire = desk.connect(&mut phone).await;
                wire.close().await;
                desk.wire.until("relay.device_count").await;
            }
        }),
        Scenario::new(
            "3.2.1 the new token is good at once, beside the older socket",
            |w| async move {
                let (_desk, _older, phone) = w.connected().await;
                is_good(&w, &phone.token).await;
            },
        ),
        Scenario::new(
            "3.2.1 the token of one phone says nothing about the other's",
            |w| async move {
                let w = w.with(&[("TOKEN_ROTATION_GRACE_MS", "0")]);
                let (mut desk, mut phone) = w.paired().await;
                desk.refresh().await;
                let second = desk.pair().await;
                for _ in 0..3 {
                    desk.connect(&mut phone).await;
                }
                is_good(&w, &second.token).await;
                is_good(&w, &phone.token).await;
            },
        ),
    ]
}

fn desktops() -> Vec<Scenario> {
    vec![
        Scenario::new("3.2.5 the token of a desktop does not rotate", |w| async move {
            let desktop = w.started().await;
            for _ in 0..3 {
                let told = w.native().open().await.auth(&desktop.token).await;
                assert!(told.get("nextDeviceSessionToken").is_none(), "{told}");
            }
        }),
        Scenario::new("3.2.5 a refresh leaves the tokens of desktop and phone", |w| async move {
            let (mut desk, phone) = w.paired().await;
            assert_eq!(desk.refresh().await.status, 200);
            w.native().open().await.auth(&desk.desktop.token).await;
            is_good(&w, &phone.token).await;
        }),
        Scenario::new("3.2.5 a new start with the same token leaves them, too", |w| async move {
            let (desk, phone) = w.paired().await;
            let start = desk.desktop.start();
            assert_eq!(desk.net.post("/pair/start", &start).await.status, 200);
            w.native().open().await.auth(&desk.desktop.token).await;
            is_good(&w, &phone.token).await;
        }),
    ]
}

fn lifetimes() -> Vec<Scenario> {
    vec![
        Scenario::new("3.2.6 a revoke ends former, current and next token", |w| async move {
            let (desk, tokens) = three_tokens(&w).await;
            let list = desk.net.post("/devices/list", &desk.desktop.own()).await.body;
            let mut body = desk.desktop.own();
            body["deviceID"] = list["devices"][0]["deviceID"].clone();
            assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
            for token in &tokens {
                is_dead(&w, token).await;
            }
        }),
        Scenario::new("3.2.6 a stop ends former, current and next token", |w| async move {
            let (desk, tokens) = three_tokens(&w).await;
            let own = desk.desktop.own();
            assert_eq!(desk.net.post("/pair/stop", &own).await.status, 200);
            for token in &tokens {
                is_dead(&w, token).await;
            }
        }),
        Scenario::new("3.2.6 a phone that is let in again is another device", |w| async move {
            let (mut desk, phone) = w.paired().await;
            desk.refresh().await;
            let Paired { device, token, .. } = desk.pair().await;
            assert_ne!(device, phone.device);
            is_good(&w, &phone.token).await;
            is_good(&w, &token).await;
        }),
    ]
}

/// The former token of a phone, its current one, and one that it was offered but has not used.
async fn three_tokens(w: &World) -> (Desk, [String; 3]) {
    let (desk, phone) = w.paired().await;
    let (_, current) = connect(w, &phone.token).await;
    let (_, next) = connect(w, &current).await;
    (desk, [phone.token, current, next])
}

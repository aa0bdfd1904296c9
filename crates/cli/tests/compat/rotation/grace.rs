//! How long the former token is good.

use std::time::Duration;

use serde_json::json;

use super::{connect, first_text, is_dead, is_good, pass};
use crate::{
    auth::{COME_BACK, ends_now, phone_heard_nothing, present},
    scenario::Scenario,
};

const SHORT: &[(&str, &str)] = &[("TOKEN_ROTATION_GRACE_MS", "400")];
const NONE: &[(&str, &str)] = &[("TOKEN_ROTATION_GRACE_MS", "0")];

/// Longer than the short grace.
const LATER: u64 = 600;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = starts();
    all.extend(used_again());
    all.extend(no_grace());
    all
}

fn starts() -> Vec<Scenario> {
    vec![
        Scenario::new("3.2.2 the former token is good within its grace", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            let former = phone.token.clone();
            let mut wire = desk.connect(&mut phone).await;
            let request = json!({ "type": "relay.snapshot_request", "sessionID": w.session });
            wire.send(&request).await;
            desk.wire.until("relay.snapshot_request").await;
            is_good(&w, &former).await;
            is_good(&w, &phone.token).await;
        }),
        Scenario::new("3.2.2 the default grace is longer than a reconnect", |w| async move {
            let (_desk, phone) = w.paired().await;
            let (mut wire, _) = connect(&w, &phone.token).await;
            first_text(&mut wire).await;
            pass(500).await;
            is_good(&w, &phone.token).await;
        }),
        Scenario::new("3.2.2 no grace runs before the new token is proven", |w| async move {
            let w = w.with(SHORT);
            let (_desk, phone) = w.paired().await;
            let (_wire, _) = connect(&w, &phone.token).await;
            pass(LATER).await;
            is_good(&w, &phone.token).await;
        }),
        Scenario::new("3.2.2 a pong does not prove that the new token is stored", |w| async move {
            let w = w.with(&[SHORT, &[("WS_HEARTBEAT_INTERVAL_MS", "1000")]].concat());
            let (_desk, phone) = w.paired().await;
            let (mut wire, _) = connect(&w, &phone.token).await;
            // The websocket library answers pings while it is read.
            wire.stays_silent(Duration::from_millis(1_200)).await;
            pass(LATER).await;
            is_good(&w, &phone.token).await;
        }),
        Scenario::new(
            "3.2.2 the grace starts at the first text, also a refused one",
            |w| async move {
                let w = w.with(SHORT);
                let (_desk, phone) = w.paired().await;
                let (mut wire, next) = connect(&w, &phone.token).await;
                first_text(&mut wire).await;
                pass(LATER).await;
                is_dead(&w, &phone.token).await;
                is_good(&w, &next).await;
            },
        ),
        Scenario::new("3.2.2 the grace starts when the new token is first used", |w| async move {
            let w = w.with(SHORT);
            let (_desk, phone) = w.paired().await;
            let (_wire, next) = connect(&w, &phone.token).await;
            let (_newer, _) = connect(&w, &next).await;
            pass(LATER).await;
            is_dead(&w, &phone.token).await;
            is_good(&w, &next).await;
        }),
        Scenario::new("3.2.2 a dead token does not disturb the phone's socket", |w| async move {
            let w = w.with(SHORT);
            let (_desk, phone) = w.paired().await;
            let (mut wire, next) = connect(&w, &phone.token).await;
            first_text(&mut wire).await;
            pass(LATER).await;
            is_dead(&w, &phone.token).await;
            phone_heard_nothing(&mut wire).await;
            is_good(&w, &next).await;
        }),
    ]
}

fn used_again() -> Vec<Scenario> {
    vec![
        Scenario::new("3.2.3 a grace token used again is a full connect", |w| async move {
            let (_desk, phone) = w.paired().await;
            let (mut wire, next) = connect(&w, &phone.token).await;
            first_text(&mut wire).await;
            let (mut again, other) = connect(&w, &phone.token).await;
            assert!(other != next && other != phone.token, "it rotates");
            ends_now(&mut wire, "device_reconnected", COME_BACK).await;
            phone_heard_nothing(&mut again).await;
            is_good(&w, &other).await;
        }),
        Scenario::new("3.2.3 the token that was current then stays good", |w| async move {
            let (_desk, phone) = w.paired().await;
            let (mut wire, current) = connect(&w, &phone.token).await;
            first_text(&mut wire).await;
            let (mut again, _) = connect(&w, &phone.token).await;
            first_text(&mut again).await;
            is_good(&w, &current).await;
        }),
        Scenario::new("3.2.3 and has its grace from then on", |w| async move {
            let w = w.with(&[("TOKEN_ROTATION_GRACE_MS", "2500")]);
            let (_desk, phone) = w.paired().await;
            let (mut wire, current) = connect(&w, &phone.token).await;
            first_text(&mut wire).await;
            let (mut again, newest) = connect(&w, &phone.token).await;
            first_text(&mut again).await;
            is_dead(&w, &phone.token).await;
            pass(2_700).await;
            is_dead(&w, &current).await;
            is_good(&w, &newest).await;
        }),
        Scenario::new(
            "3.2.3 a token older than the former is dead within its grace",
            |w| async move {
                let (_desk, phone) = w.paired().await;
                let (mut wire, second) = connect(&w, &phone.token).await;
                first_text(&mut wire).await;
                let (mut wire, third) = connect(&w, &second).await;
                first_text(&mut wire).await;
                is_dead(&w, &phone.token).await;
                is_good(&w, &second).await;
                is_good(&w, &third).await;
            },
        ),
        Scenario::new(
            "3.2.3 answers that are lost one after the other lock nobody out",
            |w| async move {
                let w = w.with(SHORT);
                let (_desk, phone) = w.paired().await;
                let mut lost = Vec::new();
                for _ in 0..5 {
                    let (wire, next) = connect(&w, &phone.token).await;
                    drop(wire);
                    lost.push(next);
                }
                pass(LATER).await;
                is_good(&w, &phone.token).await;
                is_good(&w, lost.last().expect("some")).await;
            },
        ),
    ]
}

fn no_grace() -> Vec<Scenario> {
    vec![
        Scenario::new("3.2.2 a grace of 0 ends the former token at once", |w| async move {
            let w = w.with(NONE);
            let (_desk, phone) = w.paired().await;
            let (_wire, next) = connect(&w, &phone.token).await;
            is_dead(&w, &phone.token).await;
            is_good(&w, &next).await;
        }),
        Scenario::new("3.2.2 a grace of 0 leaves the socket of the new token", |w| async move {
            let w = w.with(NONE);
            let (mut desk, mut phone) = w.paired().await;
            let former = phone.token.clone();
            let mut wire = desk.connect(&mut phone).await;
            let mut refused = present(&w.page(), &former).await;
            ends_now(&mut refused, "session_expired", 1008).await;
            phone_heard_nothing(&mut wire).await;
        }),
        Scenario::new("3.2.2 a grace of 0 goes on from token to token", |w| async move {
            let w = w.with(NONE);
            let (_desk, phone) = w.paired().await;
            let mut token = phone.token;
            for _ in 0..4 {
                let (_wire, next) = connect(&w, &token).await;
                is_dead(&w, &token).await;
                token = next;
            }
        }),
    ]
}

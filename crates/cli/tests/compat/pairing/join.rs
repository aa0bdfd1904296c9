//! Section 2.5: a phone redeems the QR and waits for its desktop.

use belay_testkit::compat::{Answer, Party as _};
use serde_json::{Value, json};

use crate::{
    bodies::check::{accepted, refused_saying, refused_with},
    scenario::Scenario,
    world::{Desk, World},
};

pub(super) const USED: &str =
    "Join token has already been redeemed. Start a new session from desktop.";

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = answers();
    all.extend(waiting());
    all.push(Scenario::new("2.5 100 joins at once pair exactly one", |w| async move {
        at_once(w, &[]).await;
    }));
    all.push(Scenario::new("2.5 100 joins at once that may all wait pair one", |w| async move {
        at_once(w, &[("MAX_PENDING_JOIN_WAITERS", "1000"), ("MAX_DEVICES_PER_SESSION", "32")])
            .await;
    }));
    all
}

/// Answers a pair request.
pub(crate) async fn decide(desk: &mut Desk, request: &Value, approved: bool) {
    desk.desktop.approves = Some(approved);
    for answer in desk.desktop.hears(request) {
        desk.wire.send(&answer).await;
    }
}

fn answers() -> Vec<Scenario> {
    vec![
        Scenario::new("2.5 200 members", |w| async move {
            let mut desk = w.open().await;
            let started = desk.net.post("/pair/start", &desk.desktop.start()).await;
            let joining = desk.joining();
            desk.decide(true).await;
            let answer = joining.await.expect("ran");
            accepted(&answer, &["sessionID", "deviceID", "deviceSessionToken", "wsURL"]);
            assert_eq!(answer.body["sessionID"], json!(w.session));
            assert_eq!(answer.body["wsURL"], started.body["wsURL"]);
            is_token(&answer.body["deviceID"], 8);
            is_token(&answer.body["deviceSessionToken"], 22);
        }),
        Scenario::new("2.5 a native client may join", |w| async move {
            let mut desk = w.open().await;
            desk.page = w.native();
            desk.pair().await;
        }),
        Scenario::new("2.5 the device token connects", |w| async move {
            let (_desk, phone) = w.paired().await;
            let told = w.page().open().await.auth(&phone.token).await;
            assert_eq!(told["deviceID"], json!(phone.device));
        }),
        Scenario::new("2.5 each device has its own id and token", |w| async move {
            let (mut desk, first) = w.paired().await;
            desk.refresh().await;
            let second = desk.pair().await;
            assert_ne!((&first.device, &first.token), (&second.device, &second.token));
            assert_ne!(first.device, second.device);
        }),
        Scenario::new("2.5 the call waits for the decision", |w| async move {
            let mut desk = w.open().await;
            let joining = desk.joining();
            let request = desk.wire.until("relay.pair_request").await;
            // A whole call later the phone still has no answer.
            desk.net.post("/devices/list", &desk.desktop.own()).await;
            assert!(!joining.is_finished());
            decide(&mut desk, &request, true).await;
            assert_eq!(joining.await.expect("ran").status, 200);
        }),
        Scenario::new("2.5 a join token is redeemed once", |w| async move {
            let (desk, _) = w.paired().await;
            let answer = desk.joining().await.expect("ran");
            refused_saying(&answer, 409, "join_token_already_used", USED);
        }),
        Scenario::new("2.5 a denied join token is not used up", |w| async move {
            let mut desk = w.open().await;
            let joining = desk.joining();
            desk.decide(false).await;
            assert_eq!(joining.await.expect("ran").error(), "pair_request_denied");
            desk.pair().await;
        }),
    ]
}

fn is_token(value: &Value, least: usize) {
    let text = value.as_str().expect("text");
    assert!((least..=512).contains(&text.len()), "{text}");
    assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{text}");
}

fn waiting() -> Vec<Scenario> {
    vec![
        Scenario::new("2.5 409 pair_request_in_progress", |w| async move {
            let mut desk = w.open().await;
            let first = desk.joining();
            let request = desk.wire.until("relay.pair_request").await;
            let answer = desk.joining().await.expect("ran");
            let more = ["requestID", "expiresAt"];
            let message = refused_with(&answer, 409, "pair_request_in_progress", &more);
            assert_eq!(message, "A pairing approval request is already pending on desktop.");
            for name in more {
                assert_eq!(answer.body[name], request[name], "{name}");
            }
            decide(&mut desk, &request, true).await;
            assert_eq!(first.await.expect("ran").status, 200);
        }),
        Scenario::new("2.5 sessions wait each alone", |w| async move {
            let other = World { relay: w.relay.clone(), session: format!("{}-b", w.session) };
            let (mut one, mut two) = (w.open().await, other.open().await);
            let (joining_one, joining_two) = (one.joining(), two.joining());
            two.decide(true).await;
            assert_eq!(joining_two.await.expect("ran").body["sessionID"], json!(other.session));
            one.decide(false).await;
            assert_eq!(joining_one.await.expect("ran").error(), "pair_request_denied");
        }),
        Scenario::new("2.5 an ended session ends the wait", |w| async move {
            let mut desk = w.open().await;
            let joining = desk.joining();
            desk.wire.until("relay.pair_request").await;
            desk.net.post("/pair/stop", &desk.desktop.own()).await;
            let answer = joining.await.expect("ran");
            let told = (answer.status, answer.error());
            let known = [(404, "session_not_found"), (409, "desktop_not_connected")];
            assert!(known.contains(&told), "{}", answer.text);
        }),
    ]
}

/// A hundred phones redeem one token while their desktop lets in whoever asks.
async fn at_once(w: World, settings: &[(&str, &str)]) {
    let w = w.with(settings);
    let mut desk = w.open().await;
    let joining: Vec<_> = (0..100).map(|_| desk.joining()).collect();
    let request = desk.wire.until("relay.pair_request").await;
    decide(&mut desk, &request, true).await;
    let mut answers: Vec<Answer> = Vec::new();
    for join in joining {
        answers.push(join.await.expect("ran"));
    }
    let (paired, others): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert_eq!(paired.len(), 1);
    for other in others {
        let known = ["pair_request_in_progress", "join_token_already_used", "pairing_backpressure"];
        assert!(known.contains(&other.error()), "{}", other.text);
    }
    let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
    let devices = list.body["devices"].as_array().expect("a list");
    assert_eq!(devices.len(), 1, "{}", list.text);
    assert_eq!(devices[0]["deviceID"], paired[0].body["deviceID"]);
}

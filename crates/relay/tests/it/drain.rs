//! An operator sends clients away: they are told, nothing new is taken, who moves loses nothing, and who
//! stays is closed and comes back.

use std::time::{Duration, Instant};

use belay_client::Event;
use belay_testkit::{Desk, Relay, config};
use belay_wire::{Channel, Frame, RawJson};
use serde_json::{Value, json};

pub(crate) async fn call(relay: &Relay, what: &str, body: Option<Value>) -> (u16, Value) {
    let url = format!("http://{}/admin/drain/{what}", relay.admin());
    let http = reqwest::Client::new();
    let call = match body {
        Some(body) => http.post(url).json(&body),
        None => http.get(url),
    };
    let answer = call.bearer_auth(relay.admin_token()).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).expect("JSON"))
}

async fn ready(relay: &Relay) -> u16 {
    reqwest::get(format!("{}/readyz", relay.url)).await.expect("an answer").status().as_u16()
}

fn is_drain(event: &Event) -> bool {
    matches!(event, Event::Frame(f) if matches!(**f, Frame::Drain(_)))
}

fn payload(n: u64) -> RawJson {
    RawJson::of(&n).expect("JSON")
}

fn number(event: &Event) -> Option<u64> {
    let Event::Message(message) = event else { return None };
    message.payload.text().parse().ok()
}

#[tokio::test]
async fn a_draining_relay_tells_its_clients_takes_nothing_new_and_keeps_who_cannot_move() {
    let relay = Relay::start_alone(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;

    let body = json!({ "reason": "deploy 42", "max_session_age_seconds": 30 });
    let (status, told) = call(&relay, "start", Some(body.clone())).await;
    assert_eq!((status, &told["state"]), (202, &json!("draining")), "{told}");
    let again = call(&relay, "start", Some(body)).await.1;
    assert_eq!(again["started_at"], told["started_at"], "the first order stands");
    assert!(told["id"].is_string() && again["id"] == told["id"], "{told} {again}");

    let Event::Frame(frame) = phone.until(is_drain).await else { unreachable!() };
    let Frame::Drain(drain) = *frame else { unreachable!() };
    assert_eq!(drain.reason, "deploy 42");
    assert!(drain.reconnect_in_ms < 15_000, "{drain:?}");
    desk.until(is_drain).await;
    assert_eq!(ready(&relay).await, 503);
    let refused = reqwest::get(format!("{}/v1/pair", relay.url)).await.expect("an answer");
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    desk.client.send(Channel::Down, payload(7), None).expect("room");
    phone.until(|e| number(e) == Some(7)).await;
    let (_, status) = call(&relay, "status", None).await;
    assert_eq!((&status["sockets_now"], &status["sockets_initial"]), (&json!(2), &json!(2)));
    assert_eq!(status["by"], "admin");
    assert!(status["blocked_upgrades"].as_u64() >= Some(1), "{status}");
    let (code, error) = call(&relay, "complete", Some(json!({ "then": "resume" }))).await;
    assert_eq!((code, &error["error"]), (409, &json!("sockets_open")));

    let (code, status) = call(&relay, "cancel", Some(json!({}))).await;
    assert_eq!((code, &status["state"]), (200, &json!("active")));
    assert_eq!(ready(&relay).await, 200);
    assert_eq!(call(&relay, "cancel", Some(json!({}))).await.0, 409);
}

#[tokio::test]
async fn a_client_moves_without_a_pause_and_without_losing_a_message() {
    let relay = Relay::start_alone(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    call(&relay, "start", Some(json!({ "reason": "test", "max_session_age_seconds": 1 }))).await;
    phone.until(is_drain).await;
    // Its first tries are refused; it stays where it is.
    tokio::time::sleep(Duration::from_millis(600)).await;
    call(&relay, "cancel", Some(json!({}))).await;

    let client = desk.client.clone();
    let sending = tokio::spawn(async move {
        for n in 1..=300 {
            while client.send(Channel::Down, payload(n), None).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (mut got, mut moved, mut longest) = (Vec::new(), false, Duration::ZERO);
    let mut last = Instant::now();
    while got.last() != Some(&300) {
        let event = phone.until(|_| true).await;
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
        moved |= matches!(event, Event::Connected(_));
        if let Some(n) = number(&event) {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            got.push(n);
        }
    }
    sending.await.expect("sent");

    assert!(moved, "it moved while messages came");
    assert_eq!(got, (1..=300).collect::<Vec<_>>());
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

#[tokio::test]
async fn who_stays_is_closed_after_the_deadline_and_the_node_is_drained() {
    let relay = Relay::start_alone(config()).await;
    let mut desk = Desk::start(&relay).await;
    let started = Instant::now();

    call(&relay, "start", Some(json!({ "reason": "test", "max_session_age_seconds": 1 }))).await;
    desk.until(|e| matches!(e, Event::Disconnected { reason, .. } if reason == "unavailable"))
        .await;

    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
    relay.until_number("activeWebSockets", 0).await;
    let (_, status) = call(&relay, "status", None).await;
    assert_eq!((&status["state"], &status["forced"]), (&json!("drained"), &json!(1)), "{status}");
    let (code, _) = call(&relay, "complete", Some(json!({ "then": "resume" }))).await;
    assert_eq!(code, 200);
    desk.until(|e| matches!(e, Event::Connected(_))).await;
}

#[tokio::test]
async fn wrong_orders_are_refused_by_name_and_strangers_altogether() {
    let relay = Relay::start_alone(config()).await;
    for (body, named) in [
        (json!({}), "reason"),
        (json!({ "reason": "  " }), "reason"),
        (json!({ "reason": "x".repeat(300) }), "reason"),
        (json!({ "reason": "x", "max_session_age_seconds": 0 }), "max_session_age_seconds"),
        (json!({ "reason": "x", "max_session_age_seconds": 3_601 }), "max_session_age_seconds"),
        (json!({ "reason": "x", "endpoint": "ftp://x" }), "endpoint"),
        (json!({ "reason": "x", "hurry": true }), "hurry"),
    ] {
        let (code, error) = call(&relay, "start", Some(body.clone())).await;
        assert_eq!(code, 400, "{body}");
        assert!(error["message"].as_str().is_some_and(|m| m.contains(named)), "{body}: {error}");
    }
    assert_eq!(call(&relay, "complete", Some(json!({}))).await.0, 409, "it does not drain");
    let url = format!("http://{}/admin/drain/start", relay.admin());
    let stranger = reqwest::Client::new().post(url).json(&json!({ "reason": "x" })).send().await;
    assert_eq!(stranger.expect("an answer").status(), 401);
    assert_eq!(ready(&relay).await, 200);
}

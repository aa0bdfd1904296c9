//! A desktop and a phone of the compat protocol against the real server. Every name here is typed from
//! the protocol, none is taken from the code under test.

use std::time::Duration;

use belay_client::CredentialStore as _;
use belay_testkit::{Relay, SOON, config};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::bad_input::Socket;

const SESSION: &str = "session-0123456789abcdef";
const DESKTOP_TOKEN: &str = "desktop-token-0123456789abcdef";

async fn post(relay: &Relay, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}{path}", relay.url);
    let answer = reqwest::Client::new().post(url).json(&body).send().await.expect("answered");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

async fn open(relay: &Relay) -> Socket {
    let url = format!("{}/ws", relay.url.replacen("http", "ws", 1));
    connect_async(url).await.expect("upgraded").0
}

async fn send(socket: &mut Socket, value: &Value) {
    socket.send(Message::text(value.to_string())).await.expect("sent");
}

/// The next text; a close is `{"close": code, "reason": text}`.
async fn next(socket: &mut Socket) -> Value {
    let read = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).expect("JSON");
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    let code: u16 = frame.code.into();
                    return json!({ "close": code, "reason": frame.reason.as_str() });
                }
                Some(Ok(_)) => {}
                ended => return json!({ "ended": format!("{ended:?}") }),
            }
        }
    };
    tokio::time::timeout(SOON, read).await.expect("something comes in time")
}

async fn until(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let value = next(socket).await;
        if value["type"] == kind {
            return value;
        }
        assert!(value.get("close").or(value.get("ended")).is_none(), "{kind} awaited, got {value}");
    }
}

/// What is told last, and the close after it.
async fn ended(socket: &mut Socket) -> (Value, Value) {
    let told = until(socket, "disconnect").await;
    (told["reason"].clone(), next(socket).await)
}

async fn authenticated(relay: &Relay, token: &str) -> (Socket, Value) {
    let mut socket = open(relay).await;
    send(&mut socket, &json!({ "type": "relay.auth", "token": token })).await;
    let told = next(&mut socket).await;
    assert_eq!(told["type"], "auth_ok", "{told}");
    (socket, told)
}

fn start(join: &str) -> Value {
    json!({
        "sessionID": SESSION, "joinToken": join, "desktopSessionToken": DESKTOP_TOKEN,
        "joinTokenExpiresAt": "2100-01-01T00:00:00Z", "idleTimeoutSeconds": 1800, "schemaVersion": 2,
    })
}

fn joining(relay: &Relay, join: &'static str) -> JoinHandle<(u16, Value)> {
    let relay = Relay::at(&relay.url);
    let body = json!({ "sessionID": SESSION, "joinToken": join, "deviceName": " Ana's phone " });
    tokio::spawn(async move { post(&relay, "/pair/join", body).await })
}

async fn relay() -> Relay {
    let mut config = config();
    config.allowed_origins = vec!["*".to_owned()];
    Relay::start(config).await
}

/// A relay with a desktop and one phone that was let in.
async fn paired() -> (Relay, Socket, String, String) {
    paired_at(relay().await).await
}

async fn paired_at(relay: Relay) -> (Relay, Socket, String, String) {
    let (status, _) = post(&relay, "/pair/start", start("join-token-0123456789abcdef")).await;
    assert_eq!(status, 200);
    let (mut desktop, told) = authenticated(&relay, DESKTOP_TOKEN).await;
    assert_eq!((&told["role"], &told["connectedDeviceCount"]), (&json!("desktop"), &json!(0)));
    let waiting = joining(&relay, "join-token-0123456789abcdef");
    let asked = until(&mut desktop, "relay.pair_request").await;
    assert_eq!(asked["deviceName"], "Ana's phone");
    let decision = json!({
        "type": "relay.pair_decision", "sessionID": SESSION,
        "requestID": asked["requestID"], "approved": true,
    });
    send(&mut desktop, &decision).await;
    let (status, joined) = waiting.await.expect("ran");
    assert_eq!((status, &joined["accepted"]), (200, &json!(true)), "{joined}");
    assert_eq!(until(&mut desktop, "relay.pair_result").await["approved"], true);
    let text = |name: &str| joined[name].as_str().expect("text").to_owned();
    (relay, desktop, text("deviceID"), text("deviceSessionToken"))
}

fn command(seq: u64, name: &str, more: &Value) -> Value {
    let mut inner = json!({ "name": name, "commandID": format!("c-{seq}") });
    for (member, value) in more.as_object().expect("an object") {
        inner[member] = value.clone();
    }
    json!({
        "schemaVersion": 2, "sessionID": SESSION, "seq": seq, "timestamp": "2026-01-01T00:00:00Z",
        "payload": { "type": "command", "payload": inner },
    })
}

#[tokio::test]
async fn the_full_journey_of_a_desktop_and_a_phone() {
    let (relay, mut desktop, device, token) = paired().await;
    let (mut phone, told) = authenticated(&relay, &token).await;
    assert_eq!((&told["role"], &told["desktopConnected"]), (&json!("mobile"), &json!(true)));
    assert_eq!(until(&mut desktop, "relay.device_count").await["connectedDeviceCount"], 1);

    let select = command(1, "thread.select", &json!({ "threadID": "t-1" }));
    send(&mut phone, &select).await;
    let mut got = until_envelope(&mut desktop).await;
    assert_eq!(got["relayDeviceID"], json!(device));
    let members = got.as_object_mut().expect("an object");
    members.remove("relayDeviceID");
    assert!(members.remove("relayConnectionID").is_some());
    assert_eq!(got, select, "nothing else is changed");

    let update = json!({ "schemaVersion": 2, "sessionID": SESSION, "seq": 1, "payload":
        { "type": "event", "payload": { "name": "turn.status.update", "body": "running" } } });
    send(&mut desktop, &update).await;
    assert_eq!(until_envelope(&mut phone).await, update);

    drop(phone);
    assert_eq!(until(&mut desktop, "relay.device_count").await["connectedDeviceCount"], 0);
    let rotated = told["nextDeviceSessionToken"].as_str().expect("offered");
    let (mut phone, told) = authenticated(&relay, rotated).await;
    assert_ne!(told["nextDeviceSessionToken"], json!(rotated));
    send(&mut phone, &command(1, "thread.select", &json!({ "threadID": "t-2" }))).await;
    assert_eq!(until_envelope(&mut desktop).await["payload"]["payload"]["threadID"], "t-2");
}

async fn until_envelope(socket: &mut Socket) -> Value {
    loop {
        let value = next(socket).await;
        assert!(value.get("close").is_none(), "{value}");
        if value.get("payload").is_some() {
            return value;
        }
    }
}

#[tokio::test]
async fn a_refused_command_takes_no_number_and_says_which_it_was() {
    let (relay, mut desktop, _, token) = paired().await;
    let (mut phone, _) = authenticated(&relay, &token).await;

    send(&mut phone, &command(1, "thread.delete", &json!({}))).await;
    let refused = until(&mut phone, "relay.error").await;
    assert_eq!((&refused["error"], &refused["seq"]), (&json!("invalid_command"), &json!(1)));
    assert_eq!(refused["commandID"], "c-1");
    send(&mut phone, &command(1, "thread.select", &json!({ "threadID": "t-1" }))).await;
    until_envelope(&mut desktop).await;
    send(&mut phone, &command(1, "thread.select", &json!({ "threadID": "t-1" }))).await;
    assert_eq!(until(&mut phone, "relay.error").await["error"], "replayed_command");
}

#[tokio::test]
async fn after_a_refused_command_the_desktop_knows_the_phone_by_a_new_name() {
    let (relay, mut desktop, _, token) = paired().await;
    let (mut phone, _) = authenticated(&relay, &token).await;
    let mut names = Vec::new();
    for (seq, name) in
        [(1, "thread.select"), (2, "thread.select"), (3, "none"), (4, "thread.select")]
    {
        send(&mut phone, &command(seq, name, &json!({ "threadID": "t-1" }))).await;
        if name == "none" {
            until(&mut phone, "relay.error").await;
        } else {
            names.push(until_envelope(&mut desktop).await["relayConnectionID"].clone());
        }
    }

    // Under the old one the desktop would take nothing after the number that it misses.
    assert_eq!(names[0], names[1]);
    assert_ne!(names[1], names[2]);
}

#[tokio::test]
async fn an_approval_reaches_the_desktop_in_the_words_it_knows() {
    let (relay, mut desktop, _, token) = paired().await;
    let (mut phone, _) = authenticated(&relay, &token).await;
    let answer = json!({
        "runtimeRequestID": "7", "runtimeRequestKind": "approval", "threadID": null, "text": null,
        "runtimeRequestResponse": { "decision": "accept", "optionID": "approve_once", "text": null },
    });

    send(&mut phone, &command(1, "runtime_request.respond", &answer)).await;

    let got = until_envelope(&mut desktop).await;
    let response = &got["payload"]["payload"]["runtimeRequestResponse"];
    assert_eq!(response["decision"], "approve_once", "{got}");
}

#[tokio::test]
async fn a_revoked_phone_is_told_closed_and_not_let_in_again() {
    let (relay, mut desktop, device, token) = paired().await;
    let (mut phone, _) = authenticated(&relay, &token).await;
    let body =
        json!({ "sessionID": SESSION, "desktopSessionToken": DESKTOP_TOKEN, "deviceID": device });

    let listed = json!({ "sessionID": SESSION, "desktopSessionToken": DESKTOP_TOKEN });
    let (_, list) = post(&relay, "/devices/list", listed).await;
    assert_eq!(list["devices"][0]["connected"], true, "{list}");
    let (status, _) = post(&relay, "/devices/revoke", body).await;

    assert_eq!(status, 200);
    let (reason, close) = ended(&mut phone).await;
    assert_eq!((reason, close["close"].clone()), (json!("device_revoked"), json!(1008)));
    assert_eq!(until(&mut desktop, "relay.device_count").await["connectedDeviceCount"], 1);
    let mut again = open(&relay).await;
    send(&mut again, &json!({ "type": "relay.auth", "token": token })).await;
    let (reason, close) = ended(&mut again).await;
    assert_eq!((reason, close["close"].clone()), (json!("session_expired"), json!(1008)));
}

#[tokio::test]
async fn a_stopped_session_ends_for_everybody_and_leaves_nothing() {
    let (relay, mut desktop, _, token) = paired().await;
    let (mut phone, _) = authenticated(&relay, &token).await;
    let body = json!({ "sessionID": SESSION, "desktopSessionToken": DESKTOP_TOKEN });

    assert_eq!(post(&relay, "/pair/stop", body.clone()).await.0, 200);

    for socket in [&mut desktop, &mut phone] {
        let (reason, close) = ended(socket).await;
        assert_eq!((reason, close["close"].clone()), (json!("stopped_by_desktop"), json!(1008)));
    }
    assert_eq!(post(&relay, "/devices/list", body.clone()).await.1["error"], "session_not_found");
    assert_eq!(post(&relay, "/pair/stop", body).await.0, 200, "it is ended already");
    relay.until_number("activeWebSockets", 0).await;
}

#[tokio::test]
async fn the_old_token_counts_until_the_new_one_was_used() {
    let (relay, _desktop, _, token) = paired().await;

    for _ in 0..5 {
        // The phone dies before it stores what it was offered.
        let (phone, _) = authenticated(&relay, &token).await;
        drop(phone);
    }

    authenticated(&relay, &token).await;
}

#[tokio::test]
async fn first_frames_that_do_not_authenticate_are_told_and_closed() {
    let relay = relay().await;
    for (frame, reason, code) in [
        (Message::text("{"), "invalid_json", 1003),
        (Message::text("[]"), "auth_required", 4500),
        (Message::text(r#"{"type":"relay.auth"}"#), "auth_required", 4500),
        (Message::text(r#"{"type":"relay.auth","token":7}"#), "auth_required", 4500),
        (Message::text(r#"{"type":"relay.auth","token":"short"}"#), "auth_invalid", 4500),
        (
            Message::text(r#"{"type":"relay.auth","token":"unknown-token-0123456789ab"}"#),
            "session_expired",
            1008,
        ),
        (Message::binary(vec![1, 2, 3]), "binary_not_supported", 1003),
    ] {
        let mut socket = open(&relay).await;
        socket.send(frame.clone()).await.expect("sent");
        let (told, close) = ended(&mut socket).await;
        assert_eq!((told, close["close"].clone()), (json!(reason), json!(code)), "{frame:?}");
    }
}

#[tokio::test]
async fn bodies_that_are_not_ours_get_an_error_as_json() {
    let relay = relay().await;
    let client = reqwest::Client::new();
    let mut with = start("join-token-0123456789abcdef");
    with["colour"] = json!("red");
    let mut short = start("join-token-0123456789abcdef");
    short["sessionID"] = json!("short");
    for (body, status, error) in [
        ("{".to_owned(), 400, "invalid_request"),
        (with.to_string(), 422, "invalid_request"),
        (short.to_string(), 400, "invalid_pair_start"),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(70_000)), 413, "invalid_request"),
    ] {
        let asked = client.post(format!("{}/pair/start", relay.url));
        let asked = asked.header("content-type", "application/json").body(body.clone());
        let answer = asked.send().await.expect("answered");
        assert_eq!(answer.status().as_u16(), status, "{body:.80}");
        let told: Value = answer.json().await.expect("JSON");
        assert_eq!(told["error"], error, "{told}");
        assert!(told["message"].as_str().is_some_and(|m| !m.is_empty()));
    }
}

#[tokio::test]
async fn another_desktop_cannot_take_a_session() {
    let (relay, _desktop, _, token) = paired().await;
    let mut body = start("join-token-of-somebody-else");
    body["desktopSessionToken"] = json!("another-desktop-0123456789abcdef");

    let (status, told) = post(&relay, "/pair/start", body).await;

    assert_eq!((status, &told["error"]), (409, &json!("session_already_active")));
    authenticated(&relay, &token).await;
}

#[tokio::test]
async fn a_session_that_nobody_uses_leaves_and_one_with_a_phone_stays() {
    let mut short = config();
    short.allowed_origins = vec!["*".to_owned()];
    short.compat_retention = Duration::from_millis(300);
    short.sweep_every = Duration::from_millis(50);
    let (relay, desktop, _, token) = paired_at(Relay::start(short).await).await;
    drop(desktop);
    let mut abandoned = start("join-token-0123456789abcdef");
    abandoned["sessionID"] = json!("session-of-nobody-0123456789");
    assert_eq!(post(&relay, "/pair/start", abandoned).await.0, 200);
    let list = json!({
        "sessionID": "session-of-nobody-0123456789", "desktopSessionToken": DESKTOP_TOKEN,
    });

    let leaving = async {
        while post(&relay, "/devices/list", list.clone()).await.0 == 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(SOON, leaving).await.expect("swept in time");

    authenticated(&relay, &token).await;
}

#[tokio::test]
async fn a_token_of_the_other_protocol_does_not_get_in_without_its_key() {
    let relay = relay().await;
    let mut desk = belay_testkit::Desk::start(&relay).await;
    let phone = desk.pair(&relay).await;
    let token = phone.credentials.load().expect("readable").expect("there").token;
    drop(phone);

    let mut socket = open(&relay).await;
    send(&mut socket, &json!({ "type": "relay.auth", "token": token.expose() })).await;

    let (_, close) = ended(&mut socket).await;
    assert!(close["close"].is_number(), "{close}");
}

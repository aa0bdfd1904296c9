//! Bad frames of somebody who holds a key: each a typed answer, and nothing lost for others.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use belay_client::{CredentialStore, Event};
use belay_testkit::{Desk, Member, Relay, SOON, config};
use belay_wire::{Channel, Frame, Hello, RawJson, proof::auth_transcript};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::bad_input::{Socket, close_code, connect};

/// A frame as text, its kind first.
fn text(k: &str, members: &Value) -> Message {
    let members = members.to_string();
    Message::text(format!("{{\"k\":\"{k}\",{}", &members[1..]))
}

async fn hello(socket: &mut Socket) -> Hello {
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no hello") };
    let Ok(Frame::Hello(hello)) = belay_wire::decode(&text) else { panic!("{text}") };
    hello
}

/// `auth` of a paired phone, as it should be.
fn auth(relay: &Relay, phone: &Member, hello: &Hello) -> Value {
    // The node of the former connection may not have told the others that it ended.
    static ATTEMPTS: AtomicU64 = AtomicU64::new(1);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let held = phone.credentials.load().expect("readable").expect("there");
    let principal = *phone.id.as_bytes();
    let token = held.token.expose();
    let signed = auth_transcript(&relay.url, held.session, &principal, &hello.nonce, token);
    json!({
        "version": "1.0", "token": token, "nonce": hello.nonce,
        "proof": phone.identity.sign(&signed),
        "client": { "name": "raw", "version": "0", "instance": "raw", "attempt": attempt },
        "resume": {}, "base": { format!("up/{}", phone.id): { "epoch": "0000000000000001", "seq": 1, "fresh": true } },
    })
}

async fn welcome(relay: &Relay, phone: &Member) -> Socket {
    let mut socket = connect(relay, None).await.expect("upgraded");
    let hello = hello(&mut socket).await;
    socket.send(text("auth", &auth(relay, phone, &hello))).await.expect("sent");
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("no welcome") };
    assert!(text.starts_with("{\"k\":\"welcome\""), "{text}");
    socket
}

/// The reason of the nack, or the close code, that a frame is answered with.
async fn answer(socket: &mut Socket, frame: Message) -> String {
    socket.send(frame).await.expect("sent");
    let answered = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    if let Ok(Frame::Nack(nack)) = belay_wire::decode(&text) {
                        return format!("{:?}", nack.reason);
                    }
                }
                Some(Ok(Message::Close(close))) => {
                    return close.map_or(0, |c| c.code.into()).to_string();
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return "gone".to_owned(),
            }
        }
    };
    tokio::time::timeout(SOON, answered).await.expect("answered in time")
}

#[tokio::test]
async fn whatever_a_paired_phone_sends_is_answered_and_another_phone_goes_on() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let (bad, good) = (desk.pair(&relay).await, desk.pair(&relay).await);
    let up = format!("up/{}", bad.id);
    let msg = |ch: &str, p: &str| {
        format!(r#"{{"k":"msg","ch":"{ch}","epoch":"0000000000000001","seq":1,"p":{p}}}"#)
    };
    let skip = |reason: &str| {
        text("skip", &json!({ "ch": up, "epoch": "0000000000000001", "to": 9, "reason": reason }))
    };
    let cases = [
        (Message::text("not json"), "4400"),
        (Message::text(""), "4400"),
        (Message::text(r#"{"k":"hello"}"#), "4400"),
        (Message::text(r#"{"k":"ping","n":1,"n":2,"t":0}"#), "4400"),
        (Message::text(r#"{"k":"ping","n":1,"t":0,"extra":true}"#), "4400"),
        (text("device.revoke", &json!({ "member": good.id })), "4400"),
        (Message::text(msg(&up, &format!("{}1{}", "[".repeat(99), "]".repeat(99)))), "4400"),
        (skip(&"x".repeat(1_000)), "4400"),
        (text("snapshot", &json!({ "id": "x".repeat(1_000), "reason": "r" })), "4400"),
        (Message::binary(vec![9, 9, 9]), "4400"),
        (Message::binary(vec![1, 0, 200, 1]), "4400"),
        (Message::text(msg(&up, &format!("\"{}\"", "x".repeat(300_000)))), "TooLarge"),
        (Message::text(msg("down", "1")), "NotAllowed"),
        (Message::text(msg(&format!("up/{}", good.id), "1")), "NotAllowed"),
    ];
    for (frame, expected) in cases {
        let shown: String = format!("{frame:?}").chars().take(90).collect();
        let mut socket = welcome(&relay, &bad).await;

        assert_eq!(answer(&mut socket, frame).await, expected, "{shown}");
    }

    let payload = RawJson::of(&"still here").expect("JSON");
    good.client.send(Channel::Up(good.id), payload, None).expect("room");
    desk.until(|e| matches!(e, Event::Message(m) if m.payload.text() == "\"still here\"")).await;
}

/// A change that makes a good `auth` a bad one.
type Spoil = Box<dyn Fn(&mut Value)>;

#[tokio::test]
async fn tokens_and_proofs_that_are_wrong_are_told_apart_and_revoke_nobody() {
    let relay = Relay::start(config()).await;
    let other = Relay::start_alone(config()).await;
    let mut desk = Desk::start(&relay).await;
    let phone = desk.pair(&relay).await;
    let foreign = Desk::start(&other).await.token();
    let change =
        |name: &'static str, value: Value| move |auth: &mut Value| auth[name] = value.clone();
    let cases: Vec<(&str, Spoil, u16)> = vec![
        ("garbage", Box::new(change("token", json!("x"))), 4401),
        ("of another relay", Box::new(change("token", json!(foreign.expose()))), 4401),
        ("proof over something else", Box::new(change("proof", json!("A".repeat(86)))), 4401),
        (
            "no proof",
            Box::new(|auth| drop(auth.as_object_mut().expect("one").remove("proof"))),
            4401,
        ),
        ("nonce of another connection", Box::new(change("nonce", json!("abc"))), 4401),
        ("unknown version", Box::new(change("version", json!("9.9"))), 4400),
    ];
    for (what, spoil, code) in cases {
        let mut socket = connect(&relay, None).await.expect("upgraded");
        let hello = hello(&mut socket).await;
        let mut auth = auth(&relay, &phone, &hello);
        spoil(&mut auth);
        socket.send(text("auth", &auth)).await.expect("sent");

        assert_eq!(close_code(&mut socket).await, Some(code), "{what}");
    }

    drop(welcome(&relay, &phone).await);
    assert_eq!(relay.numbers().await["deviceRevokes"], 0);
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_a_protocol_error() {
    let relay = Relay::start(config()).await;
    let mut socket = connect(&relay, None).await.expect("upgraded");
    hello(&mut socket).await;

    // A masked text frame of two bytes that are no UTF-8, and a mask of zeros.
    let frame = [0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe];
    socket.get_mut().write_all(&frame).await.expect("written");

    assert_eq!(close_code(&mut socket).await, Some(4400));
}

#[tokio::test]
async fn a_hundred_reconnects_leak_neither_task_nor_record() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    relay.until_number("activeWebSockets", 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..100 {
        phone.client.reconnect();
        phone.until(|e| matches!(e, Event::Connected(_))).await;
    }

    let deadline = tokio::time::Instant::now() + SOON;
    while tasks() > before {
        assert!(tokio::time::Instant::now() < deadline, "{} tasks, before {before}", tasks());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let url = format!("http://{}/admin/sessions", relay.admin());
    let call = reqwest::Client::new().get(url).bearer_auth(relay.admin_token());
    let text = call.send().await.expect("answers").text().await.expect("a body");
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["sessions"][0]["devices"], 1);
}

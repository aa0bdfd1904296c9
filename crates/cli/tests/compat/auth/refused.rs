//! Section 3: each way in which a socket is refused.

use std::time::{Duration, Instant};

use belay_testkit::compat::{Net, Wire};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{COME_BACK, ends_now, on_folder, phone_heard_nothing, present, replace_relay};
use crate::{
    endings::frames::{not_utf8, reserved},
    scenario::Scenario,
    world::World,
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = first_frames();
    all.extend(tokens());
    all.extend(times());
    all
}

fn text(json: &str) -> Message {
    Message::text(json.to_owned())
}

fn token_of(chars: usize) -> Message {
    let token = "t".repeat(chars);
    Message::text(json!({ "type": "relay.auth", "token": token }).to_string())
}

fn first_frames() -> Vec<Scenario> {
    let known = "unknown-token-0123456789";
    let typed = |kind: &str| Message::text(json!({ "type": kind, "token": known }).to_string());
    let rows = [
        ("not JSON", text("{"), "invalid_json", 1003),
        ("no text at all", text(""), "invalid_json", 1003),
        ("text that is not UTF-8", not_utf8(), "invalid_utf8", 1007),
        ("a frame with a reserved bit", reserved(), "protocol_error", 1002),
        ("a binary frame", Message::binary(vec![123, 125]), "binary_not_supported", 1003),
        ("an array", text("[]"), "auth_required", COME_BACK),
        ("null", text("null"), "auth_required", COME_BACK),
        ("a string", text(r#""relay.auth""#), "auth_required", COME_BACK),
        ("an empty object", text("{}"), "auth_required", COME_BACK),
        ("no token", text(r#"{"type":"relay.auth"}"#), "auth_required", COME_BACK),
        ("token null", text(r#"{"type":"relay.auth","token":null}"#), "auth_required", COME_BACK),
        ("token 7", text(r#"{"type":"relay.auth","token":7}"#), "auth_required", COME_BACK),
        ("no type", text(r#"{"token":"unknown-token-0123456789"}"#), "auth_required", COME_BACK),
        ("another type", typed("auth"), "auth_required", COME_BACK),
        ("a snapshot request", typed("relay.snapshot_request"), "auth_required", COME_BACK),
        ("a token of no characters", token_of(0), "auth_invalid", COME_BACK),
        ("a token of 21 characters", token_of(21), "auth_invalid", COME_BACK),
        ("a token of 513 characters", token_of(513), "auth_invalid", COME_BACK),
        ("a token of 22 characters nobody has", token_of(22), "session_expired", 1008),
        ("a token of 512 characters nobody has", token_of(512), "session_expired", 1008),
    ];
    let of_rows = rows.into_iter().map(|(name, frame, reason, code)| {
        Scenario::new(format!("3 refused as first frame: {name}"), move |w| async move {
            let mut wire = w.page().open().await;
            wire.send_message(frame).await;
            ends_now(&mut wire, reason, code).await;
        })
    });
    let other_alphabet = [".", "+", " ", "é", "="].into_iter().map(|sign| {
        Scenario::new(format!("3 refused: a token with \"{sign}\""), move |w| async move {
            let token = format!("token-0123456789-0123456789{sign}");
            ends_now(&mut present(&w.page(), &token).await, "auth_invalid", COME_BACK).await;
        })
    });
    of_rows.chain(other_alphabet).collect()
}

fn tokens() -> Vec<Scenario> {
    vec![
        Scenario::new("3 refused: a desktop whose session was stopped", |w| async move {
            let (desk, phone) = w.paired().await;
            let own = desk.desktop.own();
            assert_eq!(desk.net.post("/pair/stop", &own).await.status, 200);
            expired(&w.native(), &desk.desktop.token).await;
            expired(&w.page(), &phone.token).await;
        }),
        Scenario::new("3 refused: a phone that was revoked while away", |w| async move {
            let (desk, phone) = w.paired().await;
            let mut body = desk.desktop.own();
            body["deviceID"] = json!(phone.device);
            assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
            expired(&w.page(), &phone.token).await;
        }),
        Scenario::new("3 refused: a token with one character changed", |w| async move {
            let (_desk, phone) = w.paired().await;
            let (start, end) = phone.token.split_at(phone.token.len() / 2);
            let other = if end.starts_with('A') { "B" } else { "A" };
            expired(&w.page(), &format!("{start}{other}{}", &end[1..])).await;
        }),
        Scenario::new("3 refused: a join token is no token of a socket", |w| async move {
            let desktop = w.started().await;
            expired(&w.page(), &desktop.join_token).await;
        }),
        Scenario::new("3 refused for now: a token of a key that is not here", |w| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let key = |id: u32| format!("{id}:{}", "5a".repeat(32));
            let w = on_folder(w.session, &folder, &[("BELAY_TOKEN_KEYS", &key(1))]);
            let (_, phone) = w.paired().await;
            let w = replace_relay(w, &folder, &[("BELAY_TOKEN_KEYS", &key(2))]);
            let mut wire = present(&w.page(), &phone.token).await;
            ends_now(&mut wire, "key_unavailable", 1013).await;
        }),
        Scenario::new("3 refused for now: the rotated token could not be saved", |w| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let w = on_folder(w.session, &folder, &[]);
            let (mut desk, mut phone) = w.paired().await;
            desk.connect(&mut phone).await.close().await;
            spoil(folder.path());
            // The first use of a token is what must be saved.
            let mut wire = present(&w.page(), &phone.token).await;
            ends_now(&mut wire, "store_unavailable", 1013).await;
        }),
    ]
}

/// Writes over the files of a store, as a failing disk does; their sizes stay, because the relay
/// has them in its memory.
fn spoil(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.to_string_lossy().contains(".db") {
            let bytes = vec![0xa5; std::fs::read(&path).expect("a file").len()];
            let mut file = std::fs::File::options().write(true).open(&path).expect("a file");
            std::io::Write::write_all(&mut file, &bytes).expect("written");
        }
    }
}

async fn expired(net: &Net, token: &str) {
    ends_now(&mut present(net, token).await, "session_expired", 1008).await;
}

fn times() -> Vec<Scenario> {
    vec![
        Scenario::new("3 refused: nothing in time", |w| async move {
            let w = w.with(&[("WS_AUTH_TIMEOUT_MS", "300")]);
            let (mut wire, opened) = opened(&w).await;
            ends_now(&mut wire, "auth_timeout", COME_BACK).await;
            assert!(opened.elapsed() >= Duration::from_millis(300), "{:?}", opened.elapsed());
        }),
        Scenario::new("3 refused: nothing but pings in time", |w| async move {
            let w = w.with(&[("WS_AUTH_TIMEOUT_MS", "300")]);
            let (mut wire, _) = opened(&w).await;
            wire.send_message(Message::Ping(Vec::new().into())).await;
            ends_now(&mut wire, "auth_timeout", COME_BACK).await;
        }),
        Scenario::new("3 who is in is not subject to the time of a first frame", |w| async move {
            let w = w.with(&[("WS_AUTH_TIMEOUT_MS", "1000")]);
            let (_desk, mut phone, _) = w.connected().await;
            phone.stays_silent(Duration::from_millis(1_200)).await;
            phone_heard_nothing(&mut phone).await;
        }),
        Scenario::new("3 further members of the first frame are allowed", |w| async move {
            let desktop = w.started().await;
            let mut wire = w.native().open().await;
            let auth = json!({
                "clientName": "desktop", "type": "relay.auth", "more": { "a": [1, null] },
                "token": desktop.token, "schemaVersion": 2,
            });
            wire.send(&auth).await;
            assert_eq!(wire.message().await["type"], "auth_ok");
        }),
        Scenario::new("3 other paths are 404", |w| async move {
            for path in ["/ws/", "/socket", "/ws/more"] {
                assert_eq!(w.page().try_open(path).await.err(), Some(404), "{path}");
            }
        }),
    ]
}

/// A socket that says nothing, and when it was opened.
async fn opened(w: &World) -> (Wire, Instant) {
    let before = Instant::now();
    (w.page().open().await, before)
}

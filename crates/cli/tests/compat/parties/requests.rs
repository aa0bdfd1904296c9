//! Section 4.2: `relay.pair_request`.

use std::time::{SystemTime, UNIX_EPOCH};

use belay_testkit::compat::{Answer, Net};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    auth::has_only,
    scenario::Scenario,
    world::{Desk, World},
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = members();
    all.extend(names());
    all.extend(times());
    all
}

fn join_with(desk: &Desk, net: Net, more: &Value, headers: &'static str) -> JoinHandle<Answer> {
    let mut body = json!({
        "sessionID": desk.desktop.session_id, "joinToken": desk.desktop.join_token,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    tokio::spawn(async move {
        let headers = [("content-type", "application/json"), ("x-forwarded-for", headers)];
        net.raw("POST", "/pair/join", &headers, body.to_string()).await
    })
}

/// What the desktop is asked about a phone with this name. It says no.
async fn request_of(w: &World, more: Value, forwarded: &'static str) -> Value {
    let mut desk = w.open().await;
    let joining = join_with(&desk, w.page(), &more, forwarded);
    let request = desk.decide(false).await;
    assert_eq!(joining.await.expect("ran").status, 403);
    request
}

const NAMED: [&str; 7] =
    ["type", "sessionID", "requestID", "deviceName", "requesterIP", "requestedAt", "expiresAt"];

fn members() -> Vec<Scenario> {
    vec![
        Scenario::new("4.2 pair_request of a phone with a name", |w| async move {
            let request = request_of(&w, json!({ "deviceName": "Ana's phone" }), "").await;
            has_only(&request, &NAMED);
            assert_eq!(request["sessionID"], json!(w.session));
            assert_eq!(request["deviceName"], "Ana's phone");
            assert_eq!(request["requesterIP"], "127.0.0.1");
            let id = request["requestID"].as_str().expect("text");
            assert!(id.len() >= 14, "{id}");
        }),
        Scenario::new("4.2 pair_request of a phone without a name", |w| async move {
            let request = request_of(&w, json!({}), "").await;
            let without: Vec<_> = NAMED.into_iter().filter(|n| *n != "deviceName").collect();
            has_only(&request, &without);
        }),
        Scenario::new("4.2 pair_request: each has its own requestID", |w| async move {
            let mut desk = w.open().await;
            let mut ids = Vec::new();
            for _ in 0..3 {
                let joining = join_with(&desk, w.page(), &json!({}), "");
                ids.push(desk.decide(false).await["requestID"].to_string());
                joining.await.expect("ran");
            }
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 3, "{ids:?}");
        }),
        Scenario::new(
            "4.2 pair_request: what a client says of its address is not believed",
            |w| async move {
                let request = request_of(&w, json!({}), "203.0.113.9").await;
                assert_eq!(request["requesterIP"], "127.0.0.1");
            },
        ),
        Scenario::new("4.2 pair_request: the address that a trusted proxy tells", |w| async move {
            let w = w.with(&[("TRUST_PROXY", "true")]);
            let request = request_of(&w, json!({}), "203.0.113.9").await;
            assert_eq!(request["requesterIP"], "203.0.113.9");
        }),
        Scenario::new("4.2 pair_request comes once", |w| async move {
            let mut desk = w.open().await;
            let _joining = desk.joining();
            desk.wire.until("relay.pair_request").await;
            crate::auth::desktop_heard_nothing(&mut desk.wire).await;
        }),
    ]
}

fn names() -> Vec<Scenario> {
    let rows = [
        ("is trimmed", json!("  Ana \n"), Some("Ana".to_owned())),
        ("of blanks is none", json!(" \t "), None),
        ("null is none", Value::Null, None),
        ("is cut to 64 characters", json!("é".repeat(70)), Some("é".repeat(64))),
    ];
    let of_row = rows.into_iter().map(|(name, given, expected)| {
        Scenario::new(format!("4.2 pair_request: a name {name}"), move |w| async move {
            let request = request_of(&w, json!({ "deviceName": given }), "").await;
            let told = request.get("deviceName").map(|n| n.as_str().expect("text").to_owned());
            assert_eq!(told, expected, "{request}");
        })
    });
    of_row.collect()
}

fn times() -> Vec<Scenario> {
    vec![
        Scenario::new("4.2 pair_request: times are whole seconds with Z", |w| async move {
            let before = now();
            let request = request_of(&w, json!({}), "").await;
            let requested = seconds(&request["requestedAt"]);
            assert!((before..=now()).contains(&requested), "{request}");
            assert_eq!(seconds(&request["expiresAt"]) - requested, 45);
        }),
        Scenario::new(
            "4.2 pair_request: expiresAt follows PAIR_APPROVAL_TIMEOUT_MS",
            |w| async move {
                let w = w.with(&[("PAIR_APPROVAL_TIMEOUT_MS", "20000")]);
                let request = request_of(&w, json!({}), "").await;
                let wait = seconds(&request["expiresAt"]) - seconds(&request["requestedAt"]);
                assert_eq!(wait, 20);
            },
        ),
        Scenario::new("4.2 pair_request: expiresAt is at least 5 s away", |w| async move {
            let w = w.with(&[("PAIR_APPROVAL_TIMEOUT_MS", "1000")]);
            let request = request_of(&w, json!({}), "").await;
            let wait = seconds(&request["expiresAt"]) - seconds(&request["requestedAt"]);
            assert_eq!(wait, 5);
        }),
    ]
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Unix seconds of `2026-02-25T10:00:00Z`, in exactly this form, because the desktop's decoder
/// refuses fractions and offsets.
fn seconds(time: &Value) -> u64 {
    let text = time.as_str().expect("text");
    let sample = "2026-02-25T10:00:00Z";
    let fits = |(b, s): (u8, u8)| if s.is_ascii_digit() { b.is_ascii_digit() } else { b == s };
    assert_eq!(text.len(), sample.len(), "{text}");
    assert!(text.bytes().zip(sample.bytes()).all(fits), "{text}");
    let part = |from: usize, to: usize| text[from..to].parse::<u64>().expect("digits");
    let (year, month, day) = (part(0, 4), part(5, 7), part(8, 10));
    let (hour, minute, second) = (part(11, 13), part(14, 16), part(17, 19));
    // Years are counted from March on, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    // 1 March of the year 0 is 719,469 days before 1 January 1970.
    (days - 719_469) * 86_400 + hour * 3_600 + minute * 60 + second
}

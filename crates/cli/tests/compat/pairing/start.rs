//! Section 2.4: a desktop opens a session.

use belay_testkit::unix_ms;
use serde_json::{Value, json};

use super::time::rfc3339;
use crate::{
    bodies::check::{STARTED, accepted, refused},
    scenario::Scenario,
    world::World,
};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = answers();
    all.extend(urls());
    all.extend(bases());
    all.extend(shapes());
    all.extend(times());
    all
}

/// Starts with one member changed.
async fn start_with(w: &World, name: &str, value: Value) -> belay_testkit::compat::Answer {
    let mut body = w.desktop().start();
    body[name] = value;
    w.native().post("/pair/start", &body).await
}

fn answers() -> Vec<Scenario> {
    vec![
        Scenario::new("2.4 200 accepted, sessionID, wsURL", |w| async move {
            let desktop = w.desktop();
            let answer = w.native().post("/pair/start", &desktop.start()).await;
            accepted(&answer, &STARTED);
            assert_eq!(answer.body["sessionID"], json!(w.session));
            let mut wire = w.native().open().await;
            assert_eq!(wire.auth(&desktop.token).await["sessionID"], json!(w.session));
        }),
        Scenario::new("2.4 200 only what is required", |w| async move {
            let desktop = w.desktop();
            let body = json!({
                "sessionID": desktop.session_id, "joinToken": desktop.join_token,
                "desktopSessionToken": desktop.token,
                "joinTokenExpiresAt": "2100-01-01T00:00:00Z",
            });
            let answer = w.native().post("/pair/start", &body).await;
            accepted(&answer, &STARTED);
        }),
        Scenario::new("2.4 200 null is absent", |w| async move {
            let mut body = w.desktop().start();
            for name in ["relayWebSocketURL", "idleTimeoutSeconds", "schemaVersion"] {
                body[name] = Value::Null;
            }
            let answer = w.native().post("/pair/start", &body).await;
            accepted(&answer, &STARTED);
        }),
        Scenario::new("2.4 200 idleTimeoutSeconds of any size", |w| async move {
            for seconds in [0_u64, 1, 59, 60, 1_800, 86_400, 86_401, u64::MAX] {
                let answer = start_with(&w, "idleTimeoutSeconds", json!(seconds)).await;
                assert_eq!(answer.status, 200, "{seconds}: {}", answer.text);
            }
        }),
        Scenario::new("2.4 idleTimeoutSeconds is at least 60", |w| async move {
            let w = w.with(&[("SESSION_SWEEP_INTERVAL_MS", "50")]);
            start_with(&w, "idleTimeoutSeconds", json!(1)).await;
            // Only time shows that nothing happens: one second and some sweeps more.
            tokio::time::sleep(std::time::Duration::from_millis(1_600)).await;
            let answer = w.native().post("/devices/list", &w.desktop().own()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }),
    ]
}

fn urls() -> Vec<Scenario> {
    let given = [
        ("with a path", "wss://relay.example.org/a/b", "wss://relay.example.org/a/b"),
        ("without a path", "wss://relay.example.org", "wss://relay.example.org/ws"),
        ("with the path /", "ws://relay.example.org:81/", "ws://relay.example.org:81/ws"),
        ("with a query", "wss://relay.example.org/ws?token=1", "wss://relay.example.org/ws"),
        ("with a fragment", "wss://relay.example.org/ws#part", "wss://relay.example.org/ws"),
        ("with a query alone", "wss://relay.example.org?a=1#b", "wss://relay.example.org/ws"),
    ];
    let mut all: Vec<_> = given
        .into_iter()
        .map(|(what, url, expected)| {
            Scenario::new(format!("2.4 relayWebSocketURL {what}"), move |w| async move {
                let answer = start_with(&w, "relayWebSocketURL", json!(url)).await;
                assert_eq!(answer.body["wsURL"], expected, "{}", answer.text);
            })
        })
        .collect();
    let unusable = [
        ("https", json!("https://relay.example.org/ws")),
        ("without a scheme", json!("relay.example.org/ws")),
        ("empty", json!("")),
        ("without a host", json!("wss://")),
        ("null", Value::Null),
    ];
    all.extend(unusable.into_iter().map(|(what, url)| {
        Scenario::new(format!("2.4 relayWebSocketURL {what} is derived"), move |w| async move {
            let derived = w.native().post("/pair/start", &w.desktop().start()).await;
            let answer = start_with(&w, "relayWebSocketURL", url).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert_eq!(answer.body["wsURL"], derived.body["wsURL"]);
        })
    }));
    all
}

/// The websocket address that follows from `PUBLIC_BASE_URL`.
fn bases() -> Vec<Scenario> {
    let mut all: Vec<_> = [
        ("https", "https://relay.example.org", "wss://relay.example.org/ws"),
        ("http", "http://relay.example.org:8080", "ws://relay.example.org:8080/ws"),
        ("https with a slash", "https://relay.example.org/", "wss://relay.example.org/ws"),
        ("https with a path", "https://relay.example.org/a/b", "wss://relay.example.org/ws"),
        ("https with a query", "https://relay.example.org/?a=1#b", "wss://relay.example.org/ws"),
    ]
    .into_iter()
    .map(|(what, base, expected)| {
        Scenario::new(format!("2.4 PUBLIC_BASE_URL {what}"), move |w| async move {
            let w = w.with(&[("PUBLIC_BASE_URL", base)]);
            let answer = w.native().post("/pair/start", &w.desktop().start()).await;
            assert_eq!(answer.body["wsURL"], expected, "{}", answer.text);
        })
    })
    .collect();
    all.push(Scenario::new("2.4 PUBLIC_BASE_URL not given", |w| async move {
        let answer = w.native().post("/pair/start", &w.desktop().start()).await;
        let port = w.relay.url.rsplit(':').next().expect("a port");
        assert_eq!(answer.body["wsURL"], format!("ws://localhost:{port}/ws"));
    }));
    all
}

fn shapes() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (name, least) in [("sessionID", 16), ("joinToken", 22), ("desktopSessionToken", 22)] {
        all.push(Scenario::new(
            format!("2.4 400 invalid_pair_start {name}"),
            move |w| async move {
                let long = "a".repeat(513);
                let short = "a".repeat(least - 1);
                let mut wrong = vec![String::new(), short, long];
                for c in [' ', '+', '/', '=', '.', ':', '\u{e9}', '\n', '\0'] {
                    wrong.push(format!("{}{c}", "a".repeat(30)));
                }
                for text in wrong {
                    let answer = start_with(&w, name, json!(text)).await;
                    assert_eq!(answer.status, 400, "{text:?}: {}", answer.text);
                    refused(&answer, 400, "invalid_pair_start");
                }
            },
        ));
        all.push(Scenario::new(format!("2.4 200 bounds of {name}"), move |w| async move {
            for size in [least, 512] {
                // The start of it is the scenario's own, also in the shortest form.
                let own: String = w.session.replace("ession", "").chars().take(least).collect();
                let text = format!("{own:-<size$}").replace("--", "-_");
                let answer = start_with(&w, name, json!(text)).await;
                assert_eq!(answer.status, 200, "{text}: {}", answer.text);
                w.native().post("/pair/stop", &stopping(&w, name, &text)).await;
            }
        }));
    }
    all
}

fn stopping(w: &World, name: &str, text: &str) -> Value {
    let mut body = w.desktop().own();
    if name != "joinToken" {
        body[name] = json!(text);
    }
    body
}

fn times() -> Vec<Scenario> {
    let one = |text: String, status: u16, error: &'static str| {
        let row = format!("2.4 {status} {error} joinTokenExpiresAt {text:?}");
        Scenario::new(row.replace("200  ", "200 "), move |w| async move {
            let answer = start_with(&w, "joinTokenExpiresAt", json!(text)).await;
            if status == 200 {
                accepted(&answer, &STARTED);
            } else {
                refused(&answer, status, error);
            }
        })
    };
    let mut all = Vec::new();
    for text in [
        "2100-01-01T00:00:00Z",
        "2100-01-01T00:00:00.123Z",
        "2100-01-01T00:00:00.123456789+00:00",
        "2100-01-01T02:00:00-05:30",
    ] {
        all.push(one(text.to_owned(), 200, ""));
    }
    for text in
        ["", "tomorrow", "2100-01-01", "2100-01-01T00:00:00", "4102444800", "2100-13-01T00:00:00Z"]
    {
        all.push(one(text.to_owned(), 400, "invalid_pair_start"));
    }
    for text in ["2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z"] {
        all.push(one(text.to_owned(), 400, "expired_join_token"));
    }
    all.push(Scenario::new("2.4 400 expired_join_token a moment ago", |w| async move {
        let answer = start_with(&w, "joinTokenExpiresAt", json!(rfc3339(unix_ms() - 1))).await;
        refused(&answer, 400, "expired_join_token");
        let later = rfc3339(unix_ms() + 5_000);
        let answer = start_with(&w, "joinTokenExpiresAt", json!(later)).await;
        assert_eq!(answer.status, 200, "{later}: {}", answer.text);
    }));
    all
}

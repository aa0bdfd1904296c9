//! Section 2.1 of the protocol: bodies, at each call.

pub(crate) mod check;
mod field;
mod path;

use std::fmt::Write as _;

use belay_testkit::compat::Answer;
use serde_json::{Value, json};

use crate::scenario::Scenario;
use check::{CALLS, JSON, body, refused};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all: Vec<_> = CALLS.into_iter().flat_map(faults).collect();
    all.extend(CALLS.into_iter().flat_map(accepted));
    all.extend(limits());
    all.extend(field::all());
    all.extend(path::all());
    all
}

/// A body in the place of the right one, and what it is answered.
fn fault(
    path: &'static str,
    what: &str,
    status: u16,
    named: &'static str,
    make: impl Fn(Value) -> Vec<Vec<u8>> + Send + 'static,
) -> Scenario {
    Scenario::new(format!("2.1 {path} {status} {what}"), move |w| async move {
        let net = w.native();
        for bytes in make(body(path, &w.desktop())) {
            let sent = String::from_utf8_lossy(&bytes).chars().take(80).collect::<String>();
            let answer = net.raw("POST", path, JSON, bytes).await;
            assert_eq!(answer.status, status, "{sent}: {}", answer.text);
            let message = refused(&answer, status, "invalid_request");
            assert!(message.contains(named), "{sent}: {named} is not named: {message}");
        }
    })
}

fn faults(path: &'static str) -> Vec<Scenario> {
    let texts = |texts: &'static [&'static str]| {
        move |_| texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    };
    vec![
        fault(path, "one byte over MAX_JSON_BYTES", 413, "65536", |b| vec![padded(&b, 65_537)]),
        fault(
            path,
            "not JSON",
            400,
            "JSON",
            texts(&["{\"sessionID\": }", "{", "{} {}", "{'a':1}"]),
        ),
        fault(path, "not UTF-8", 400, "UTF-8", |_| vec![b"{\"sessionID\":\"\xff\"}".to_vec()]),
        fault(path, "empty", 400, "empty", texts(&["", " \n"])),
        fault(path, "no object", 422, "object", texts(&["null", "[]", "\"sessionID\"", "7"])),
        fault(path, "unknown field", 422, "colour", |body| {
            let with = |value: Value| {
                let mut body = body.clone();
                body["colour"] = value;
                body.to_string().into_bytes()
            };
            vec![with(json!("red")), with(Value::Null)]
        }),
        fault(path, "field in other letters", 422, "sessionId", |mut body| {
            body["sessionId"] = body["sessionID"].take();
            vec![body.to_string().into_bytes()]
        }),
        Scenario::new(format!("2.1 {path} 415 no JSON by its Content-Type"), move |w| async move {
            let (net, text) = (w.native(), body(path, &w.desktop()).to_string());
            for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
                let headers: Vec<_> = kind.map(|kind| ("content-type", kind)).into_iter().collect();
                let answer = net.raw("POST", path, &headers, text.clone()).await;
                assert_eq!(answer.status, 415, "{kind:?}");
                let message = refused(&answer, 415, "invalid_request");
                assert!(message.contains("application/json"), "{kind:?}: {message}");
            }
        }),
    ]
}

/// The same body with blanks behind it, until it has this size.
fn padded(body: &Value, size: usize) -> Vec<u8> {
    let mut text = body.to_string();
    let blanks = size - text.len();
    write!(text, "{:blanks$}", "").expect("a string takes everything");
    text.into_bytes()
}

/// What a right body is answered while no desktop is connected and no phone is paired.
fn is_usual(path: &str, what: &str, answer: &Answer) {
    let (status, error) = match path {
        "/pair/join" => (409, "desktop_not_connected"),
        "/devices/revoke" => (404, "device_not_found"),
        _ => (200, ""),
    };
    assert_eq!((answer.status, answer.error()), (status, error), "{what}: {}", answer.text);
}

/// Forms of a body that all mean the same.
fn usual(
    path: &'static str,
    what: &str,
    make: impl Fn(&Value) -> Vec<(&'static str, Vec<u8>)> + Send + 'static,
) -> Scenario {
    Scenario::new(format!("2.1 {path} accepts {what}"), move |w| async move {
        let desktop = w.started().await;
        let net = w.native();
        for (kind, bytes) in make(&body(path, &desktop)) {
            let sent = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            let answer = net.raw("POST", path, &[("content-type", kind)], bytes).await;
            is_usual(path, &sent, &answer);
        }
    })
}

fn accepted(path: &'static str) -> Vec<Scenario> {
    const KIND: &str = "application/json";
    let plain = |body: &Value| (KIND, body.to_string().into_bytes());
    vec![
        usual(path, "MAX_JSON_BYTES and a charset", move |body| {
            let charset = "Application/JSON; charset=utf-8";
            vec![plain(body), (KIND, padded(body, 65_536)), (charset, plain(body).1)]
        }),
        usual(path, "schemaVersion 1, 2, null and none", move |body| {
            let mut without = body.clone();
            without.as_object_mut().expect("an object").remove("schemaVersion");
            let versions = [json!(1), json!(2), Value::Null];
            let with = versions.iter().map(|version| {
                let mut body = body.clone();
                body["schemaVersion"] = version.clone();
                plain(&body)
            });
            with.chain([plain(&without)]).collect()
        }),
        usual(path, "relayWebSocketURL", move |body| {
            let with = |value: Value| {
                let mut body = body.clone();
                body["relayWebSocketURL"] = value;
                plain(&body)
            };
            vec![with(json!("wss://relay.example.org/ws")), with(Value::Null)]
        }),
    ]
}

fn limits() -> Vec<Scenario> {
    vec![Scenario::new("2.1 MAX_JSON_BYTES is the limit", |w| async move {
        let w = w.with(&[("MAX_JSON_BYTES", "400")]);
        let desktop = w.started().await;
        let (net, right) = (w.native(), body("/devices/list", &desktop));
        for (size, status) in [(400, 200), (401, 413)] {
            let answer = net.raw("POST", "/devices/list", JSON, padded(&right, size)).await;
            assert_eq!(answer.status, status, "{size} bytes: {}", answer.text);
        }
    })]
}

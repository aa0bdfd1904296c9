//! What every answer of the HTTP calls has in common, and a right body for each call.

use std::collections::BTreeSet;

use belay_testkit::compat::{Answer, Desktop};
use serde_json::{Value, json};

/// The calls of desktops and phones.
pub(crate) const CALLS: [&str; 6] = [
    "/pair/start",
    "/pair/join",
    "/pair/refresh",
    "/pair/stop",
    "/devices/list",
    "/devices/revoke",
];

/// What a started session is answered, beside `accepted`.
pub(crate) const STARTED: [&str; 4] = ["sessionID", "wsURL", "usedDevices", "allowedDevices"];

pub(crate) const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A body that a call takes. The device of a revoke is one that nobody has.
pub(crate) fn body(path: &str, desktop: &Desktop) -> Value {
    let mut body = match path {
        "/pair/start" => desktop.start(),
        "/pair/join" => {
            return json!({
                "sessionID": desktop.session_id, "joinToken": desktop.join_token,
                "deviceName": "Ana's phone",
            });
        }
        _ => desktop.own(),
    };
    match path {
        "/pair/refresh" => {
            body["joinToken"] = json!("join-token-2-0123456789abcdef");
            body["joinTokenExpiresAt"] = json!("2100-01-01T00:00:00Z");
        }
        "/devices/revoke" => body["deviceID"] = json!("device-0123456789"),
        _ => {}
    }
    body
}

/// The members of an object, no more and no fewer.
pub(crate) fn has_exactly(object: &Value, names: &[&str]) {
    let found: BTreeSet<_> = object.as_object().expect("an object").keys().collect();
    let found: BTreeSet<_> = found.into_iter().map(String::as_str).collect();
    assert_eq!(found, names.iter().copied().collect(), "{object}");
}

/// JSON that no cache keeps.
fn is_plain(answer: &Answer) {
    let kind = answer.header("content-type").split(';').next().unwrap_or_default();
    assert_eq!(kind, "application/json", "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store", "{}", answer.text);
}

/// An error with this status and name, and its text for a person.
pub(crate) fn refused(answer: &Answer, status: u16, error: &str) -> String {
    refused_with(answer, status, error, &[])
}

/// The same with further members.
pub(crate) fn refused_with(answer: &Answer, status: u16, error: &str, more: &[&str]) -> String {
    assert_eq!((answer.status, answer.error()), (status, error), "{}", answer.text);
    let members: Vec<_> = ["error", "message"].iter().chain(more).copied().collect();
    has_exactly(&answer.body, &members);
    is_plain(answer);
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(!message.trim().is_empty(), "no message: {}", answer.text);
    message.to_owned()
}

/// An error whose text is given by the protocol.
pub(crate) fn refused_saying(answer: &Answer, status: u16, error: &str, text: &str) {
    assert_eq!(refused(answer, status, error), text);
}

/// A 200 with `accepted` and exactly these members beside it.
pub(crate) fn accepted(answer: &Answer, members: &[&str]) {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.body["accepted"], true, "{}", answer.text);
    let members: Vec<_> = ["accepted"].iter().chain(members).copied().collect();
    has_exactly(&answer.body, &members);
    is_plain(answer);
}

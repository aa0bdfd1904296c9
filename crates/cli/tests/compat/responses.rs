//! Section 4.7 of the protocol, and of 5.4 and 9 what the relay checks or translates: answers to what a
//! desktop asks.

mod answer;
mod approval;
mod decision;
mod member;
mod request;

use crate::scenario::Scenario;

pub(crate) fn all() -> Vec<Scenario> {
    [answer::all(), decision::all(), request::all(), member::all(), approval::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// `runtime_request.respond` with a response, as the web client writes it.
fn respond(kind: &str, response: &serde_json::Value) -> serde_json::Value {
    serde_json::json!({
        "name": "runtime_request.respond", "threadID": null, "projectID": null, "text": null,
        "runtimeRequestID": "7", "runtimeRequestKind": kind, "runtimeRequestResponse": response,
    })
}

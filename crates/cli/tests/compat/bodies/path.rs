//! Paths and methods that are none, and the order in which a call is checked.

use belay_testkit::compat::{Answer, Net};
use serde_json::json;

use super::check::{CALLS, JSON, body, refused};
use crate::{scenario::Scenario, world::World};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for path in CALLS {
        all.push(Scenario::new(format!("2 405 {path} is for POST"), move |w| async move {
            let net = w.native();
            for method in ["GET", "PUT", "DELETE", "PATCH"] {
                is_error(&net.raw(method, path, JSON, "{}").await, 405, method);
            }
        }));
        all.extend(order(path));
    }
    for path in ["/healthz", "/metricsz", "/ws"] {
        all.push(Scenario::new(format!("2 405 {path} is for GET"), move |w| async move {
            is_error(&w.native().raw("POST", path, JSON, "{}").await, 405, "POST");
        }));
    }
    all.push(Scenario::new("2 404 unknown paths", |w| async move {
        let net = w.native();
        for (method, path) in [
            ("POST", "/pair/unknown"),
            ("POST", "/pair"),
            ("POST", "/pair/start/"),
            ("POST", "/pair//start"),
            ("POST", "/PAIR/START"),
            ("POST", "/devices"),
            ("GET", "/pair/unknown"),
            ("GET", "/metricsz/"),
        ] {
            is_error(&net.raw(method, path, JSON, "{}").await, 404, path);
        }
    }));
    all
}

/// The form of every error, whatever its name.
fn is_error(answer: &Answer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    assert!(answer.body.is_object(), "{what}: no JSON body: {:?}", answer.text);
    let name = answer.error();
    let stable = |c: char| c.is_ascii_lowercase() || c == '_';
    assert!(!name.is_empty() && name.chars().all(stable), "{what}: {}", answer.text);
    refused(answer, status, name);
}

fn of_another_page(w: &World) -> Net {
    Net::page(&w.relay.url, "https://evil.example.org")
}

fn order(path: &'static str) -> Vec<Scenario> {
    vec![
        Scenario::new(format!("2.1 {path} checks body, version, origin"), move |w| async move {
            let (evil, right) = (of_another_page(&w), body(path, &w.desktop()));
            refused(&evil.raw("POST", path, JSON, "{").await, 400, "invalid_request");
            let mut unknown = right.clone();
            unknown["colour"] = json!("red");
            unknown["schemaVersion"] = json!(3);
            refused(&evil.post(path, &unknown).await, 422, "invalid_request");
            let mut version = right;
            version["schemaVersion"] = json!(3);
            refused(&evil.post(path, &version).await, 400, "unsupported_schema_version");
            version["schemaVersion"] = json!(2);
            version["sessionID"] = json!("short");
            refused(&evil.post(path, &version).await, 403, "origin_not_allowed");
        }),
        Scenario::new(format!("2.1 {path} counts what passed the origin"), move |w| async move {
            let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "1")]);
            let (net, evil, mut wrong) =
                (w.native(), of_another_page(&w), body(path, &w.desktop()));
            refused(&net.raw("POST", path, JSON, "{").await, 400, "invalid_request");
            wrong["schemaVersion"] = json!(3);
            refused(&net.post(path, &wrong).await, 400, "unsupported_schema_version");
            wrong["schemaVersion"] = json!(2);
            wrong["sessionID"] = json!("short");
            refused(&evil.post(path, &wrong).await, 403, "origin_not_allowed");
            // The only call of the minute is spent by a token in the wrong form.
            assert_eq!(net.post(path, &wrong).await.status, 400);
            refused(&evil.post(path, &wrong).await, 403, "origin_not_allowed");
            assert_eq!(net.post(path, &wrong).await.error(), "rate_limited");
        }),
    ]
}

//! The headers that let a browser call, and read what it was answered.

use belay_testkit::compat::{Answer, Net};
use serde_json::json;

use crate::{
    bodies::check::{CALLS, JSON, body},
    relay::PAGE,
    scenario::Scenario,
};

const ASKED: [(&str, &str); 2] =
    [("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for path in CALLS.into_iter().chain(["/healthz", "/metricsz"]) {
        all.push(Scenario::new(format!("2.2 OPTIONS {path}"), move |w| async move {
            let answer = w.page().raw("OPTIONS", path, &ASKED, "").await;
            assert_eq!((answer.status, answer.text.as_str()), (200, ""));
            is_marked(&answer, PAGE);
            assert_eq!(answer.header("access-control-max-age"), "");
        }));
    }
    for path in CALLS {
        all.push(Scenario::new(format!("2.2 CORS headers of {path}"), move |w| async move {
            let desktop = w.started().await;
            let page = w.page();
            is_marked(&page.post(path, &body(path, &desktop)).await, PAGE);
            is_marked(&page.raw("POST", path, JSON, "{").await, PAGE);
        }));
    }
    for path in ["/healthz", "/metricsz"] {
        all.push(Scenario::new(format!("2.2 CORS headers of {path}"), move |w| async move {
            let answer = w.page().get(path).await;
            assert_eq!(answer.header("access-control-allow-origin"), PAGE);
            let evil = Net::page(&w.relay.url, "https://evil.example.org");
            let answer = evil.get(path).await;
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }));
    }
    all.extend(others());
    all
}

/// What [R] sends to a page that may call.
fn is_marked(answer: &Answer, origin: &str) {
    for (name, value) in [
        ("access-control-allow-origin", origin),
        ("access-control-allow-methods", "POST,OPTIONS"),
        ("access-control-allow-headers", "content-type"),
        ("vary", "origin, access-control-request-method, access-control-request-headers"),
    ] {
        assert_eq!(answer.header(name), value, "{name} of {} {}", answer.status, answer.text);
    }
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
}

fn others() -> Vec<Scenario> {
    vec![
        Scenario::new("2.2 OPTIONS of another page", |w| async move {
            let evil = Net::page(&w.relay.url, "https://evil.example.org");
            for path in CALLS {
                let answer = evil.raw("OPTIONS", path, &ASKED, "").await;
                assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
                assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{path}");
            }
        }),
        Scenario::new("2.2 OPTIONS without Origin", |w| async move {
            let native = w.native();
            for path in CALLS {
                let answer = native.raw("OPTIONS", path, &[], "").await;
                assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
                assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{path}");
            }
        }),
        Scenario::new("2.2 CORS names the listed origin that called", |w| async move {
            let listed = ["https://a.example.org", "http://b.example.org:8080"];
            let w = w.with(&[("ALLOWED_ORIGINS", &listed.join(","))]);
            for origin in listed {
                let page = Net::page(&w.relay.url, origin);
                is_marked(&page.post("/pair/stop", &json!({})).await, origin);
                is_marked(&page.raw("OPTIONS", "/pair/stop", &ASKED, "").await, origin);
            }
        }),
        Scenario::new("2.2 CORS with * in the list", |w| async move {
            let w = w.with(&[("ALLOWED_ORIGINS", "*")]);
            is_marked(&w.page().post("/pair/stop", &json!({})).await, "*");
            is_marked(&w.page().raw("OPTIONS", "/pair/stop", &ASKED, "").await, "*");
        }),
        Scenario::new("2.2 CORS tells another page nothing", |w| async move {
            let desktop = w.started().await;
            let evil = Net::page(&w.relay.url, "https://evil.example.org");
            let answer = evil.post("/devices/list", &desktop.own()).await;
            assert_eq!(answer.error(), "origin_not_allowed");
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
            assert_eq!(
                answer.header("vary"),
                "origin, access-control-request-method, access-control-request-headers"
            );
        }),
        Scenario::new("2.2 CORS tells a native client of no origin", |w| async move {
            let desktop = w.started().await;
            let answer = w.native().post("/devices/list", &desktop.own()).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }),
        Scenario::new("2.2 CORS headers of 429", |w| async move {
            let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "1")]);
            let page = w.page();
            page.post("/devices/list", &w.desktop().own()).await;
            let answer = page.post("/devices/list", &w.desktop().own()).await;
            assert_eq!(answer.status, 429, "{}", answer.text);
            is_marked(&answer, PAGE);
        }),
    ]
}

//! Section 2.3: how many calls one address may make, by class.

use std::time::Duration;

use belay_testkit::compat::{Answer, Net};
use serde_json::Value;

use crate::{
    bodies::check::{CALLS, body, refused_saying},
    scenario::Scenario,
    world::World,
};

const PAIRING: &str = "Too many pairing attempts. Try again in a minute.";
const MANAGEMENT: &str = "Too many relay management requests. Try again in a minute.";

fn text(path: &str) -> &'static str {
    if matches!(path, "/pair/start" | "/pair/join") { PAIRING } else { MANAGEMENT }
}

pub(crate) fn all() -> Vec<Scenario> {
    let mut all: Vec<_> = CALLS.into_iter().map(one_more).collect();
    all.extend(CALLS.into_iter().map(alone));
    all.push(Scenario::new("2.3 Retry-After tells when to come back", |w| async move {
        let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "60")]);
        let (net, path) = (w.native(), "/devices/list");
        let body = body(path, &w.desktop());
        let mut refused = net.post(path, &body).await;
        // One call of the budget comes back in each second, so a few more than 60 may pass.
        for _ in 0..200 {
            if refused.status == 429 {
                break;
            }
            refused = net.post(path, &body).await;
        }
        is_limited(&refused, path);
        let seconds = refused.header("retry-after").parse().expect("seconds");
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        assert_eq!(net.post(path, &body).await.error(), "session_not_found");
    }));
    all.push(Scenario::new("2.3 health and numbers have no limit", |w| async move {
        let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "1")]);
        let net = w.native();
        for path in CALLS.into_iter().chain(CALLS) {
            net.post(path, &body(path, &w.desktop())).await;
        }
        for path in ["/healthz", "/metricsz"] {
            assert_eq!(net.get(path).await.status, 200, "{path}");
        }
    }));
    all.push(Scenario::new("2.3 sockets have no part in it", |w| async move {
        let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "1")]);
        let desktop = w.started().await;
        assert_eq!(w.native().post("/pair/start", &desktop.start()).await.status, 429);
        for _ in 0..3 {
            w.native().open().await.auth(&desktop.token).await;
        }
    }));
    all.extend(addresses());
    all
}

fn is_limited(answer: &Answer, path: &str) {
    refused_saying(answer, 429, "rate_limited", text(path));
    let after: u64 = answer.header("retry-after").parse().expect("Retry-After in seconds");
    assert!((1..=60).contains(&after), "{after}");
}

/// The call after the last that is allowed, for each call.
fn one_more(path: &'static str) -> Scenario {
    Scenario::new(format!("2.3 429 {path}"), move |w| async move {
        let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "3")]);
        let (net, body) = (w.native(), body(path, &w.desktop()));
        for _ in 0..3 {
            assert_ne!(net.post(path, &body).await.status, 429);
        }
        is_limited(&net.post(path, &body).await, path);
    })
}

/// Calls of a class share what is allowed, and leave that of the other alone.
fn alone(path: &'static str) -> Scenario {
    Scenario::new(format!("2.3 {path} spends what its class shares"), move |w| async move {
        let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "1")]);
        let (net, desktop) = (w.native(), w.desktop());
        assert_ne!(net.post(path, &body(path, &desktop)).await.status, 429);
        let (same, others): (Vec<_>, Vec<_>) =
            CALLS.into_iter().partition(|other| text(other) == text(path));
        for same in same {
            is_limited(&net.post(same, &body(same, &desktop)).await, same);
        }
        assert_ne!(net.post(others[0], &body(others[0], &desktop)).await.status, 429);
    })
}

async fn from(net: &Net, forwarded: &str, body: &Value) -> u16 {
    let headers = [("content-type", "application/json"), ("x-forwarded-for", forwarded)];
    net.raw("POST", "/devices/list", &headers, body.to_string()).await.status
}

async fn spent(w: &World, spends: &str, then: &str) -> u16 {
    let (net, body) = (w.native(), w.desktop().own());
    assert_eq!(from(&net, spends, &body).await, 404);
    from(&net, then, &body).await
}

/// With `TRUST_PROXY`: whether two values of `X-Forwarded-For` name one client.
fn proxied(what: &str, spends: &'static str, then: &'static str, status: u16) -> Scenario {
    Scenario::new(format!("2.3 TRUST_PROXY {what}"), move |w| async move {
        let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "1"), ("TRUST_PROXY", "true")]);
        assert_eq!(spent(&w, spends, then).await, status);
    })
}

fn addresses() -> Vec<Scenario> {
    vec![
        proxied("counts one client", "203.0.113.1", "203.0.113.1", 429),
        proxied("counts each client alone", "203.0.113.1", "203.0.113.2", 404),
        proxied("knows the client behind proxies", "203.0.113.1, 10.0.0.7", "203.0.113.1", 429),
        proxied("keeps clients of one proxy apart", "203.0.113.1, 10.0.0.7", "203.0.113.2", 404),
        proxied("passes over what is no address", "unknown, 203.0.113.1", "203.0.113.1", 429),
        proxied("takes IPv6", "2001:db8::7", "2001:db8::7", 429),
        Scenario::new("2.3 without TRUST_PROXY the peer counts", |w| async move {
            let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "1")]);
            assert_eq!(spent(&w, "203.0.113.1", "203.0.113.2").await, 429);
        }),
        Scenario::new("2.3 TRUST_PROXY without X-Forwarded-For counts the peer", |w| async move {
            let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "1"), ("TRUST_PROXY", "1")]);
            let (net, body) = (w.native(), w.desktop().own());
            assert_eq!(net.post("/devices/list", &body).await.status, 404);
            assert_eq!(net.post("/devices/list", &body).await.status, 429);
        }),
    ]
}

//! The members of both answers.

use belay_testkit::unix_ms;
use serde_json::Value;

use super::{beside, numbers};
use crate::{
    bodies::check::has_exactly, pairing::time::whole_seconds, scenario::Scenario, world::World,
};

/// Of the protocol.
const HEALTH: [&str; 9] = [
    "ok",
    "sessions",
    "activeWebSockets",
    "pendingJoinWaiters",
    "deviceTokens",
    "busSubscriptions",
    "crossInstanceBusEnabled",
    "redisPersistenceEnabled",
    "now",
];

/// Of `operations.md`: what runs, and why it is not well.
const HEALTH_TOO: [&str; 3] = ["version", "commit", "reason"];

const NUMBERS: [&str; 25] = [
    "sessions",
    "sessionsWithDesktop",
    "sessionsWithMobile",
    "activeWebSockets",
    "pendingJoinWaiters",
    "deviceTokens",
    "rateLimitBuckets",
    "commandRateLimitBuckets",
    "snapshotRateLimitBuckets",
    "busSubscriptions",
    "outboundSendFailures",
    "slowConsumerDisconnects",
    "pairStartRequests",
    "pairStartSuccesses",
    "pairStartFailures",
    "pairJoinRequests",
    "pairJoinSuccesses",
    "pairJoinFailures",
    "pairRefreshRequests",
    "pairRefreshSuccesses",
    "pairRefreshFailures",
    "wsAuthAttempts",
    "wsAuthSuccesses",
    "wsAuthFailures",
    "wsAuthFailureReasons",
];

const REASONS: [&str; 11] = [
    "auth_timeout_or_missing_payload",
    "invalid_auth_payload",
    "token_not_found",
    "relay_over_capacity",
    "desktop_session_missing",
    "mobile_origin_not_allowed",
    "mobile_session_missing",
    "device_not_registered",
    "device_cap_reached",
    "device_record_missing",
    "token_rotation_persist_failed",
];

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = health();
    all.extend(metrics());
    for path in ["/healthz", "/metricsz"] {
        all.push(Scenario::new(format!("2.7 2.8 {path} form"), move |w| async move {
            let answer = w.native().get(path).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let kind = answer.header("content-type");
            assert_eq!(kind.split(';').next(), Some("application/json"));
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.body["ok"], true);
        }));
        all.push(Scenario::new(format!("2.7 2.8 {path} now"), move |w| async move {
            let body = w.native().get(path).await.body;
            let now = i64::try_from(unix_ms() / 1_000).expect("a time");
            let told = whole_seconds(body["now"].as_str().expect("text"));
            assert!((now - told).abs() <= 5, "{told} is not {now}");
        }));
        all.push(Scenario::new(
            format!("2.7 2.8 {path} without bus and Redis"),
            move |w| async move {
                let body = w.native().get(path).await.body;
                assert_eq!(body["busSubscriptions"], 0);
                assert_eq!(body["crossInstanceBusEnabled"], false);
                assert_eq!(body["redisPersistenceEnabled"], false);
            },
        ));
        all.push(Scenario::new(format!("2.7 2.8 {path} is for anybody"), move |w| async move {
            let evil = belay_testkit::compat::Net::page(&w.relay.url, "https://evil.example.org");
            assert_eq!(evil.get(path).await.status, 200);
        }));
    }
    all
}

fn health() -> Vec<Scenario> {
    vec![
        Scenario::new("2.7 healthz members", |w| async move {
            let body = w.native().get("/healthz").await.body;
            let all: Vec<_> = HEALTH.into_iter().chain(HEALTH_TOO).collect();
            has_exactly(&body, &all);
            for name in ["sessions", "activeWebSockets", "pendingJoinWaiters", "deviceTokens"] {
                assert!(body[name].is_u64(), "{name} is {}", body[name]);
            }
        }),
        Scenario::new("2.7 healthz counts", |w| async move {
            let w = w.with(&[]);
            let _parties = parties(&w).await;
            let body = w.native().get("/healthz").await.body;
            for (name, value) in [
                ("sessions", 2),
                ("activeWebSockets", 3),
                ("pendingJoinWaiters", 1),
                ("deviceTokens", 1),
            ] {
                assert_eq!(body[name].as_u64(), Some(value), "{name} in {body}");
            }
        }),
    ]
}

/// Two sessions with their desktops, a phone that is connected, and one that waits.
async fn parties(w: &World) -> impl Sized + use<> {
    let connected = w.connected().await;
    let mut waiting = beside(w).open().await;
    let joining = waiting.joining();
    waiting.wire.until("relay.pair_request").await;
    (connected, waiting, joining)
}

fn metrics() -> Vec<Scenario> {
    vec![
        // `operations.md` adds numbers to these, so others may be there.
        Scenario::new("2.8 metricsz members", |w| async move {
            let body = numbers(&w.native()).await;
            for name in NUMBERS {
                let value = &body[name];
                let is_right = value.is_u64() != (name == "wsAuthFailureReasons");
                assert!(is_right, "{name} is {value}");
            }
            for name in ["ok", "crossInstanceBusEnabled", "redisPersistenceEnabled"] {
                assert!(body[name].is_boolean(), "{name} is {}", body[name]);
            }
            assert!(body["now"].is_string(), "{}", body["now"]);
        }),
        Scenario::new("2.8 wsAuthFailureReasons members", |w| async move {
            let body = numbers(&w.native()).await;
            let reasons = body["wsAuthFailureReasons"].as_object().expect("an object");
            for reason in REASONS {
                assert!(reasons.get(reason).is_some_and(Value::is_u64), "{reason}: {reasons:?}");
            }
            assert!(reasons.values().all(Value::is_u64), "{reasons:?}");
        }),
        Scenario::new("2.8 metricsz of a relay that did nothing", |w| async move {
            let w = w.with(&[]);
            let body = numbers(&w.native()).await;
            for name in NUMBERS.into_iter().filter(|name| *name != "wsAuthFailureReasons") {
                assert_eq!(body[name], 0, "{name}");
            }
        }),
        Scenario::new("2.8 metricsz and healthz agree", |w| async move {
            let w = w.with(&[]);
            let _parties = parties(&w).await;
            let (health, numbers) =
                (w.native().get("/healthz").await.body, numbers(&w.native()).await);
            for name in HEALTH.into_iter().filter(|name| *name != "now") {
                assert_eq!(health[name], numbers[name], "{name}");
            }
        }),
    ]
}

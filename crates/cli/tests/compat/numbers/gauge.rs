//! Section 2.8: what is there now.

use serde_json::json;

use super::{beside, until};
use crate::{bodies::check::body, scenario::Scenario};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = sockets();
    all.extend(waiters_and_tokens());
    all.extend(buckets());
    all
}

fn sockets() -> Vec<Scenario> {
    vec![
        Scenario::new("2.8 sessions", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let first = w.started().await;
            until(&net, &[("sessions", 1)]).await;
            net.post("/pair/start", &first.start()).await;
            until(&net, &[("sessions", 1)]).await;
            beside(&w).started().await;
            until(&net, &[("sessions", 2)]).await;
            net.post("/pair/stop", &first.own()).await;
            until(&net, &[("sessions", 1)]).await;
        }),
        Scenario::new("2.8 sessionsWithDesktop", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let desk = w.open().await;
            beside(&w).started().await;
            until(&net, &[("sessionsWithDesktop", 1), ("sessionsWithMobile", 0)]).await;
            // A desktop that takes over is still one.
            let mut newer = net.open().await;
            newer.auth(&desk.desktop.token).await;
            until(&net, &[("sessionsWithDesktop", 1), ("activeWebSockets", 1)]).await;
            newer.close().await;
            until(&net, &[("sessionsWithDesktop", 0), ("activeWebSockets", 0)]).await;
        }),
        Scenario::new("2.8 sessionsWithMobile counts sessions, not phones", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let (mut desk, first, _) = w.connected().await;
            desk.refresh().await;
            let mut phone = desk.pair().await;
            let second = desk.connect(&mut phone).await;
            until(&net, &[("sessionsWithMobile", 1), ("activeWebSockets", 3)]).await;
            first.close().await;
            until(&net, &[("sessionsWithMobile", 1), ("activeWebSockets", 2)]).await;
            second.close().await;
            until(&net, &[("sessionsWithMobile", 0), ("activeWebSockets", 1)]).await;
        }),
        Scenario::new("2.8 activeWebSockets without those that wait for auth", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let _silent = net.open().await;
            let _desk = w.open().await;
            until(&net, &[("activeWebSockets", 1), ("wsAuthAttempts", 2)]).await;
        }),
        Scenario::new("2.8 activeWebSockets after a line broke", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let (desk, wire, _) = w.connected().await;
            until(&net, &[("activeWebSockets", 2)]).await;
            drop(wire);
            drop(desk.wire);
            until(&net, &[("activeWebSockets", 0), ("sessionsWithDesktop", 0)]).await;
        }),
    ]
}

fn waiters_and_tokens() -> Vec<Scenario> {
    vec![
        Scenario::new("2.8 pendingJoinWaiters", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let mut desk = w.open().await;
            let joining = desk.joining();
            desk.wire.until("relay.pair_request").await;
            until(&net, &[("pendingJoinWaiters", 1)]).await;
            joining.abort();
            until(&net, &[("pendingJoinWaiters", 0)]).await;
            desk.wire = net.open().await;
            desk.wire.auth(&desk.desktop.token).await;
            desk.pair().await;
            until(&net, &[("pendingJoinWaiters", 0)]).await;
        }),
        Scenario::new("2.8 deviceTokens of paired devices", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let (mut desk, phone) = w.paired().await;
            until(&net, &[("deviceTokens", 1)]).await;
            desk.refresh().await;
            desk.pair().await;
            until(&net, &[("deviceTokens", 2)]).await;
            let mut body = desk.desktop.own();
            body["deviceID"] = json!(phone.device);
            desk.net.post("/devices/revoke", &body).await;
            until(&net, &[("deviceTokens", 1)]).await;
            desk.net.post("/pair/stop", &desk.desktop.own()).await;
            until(&net, &[("deviceTokens", 0)]).await;
        }),
        Scenario::new("2.8 deviceTokens counts tokens in grace", |w| async move {
            let w = w.with(&[("TOKEN_ROTATION_GRACE_MS", "3000")]);
            let net = w.native();
            let (mut desk, mut wire, _) = w.connected().await;
            // The first text shows that the phone has its new token; the former has its grace.
            wire.send(&json!({ "type": "relay.snapshot_request", "sessionID": w.session })).await;
            desk.wire.until("relay.snapshot_request").await;
            until(&net, &[("deviceTokens", 2)]).await;
            until(&net, &[("deviceTokens", 1)]).await;
        }),
    ]
}

fn buckets() -> Vec<Scenario> {
    vec![
        Scenario::new("2.8 rateLimitBuckets", |w| async move {
            let w = w.with(&[]);
            let (net, desktop) = (w.native(), w.desktop());
            until(&net, &[("rateLimitBuckets", 0)]).await;
            for _ in 0..2 {
                net.post("/pair/join", &body("/pair/join", &desktop)).await;
                until(&net, &[("rateLimitBuckets", 1)]).await;
            }
            // The desktop's calls are counted apart from those of phones.
            net.post("/devices/list", &desktop.own()).await;
            until(&net, &[("rateLimitBuckets", 2)]).await;
        }),
        Scenario::new("2.8 commandRateLimitBuckets", |w| async move {
            let w = w.with(&[("MAX_REMOTE_COMMANDS_PER_MINUTE", "5")]);
            let net = w.native();
            let (mut desk, mut wire, _) = w.connected().await;
            until(&net, &[("commandRateLimitBuckets", 0)]).await;
            wire.send(&json!({
                "schemaVersion": 2, "sessionID": w.session, "seq": 1,
                "timestamp": "2026-02-25T10:00:00.000Z",
                "payload": { "type": "command", "payload": {
                    "name": "thread.select", "commandID": "cmd-1", "threadID": "t-1",
                } },
            }))
            .await;
            desk.wire.envelope().await;
            let expected = [("commandRateLimitBuckets", 1), ("snapshotRateLimitBuckets", 0)];
            until(&net, &expected).await;
        }),
        Scenario::new("2.8 snapshotRateLimitBuckets", |w| async move {
            let w = w.with(&[("MAX_SNAPSHOT_REQUESTS_PER_MINUTE", "5")]);
            let net = w.native();
            let (mut desk, mut wire, _) = w.connected().await;
            until(&net, &[("snapshotRateLimitBuckets", 0)]).await;
            wire.send(&json!({ "type": "relay.snapshot_request", "sessionID": w.session })).await;
            desk.wire.until("relay.snapshot_request").await;
            let expected = [("commandRateLimitBuckets", 0), ("snapshotRateLimitBuckets", 1)];
            until(&net, &expected).await;
        }),
        Scenario::new("2.8 slowConsumerDisconnects", |w| async move {
            let settings =
                [("MAX_SOCKET_OUTBOUND_QUEUE", "8"), ("MAX_WS_MESSAGES_PER_MINUTE", "100000")];
            let w = w.with(&settings);
            let net = w.native();
            let (mut desk, wire, _) = w.connected().await;
            until(&net, &[("slowConsumerDisconnects", 0), ("outboundSendFailures", 0)]).await;
            // Nobody reads `wire`; what the kernel takes for it is a few megabytes.
            let mut message = desk.desktop.hello();
            message["payload"]["payload"]["clientName"] = json!("x".repeat(60_000));
            for _ in 0..400 {
                desk.wire.send(&message).await;
            }
            until(&net, &[("slowConsumerDisconnects", 1), ("activeWebSockets", 1)]).await;
            drop(wire);
        }),
        Scenario::new("2.8 outboundSendFailures of a healthy run", |w| async move {
            let w = w.with(&[]);
            let net = w.native();
            let (mut desk, mut wire, _) = w.connected().await;
            let hello = desk.desktop.hello();
            desk.wire.send(&hello).await;
            assert_eq!(wire.message().await, hello);
            wire.close().await;
            desk.wire.close().await;
            let expected = [("outboundSendFailures", 0), ("slowConsumerDisconnects", 0)];
            until(&net, &[("activeWebSockets", 0), expected[0], expected[1]]).await;
        }),
    ]
}

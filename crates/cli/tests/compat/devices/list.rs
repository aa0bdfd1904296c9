//! `/devices/list`: who is paired.

use belay_testkit::unix_ms;
use serde_json::{Value, json};

use super::refresh::COUNTS;
use crate::{
    bodies::check::{accepted, has_exactly},
    pairing::time::{passed, whole_seconds},
    scenario::Scenario,
    world::Desk,
};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = answers();
    all.extend(devices());
    all
}

async fn list(desk: &Desk) -> Vec<Value> {
    let answer = desk.net.post("/devices/list", &desk.desktop.own()).await;
    accepted(&answer, &["sessionID", "devices", COUNTS[0], COUNTS[1]]);
    let devices = answer.body["devices"].as_array().expect("a list").clone();
    assert_eq!(answer.body[COUNTS[0]], json!(devices.len()));
    devices
}

fn answers() -> Vec<Scenario> {
    vec![
        Scenario::new("2.6 list 200 of nobody", |w| async move {
            let desktop = w.started().await;
            let answer = w.native().post("/devices/list", &desktop.own()).await;
            accepted(&answer, &["sessionID", "devices", COUNTS[0], COUNTS[1]]);
            assert_eq!(answer.body["sessionID"], json!(w.session));
            assert_eq!(answer.body["devices"], json!([]));
            assert_eq!(answer.body[COUNTS[1]], 2);
        }),
        Scenario::new("2.6 list members of a device", |w| async move {
            let (desk, phone) = w.paired().await;
            let devices = list(&desk).await;
            assert_eq!(devices.len(), 1);
            let members = ["deviceID", "deviceName", "connected", "joinedAt", "lastSeenAt"];
            has_exactly(&devices[0], &members);
            assert_eq!(devices[0]["deviceID"], json!(phone.device));
            assert_eq!(devices[0]["deviceName"], "Ana's phone");
            assert_eq!(devices[0]["connected"], false);
        }),
        Scenario::new("2.6 list has devices of the own session only", |w| async move {
            let other =
                crate::world::World { relay: w.relay.clone(), session: format!("{}-b", w.session) };
            let (desk, _) = w.paired().await;
            let _other = other.paired().await;
            assert_eq!(list(&desk).await.len(), 1);
        }),
    ]
}

fn at(device: &Value, name: &str) -> i64 {
    whole_seconds(device[name].as_str().expect("a time"))
}

fn devices() -> Vec<Scenario> {
    vec![
        Scenario::new("2.6 list oldest first", |w| async move {
            let w = w.with(&[("MAX_DEVICES_PER_SESSION", "6")]);
            let (mut desk, first) = w.paired().await;
            let mut expected = vec![first.device];
            for _ in 0..5 {
                desk.refresh().await;
                expected.push(desk.pair().await.device);
            }
            let devices = list(&desk).await;
            let found: Vec<_> =
                devices.iter().map(|d| d["deviceID"].as_str().expect("text")).collect();
            assert_eq!(found, expected);
            let joined: Vec<_> = devices.iter().map(|d| at(d, "joinedAt")).collect();
            assert!(joined.is_sorted(), "{joined:?}");
        }),
        Scenario::new("2.6 list shows who is connected", |w| async move {
            let (mut desk, wire, first) = w.connected().await;
            desk.refresh().await;
            desk.pair().await;
            let devices = list(&desk).await;
            assert_eq!(
                (&devices[0]["connected"], &devices[1]["connected"]),
                (&json!(true), &json!(false))
            );
            assert_eq!(devices[0]["deviceID"], json!(first.device));
            wire.close().await;
            let count = desk.wire.until("relay.device_count").await;
            assert_eq!(count["connectedDeviceCount"], 0);
            assert_eq!(list(&desk).await[0]["connected"], false);
        }),
        Scenario::new("2.6 list times are whole seconds", |w| async move {
            let (desk, _) = w.paired().await;
            let device = list(&desk).await.remove(0);
            let now = i64::try_from(unix_ms() / 1_000).expect("a time");
            for name in ["joinedAt", "lastSeenAt"] {
                assert!((now - at(&device, name)).abs() <= 5, "{device}");
            }
        }),
        Scenario::new("2.6 list lastSeenAt follows a connect", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            let before = list(&desk).await.remove(0);
            passed(unix_ms() + 1_100).await;
            let wire = desk.connect(&mut phone).await;
            wire.close().await;
            desk.wire.until("relay.device_count").await;
            let after = list(&desk).await.remove(0);
            assert_eq!(before["joinedAt"], after["joinedAt"]);
            assert!(at(&before, "lastSeenAt") < at(&after, "lastSeenAt"), "{before} {after}");
        }),
    ]
}

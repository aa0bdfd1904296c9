//! `/devices/revoke`: a device is unpaired.

use belay_testkit::compat::Answer;
use serde_json::json;

use super::stop::is_dead;
use crate::{
    bodies::check::{accepted, refused},
    scenario::Scenario,
    world::{Desk, World},
};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = answers();
    all.extend(effects());
    all
}

async fn revoke(desk: &Desk, device: &str) -> Answer {
    let mut body = desk.desktop.own();
    body["deviceID"] = json!(device);
    desk.net.post("/devices/revoke", &body).await
}

fn answers() -> Vec<Scenario> {
    vec![
        Scenario::new("2.6 revoke 200 members", |w| async move {
            let (desk, phone) = w.paired().await;
            let answer = revoke(&desk, &phone.device).await;
            accepted(&answer, &["sessionID", "deviceID"]);
            assert_eq!(answer.body["sessionID"], json!(w.session));
            assert_eq!(answer.body["deviceID"], json!(phone.device));
        }),
        Scenario::new("2.6 revoke 404 device_not_found", |w| async move {
            let (desk, phone) = w.paired().await;
            let longest = "d".repeat(512);
            let longer = format!("{}A", phone.device);
            for device in ["device-0", "AAAAAAAAAAAAAAAAAAAAAA", &longer, &longest] {
                let answer = revoke(&desk, device).await;
                assert_eq!(answer.status, 404, "{device}: {}", answer.text);
                refused(&answer, 404, "device_not_found");
            }
        }),
        Scenario::new("2.6 revoke 404 twice", |w| async move {
            let (desk, phone) = w.paired().await;
            assert_eq!(revoke(&desk, &phone.device).await.status, 200);
            refused(&revoke(&desk, &phone.device).await, 404, "device_not_found");
        }),
        Scenario::new("2.6 revoke 404 of another session's device", |w| async move {
            let other = World { relay: w.relay.clone(), session: format!("{}-b", w.session) };
            let (desk, _) = w.paired().await;
            let (_other, phone) = other.paired().await;
            refused(&revoke(&desk, &phone.device).await, 404, "device_not_found");
            w.page().open().await.auth(&phone.token).await;
        }),
    ]
}

fn effects() -> Vec<Scenario> {
    vec![
        Scenario::new("2.6 revoke tells and closes the device", |w| async move {
            let (desk, mut wire, phone) = w.connected().await;
            revoke(&desk, &phone.device).await;
            assert_eq!(wire.ended().await, ("device_revoked".to_owned(), 1008));
        }),
        Scenario::new("2.6 revoke tells the desktop the count", |w| async move {
            let (mut desk, _wire, phone) = w.connected().await;
            revoke(&desk, &phone.device).await;
            let told = desk.wire.message().await;
            let expected = json!({
                "type": "relay.device_count", "sessionID": w.session, "connectedDeviceCount": 0,
            });
            assert_eq!(told, expected);
        }),
        Scenario::new("2.6 revoke of an absent device tells the desktop, too", |w| async move {
            let (mut desk, phone) = w.paired().await;
            revoke(&desk, &phone.device).await;
            let told = desk.wire.until("relay.device_count").await;
            assert_eq!(told["connectedDeviceCount"], 0, "{told}");
        }),
        Scenario::new("2.6 revoke drops it from the list", |w| async move {
            let (mut desk, first) = w.paired().await;
            desk.refresh().await;
            let second = desk.pair().await;
            revoke(&desk, &first.device).await;
            let list = desk.net.post("/devices/list", &desk.desktop.own()).await;
            assert_eq!(list.body["devices"].as_array().map(Vec::len), Some(1), "{}", list.text);
            assert_eq!(list.body["devices"][0]["deviceID"], json!(second.device));
        }),
        Scenario::new("2.6 revoke ends all tokens of the device", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            let former = phone.token.clone();
            let wire = desk.connect(&mut phone).await;
            wire.close().await;
            let used = phone.token.clone();
            let wire = desk.connect(&mut phone).await;
            wire.close().await;
            assert_eq!(revoke(&desk, &phone.device).await.status, 200);
            for token in [&former, &used, &phone.token] {
                is_dead(&w, token).await;
            }
        }),
        Scenario::new("2.6 revoke leaves the other devices alone", |w| async move {
            let (mut desk, mut wire, _) = w.connected().await;
            desk.refresh().await;
            let mut second = desk.pair().await;
            let _second = desk.connect(&mut second).await;
            revoke(&desk, &second.device).await;
            let told = desk.wire.until("relay.device_count").await;
            assert_eq!(told["connectedDeviceCount"], 1, "{told}");
            let hello = desk.desktop.hello();
            desk.wire.send(&hello).await;
            assert_eq!(wire.message().await, hello);
        }),
    ]
}

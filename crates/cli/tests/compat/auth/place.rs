//! Section 3: places and origins.

use std::time::Instant;

use belay_testkit::compat::Net;

use super::{COME_BACK, ends_now, on_folder, phone_heard_nothing, present, replace_relay};
use crate::{
    relay::PAGE,
    scenario::Scenario,
    world::{Paired, World},
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = places();
    all.extend(origins());
    all
}

fn places() -> Vec<Scenario> {
    vec![
        Scenario::new("3 refused: more phones than may be connected", |w| async move {
            let folder = tempfile::tempdir().expect("a folder");
            let w = on_folder(w.session, &folder, &[("MAX_DEVICES_PER_SESSION", "2")]);
            let mut desk = w.open().await;
            let first = desk.pair().await;
            desk.refresh().await;
            let second = desk.pair().await;
            let w = replace_relay(w, &folder, &[("MAX_DEVICES_PER_SESSION", "1")]);
            let mut wire = w.page().open().await;
            wire.auth(&first.token).await;
            let mut other = present(&w.page(), &second.token).await;
            ends_now(&mut other, "device_cap_reached", COME_BACK).await;
            // The first has its place, also when it comes back before it was seen to go.
            w.page().open().await.auth(&first.token).await;
        }),
        Scenario::new("3 refused: the relay is full", |w| async move {
            let w = w.with(&[("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "1")]);
            let (desk, phone) = w.paired().await;
            let mut wire = present(&w.page(), &phone.token).await;
            ends_now(&mut wire, "relay_over_capacity", 1013).await;
            desk.wire.close().await;
            in_soon(&w, &phone).await;
        }),
        Scenario::new("3 a full relay lets a desktop replace its own socket", |w| async move {
            let w = w.with(&[("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "1")]);
            let desk = w.open().await;
            w.native().open().await.auth(&desk.desktop.token).await;
        }),
        Scenario::new("3 a full relay lets a phone replace its own socket", |w| async move {
            let w = w.with(&[("MAX_ACTIVE_WEBSOCKET_CONNECTIONS", "2")]);
            let (_desk, _phone, paired) = w.connected().await;
            w.page().open().await.auth(&paired.token).await;
        }),
    ]
}

/// A place becomes free when the relay has seen the other one go.
async fn in_soon(w: &World, phone: &Paired) {
    let deadline = Instant::now() + belay_testkit::SOON;
    loop {
        let told = present(&w.page(), &phone.token).await.message().await;
        if told["type"] == "auth_ok" {
            return;
        }
        assert_eq!(told["reason"], "relay_over_capacity", "{told}");
        assert!(Instant::now() < deadline, "the place becomes free");
    }
}

fn origins() -> Vec<Scenario> {
    vec![
        Scenario::new("3 refused: a phone whose page is not allowed", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            let mut kept = desk.connect(&mut phone).await;
            let net = Net::page(&w.relay.url, "https://elsewhere.example.org");
            let mut wire = present(&net, &phone.token).await;
            ends_now(&mut wire, "origin_not_allowed", COME_BACK).await;
            // Neither its socket nor its token suffered.
            phone_heard_nothing(&mut kept).await;
            w.page().open().await.auth(&phone.token).await;
        }),
        Scenario::new("3 refused: a phone without an origin", |w| async move {
            let (_desk, phone) = w.paired().await;
            let mut wire = present(&w.native(), &phone.token).await;
            ends_now(&mut wire, "origin_not_allowed", COME_BACK).await;
        }),
        Scenario::new("3 a phone without an origin where all are allowed", |w| async move {
            let w = w.with(&[("ALLOWED_ORIGINS", "*")]);
            let (_desk, phone) = w.paired().await;
            w.native().open().await.auth(&phone.token).await;
        }),
        Scenario::new("3 the origin of a desktop is not looked at", |w| async move {
            let desktop = w.started().await;
            for origin in ["https://elsewhere.example.org", PAGE, "null"] {
                Net::page(&w.relay.url, origin).open().await.auth(&desktop.token).await;
            }
        }),
    ]
}

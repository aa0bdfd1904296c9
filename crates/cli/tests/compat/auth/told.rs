//! Section 3.1: `auth_ok`, and what a connect does to the others.

use std::time::Duration;

use belay_testkit::compat::Desktop;
use serde_json::{Value, json};

use super::{
    COME_BACK, desktop_heard_nothing, ends, ends_now, has_only, phone_heard_nothing, second_phone,
};
use crate::{scenario::Scenario, world::World};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = answers();
    all.extend(capabilities());
    all.extend(effects());
    all.extend(silence());
    all
}

const MOBILE: [&str; 7] = [
    "type",
    "role",
    "sessionID",
    "deviceID",
    "nextDeviceSessionToken",
    "connectedDeviceCount",
    "desktopConnected",
];

fn answers() -> Vec<Scenario> {
    vec![
        Scenario::new("3.1 auth_ok of a desktop", |w| async move {
            let desktop = w.started().await;
            let told = w.native().open().await.auth(&desktop.token).await;
            let expected = json!({
                "type": "auth_ok", "role": "desktop", "sessionID": w.session,
                "connectedDeviceCount": 0, "desktopConnected": true,
            });
            assert_eq!(told, expected);
        }),
        Scenario::new("3.1 auth_ok of a phone", |w| async move {
            let (_desk, phone) = w.paired().await;
            let told = w.page().open().await.auth(&phone.token).await;
            has_only(&told, &MOBILE);
            let expected = json!({
                "type": "auth_ok", "role": "mobile", "sessionID": w.session,
                "deviceID": phone.device, "connectedDeviceCount": 1, "desktopConnected": true,
                "nextDeviceSessionToken": told["nextDeviceSessionToken"],
            });
            assert_eq!(told, expected);
            assert_ne!(told["nextDeviceSessionToken"], json!(phone.token));
        }),
        Scenario::new("3.1 auth_ok of a phone while the desktop is away", |w| async move {
            let (mut desk, mut wire, phone) = w.connected().await;
            let fresh = desk.net.open().await;
            std::mem::replace(&mut desk.wire, fresh).close().await;
            assert_eq!(wire.until("relay.desktop_status").await["desktopConnected"], false);
            let told = w.page().open().await.auth(&phone.token).await;
            has_only(&told, &MOBILE);
            assert_eq!(told["desktopConnected"], false);
        }),
        Scenario::new("3.1 auth_ok counts the phone that comes", |w| async move {
            let (mut desk, _first, _) = w.connected().await;
            desk.refresh().await;
            let second = desk.pair().await;
            let told = w.page().open().await.auth(&second.token).await;
            assert_eq!(told["connectedDeviceCount"], 2);
        }),
        Scenario::new("3.1 auth_ok does not count twice who comes again", |w| async move {
            let (_desk, _first, phone) = w.connected().await;
            let told = w.page().open().await.auth(&phone.token).await;
            assert_eq!(told["connectedDeviceCount"], 1);
        }),
        Scenario::new("3.1 auth_ok of a desktop counts phones that are there", |w| async move {
            let (mut desk, _first, _) = w.connected().await;
            let _second = second_phone(&mut desk).await;
            let told = w.native().open().await.auth(&desk.desktop.token).await;
            assert_eq!(told["connectedDeviceCount"], 2);
        }),
    ]
}

/// Whether the desktop can be answered is in its `hello`; the relay tells it to phones that come
/// later.
fn capabilities() -> Vec<Scenario> {
    let flags = [("supportsRuntimeRequests", true), ("supportsRuntimeRequests", false)];
    let other = [("canRespondToRuntimeRequests", true), ("canRespondToRuntimeRequests", false)];
    let of_flag = flags.into_iter().chain(other).map(|(name, value)| {
        Scenario::new(format!("3.1 auth_ok of a phone after hello {name} {value}"), move |w| {
            after_hello(w, name, value)
        })
    });
    of_flag.collect()
}

async fn after_hello(w: World, name: &'static str, value: bool) {
    let (mut desk, mut wire, phone) = w.connected().await;
    let mut hello = desk.desktop.hello();
    let mut inner = json!({ "role": "desktop", "clientName": "desktop" });
    inner[name] = json!(value);
    hello["payload"]["payload"] = inner;
    desk.wire.send(&hello).await;
    assert_eq!(wire.message().await, hello, "it arrives as it was sent");
    let told = w.page().open().await.auth(&phone.token).await;
    has_only(&told, &[&MOBILE[..], &["supportsRuntimeRequests"]].concat());
    assert_eq!(told["supportsRuntimeRequests"], json!(value));
}

fn effects() -> Vec<Scenario> {
    vec![
        Scenario::new("3.1 a desktop that comes again ends its older socket", |w| async move {
            let mut desk = w.open().await;
            let mut newer = w.native().open().await;
            newer.auth(&desk.desktop.token).await;
            ends_now(&mut desk.wire, "desktop_reconnected", COME_BACK).await;
            desktop_heard_nothing(&mut newer).await;
        }),
        Scenario::new("3.1 a desktop that comes tells each phone", |w| async move {
            let (mut desk, mut first, _) = w.connected().await;
            let (mut second, _) = second_phone(&mut desk).await;
            // It stays: one that goes at once is told as gone.
            let mut newer = w.native().open().await;
            newer.auth(&desk.desktop.token).await;
            let expected = json!({
                "type": "relay.desktop_status", "sessionID": w.session, "desktopConnected": true,
            });
            assert_eq!(first.message().await, expected);
            assert_eq!(second.message().await, expected);
        }),
        Scenario::new("3.1 a phone that comes again ends its older socket", |w| async move {
            let (_desk, mut older, phone) = w.connected().await;
            let mut newer = w.page().open().await;
            newer.auth(&phone.token).await;
            ends_now(&mut older, "device_reconnected", COME_BACK).await;
            phone_heard_nothing(&mut newer).await;
        }),
        Scenario::new("3.1 a phone's older socket ends before the cap is tested", |w| async move {
            let w = w.with(&[("MAX_DEVICES_PER_SESSION", "1")]);
            let (_desk, mut older, phone) = w.connected().await;
            let mut newer = w.page().open().await;
            newer.auth(&phone.token).await;
            ends(&mut older, "device_reconnected", COME_BACK).await;
        }),
        Scenario::new("3.1 the other phone keeps its socket", |w| async move {
            let (mut desk, mut first, _) = w.connected().await;
            let (_second, paired) = second_phone(&mut desk).await;
            w.page().open().await.auth(&paired.token).await;
            phone_heard_nothing(&mut first).await;
        }),
        Scenario::new("3.1 the desktop is told of each phone that comes", |w| async move {
            let mut desk = w.open().await;
            let phone = desk.pair().await;
            let mut wire = w.page().open().await;
            wire.auth(&phone.token).await;
            assert_eq!(desk.wire.message().await, count_of(&desk.desktop, 1));
            desk.refresh().await;
            let second = desk.pair().await;
            let mut other = w.page().open().await;
            other.auth(&second.token).await;
            assert_eq!(desk.wire.message().await, count_of(&desk.desktop, 2));
        }),
        Scenario::new("3.1 the desktop is told of a phone that comes again", |w| async move {
            let (mut desk, _older, phone) = w.connected().await;
            let mut newer = w.page().open().await;
            newer.auth(&phone.token).await;
            assert_eq!(desk.wire.message().await, count_of(&desk.desktop, 1));
        }),
        Scenario::new("3.1 who is refused changes nothing for the others", |w| async move {
            let (mut desk, mut phone, _) = w.connected().await;
            let mut wire = super::present(&w.page(), "unknown-token-0123456789").await;
            ends_now(&mut wire, "session_expired", 1008).await;
            desktop_heard_nothing(&mut desk.wire).await;
            phone_heard_nothing(&mut phone).await;
        }),
    ]
}

fn count_of(desktop: &Desktop, count: u64) -> Value {
    json!({
        "type": "relay.device_count", "sessionID": desktop.session_id,
        "connectedDeviceCount": count,
    })
}

/// Clients in the field take what comes right after `auth_ok` as the first event.
fn silence() -> Vec<Scenario> {
    vec![
        Scenario::new("3.1 nothing unasked after auth_ok of a desktop", |w| async move {
            let (mut desk, _phone, _) = w.connected().await;
            let mut newer = w.native().open().await;
            newer.auth(&desk.desktop.token).await;
            newer.stays_silent(Duration::from_millis(150)).await;
            desktop_heard_nothing(&mut newer).await;
            ends(&mut desk.wire, "desktop_reconnected", COME_BACK).await;
        }),
        Scenario::new("3.1 nothing unasked after auth_ok of a phone", |w| async move {
            let (mut desk, mut phone) = w.paired().await;
            for message in [desk.desktop.hello(), desk.desktop.snapshot()] {
                desk.wire.send(&message).await;
            }
            // What was said before the phone comes is not for it.
            desktop_heard_nothing(&mut desk.wire).await;
            let mut wire = desk.connect(&mut phone).await;
            wire.stays_silent(Duration::from_millis(150)).await;
            phone_heard_nothing(&mut wire).await;
        }),
    ]
}

//! Sessions that nobody uses: `idle_timeout` and `retention_expired` come when no socket is there
//! to be told, so they show in what comes next and in the log.

use std::time::{Duration, Instant};

use belay_testkit::SOON;
use serde_json::Value;

use super::{ends_now, phone_heard_nothing};
use crate::{auth::present, scenario::Scenario, world::World};

const SWEEP: (&str, &str) = ("SESSION_SWEEP_INTERVAL_MS", "100");
const IDLE: &[(&str, &str)] = &[SWEEP, ("TRUSTED_DEVICE_IDLE_TIMEOUT_SECONDS", "3")];
const RETENTION: &[(&str, &str)] = &[SWEEP, ("SESSION_RETENTION_MS", "2500")];

pub(super) fn all() -> Vec<Scenario> {
    let mut all = idle();
    all.extend(retention());
    all
}

fn idle() -> Vec<Scenario> {
    vec![
        Scenario::new("3.4 idle_timeout of a session with a phone", |w| async move {
            let w = w.with(IDLE);
            let (desk, phone) = w.paired().await;
            desk.wire.close().await;
            ended_for(&w, "idle_timeout").await;
            ends_now(&mut present(&w.page(), &phone.token).await, "session_expired", 1008).await;
            let mut again = present(&w.native(), &desk.desktop.token).await;
            ends_now(&mut again, "session_expired", 1008).await;
            let answer = desk.net.post("/devices/list", &desk.desktop.own()).await;
            assert_eq!((answer.status, answer.error()), (404, "session_not_found"));
        }),
        Scenario::new("3.4 no idle_timeout while a phone is connected", |w| async move {
            let w = w.with(IDLE);
            let (desk, mut phone, paired) = w.connected().await;
            desk.wire.close().await;
            phone.until("relay.desktop_status").await;
            phone.stays_silent(Duration::from_millis(3_300)).await;
            // Its time starts when the connection ends.
            phone.close().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut again = w.page().open().await;
            again.auth(&paired.token).await;
            phone_heard_nothing(&mut again).await;
        }),
        Scenario::new("3.4 no idle_timeout while the desktop is connected", |w| async move {
            let w = w.with(IDLE);
            let (mut desk, phone) = w.paired().await;
            desk.wire.stays_silent(Duration::from_millis(3_300)).await;
            w.page().open().await.auth(&phone.token).await;
        }),
    ]
}

fn retention() -> Vec<Scenario> {
    vec![
        Scenario::new("3.4 retention_expired of a session without phones", |w| async move {
            let w = w.with(RETENTION);
            let desk = w.open().await;
            desk.wire.close().await;
            ended_for(&w, "retention_expired").await;
            let mut again = present(&w.native(), &desk.desktop.token).await;
            ends_now(&mut again, "session_expired", 1008).await;
        }),
        Scenario::new("3.4 no retention_expired while the desktop is connected", |w| async move {
            let w = w.with(RETENTION);
            let mut desk = w.open().await;
            desk.wire.stays_silent(Duration::from_millis(2_800)).await;
            desk.pair().await;
        }),
        Scenario::new("3.4 no retention_expired of a session with a phone", |w| async move {
            let w = w.with(RETENTION);
            let (desk, phone) = w.paired().await;
            desk.wire.close().await;
            tokio::time::sleep(Duration::from_millis(2_800)).await;
            w.page().open().await.auth(&phone.token).await;
        }),
    ]
}

/// Waits until a session was ended for this reason.
async fn ended_for(w: &World, reason: &str) {
    let deadline = Instant::now() + SOON;
    let is_told = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line.to_string().contains(&format!("\"reason\":\"{reason}\""))
    };
    while !w.relay.log().lines().any(is_told) {
        assert!(Instant::now() < deadline, "{reason}: {}", w.relay.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

//! Tokens over a relay that is killed and starts again.

use std::sync::Arc;

use super::{connect, first_text, is_dead, is_good, pass};
use crate::{
    scenario::Scenario,
    world::{Paired, World},
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = unproven();
    all.extend(proven());
    all.extend(ends());
    all
}

const SHORT: &[(&str, &str)] = &[("TOKEN_ROTATION_GRACE_MS", "400")];

/// A phone that was let in, and a relay of its own.
async fn paired(w: World, settings: &[(&str, &str)]) -> (World, Paired) {
    let w = w.with(settings);
    let (_, phone) = w.paired().await;
    (w, phone)
}

async fn restarted(w: World) -> World {
    let World { relay, session } = w;
    let relay = Arc::into_inner(relay).expect("nobody else holds it");
    let restarting = tokio::task::spawn_blocking(|| relay.kill_and_restart());
    World { relay: Arc::new(restarting.await.expect("restarted")), session }
}

fn unproven() -> Vec<Scenario> {
    vec![
        Scenario::new("3.2.4 a token of the join survives a crash of the relay", |w| async move {
            let (w, phone) = paired(w, &[]).await;
            let w = restarted(w).await;
            is_good(&w, &phone.token).await;
        }),
        Scenario::new("3.2.4 the old token is good after a crash without a text", |w| async move {
            let (w, phone) = paired(w, SHORT).await;
            let (wire, _) = connect(&w, &phone.token).await;
            let w = restarted(w).await;
            drop(wire);
            is_good(&w, &phone.token).await;
        }),
        Scenario::new("3.2.4 the new token is good after a crash without a text", |w| async move {
            let (w, phone) = paired(w, SHORT).await;
            let (wire, next) = connect(&w, &phone.token).await;
            let w = restarted(w).await;
            drop(wire);
            is_good(&w, &next).await;
        }),
        Scenario::new(
            "3.2.4 either token is good after a crash right after a text",
            |w| async move {
                let (w, phone) = paired(w, &[]).await;
                let (mut wire, next) = connect(&w, &phone.token).await;
                first_text(&mut wire).await;
                let w = restarted(w).await;
                is_good(&w, &phone.token).await;
                is_good(&w, &next).await;
            },
        ),
        Scenario::new("3.2.4 a lost answer and a crash, three times over", |w| async move {
            let (mut w, phone) = paired(w, &[]).await;
            for _ in 0..3 {
                let (wire, _) = connect(&w, &phone.token).await;
                drop(wire);
                w = restarted(w).await;
            }
            let (_wire, next) = connect(&w, &phone.token).await;
            is_good(&w, &next).await;
        }),
    ]
}

fn proven() -> Vec<Scenario> {
    vec![
        Scenario::new("3.2.4 the former token keeps its grace over a crash", |w| async move {
            let (w, former, next) = used_and_restarted(w, &[]).await;
            is_good(&w, &former).await;
            is_good(&w, &next).await;
        }),
        Scenario::new(
            "3.2.4 the grace of the former token ends after a crash, too",
            |w| async move {
                let (w, former, next) = used_and_restarted(w, SHORT).await;
                pass(600).await;
                is_dead(&w, &former).await;
                is_good(&w, &next).await;
            },
        ),
        Scenario::new("3.2.4 a token that was dead stays dead over a crash", |w| async move {
            let (w, phone) = paired(w, &[]).await;
            let (_, second) = connect(&w, &phone.token).await;
            let (_, third) = connect(&w, &second).await;
            let (_, fourth) = connect(&w, &third).await;
            let w = restarted(w).await;
            is_dead(&w, &phone.token).await;
            is_good(&w, &third).await;
            is_good(&w, &fourth).await;
        }),
        Scenario::new(
            "3.2.4 a grace of 0 over a crash: only the new token is good",
            |w| async move {
                let (w, phone) = paired(w, &[("TOKEN_ROTATION_GRACE_MS", "0")]).await;
                let (wire, next) = connect(&w, &phone.token).await;
                let w = restarted(w).await;
                drop(wire);
                is_dead(&w, &phone.token).await;
                is_good(&w, &next).await;
            },
        ),
    ]
}

/// A relay that was killed after the next token of a phone was used once: it, the former token, and
/// the one that was used.
async fn used_and_restarted(w: World, settings: &[(&str, &str)]) -> (World, String, String) {
    let (w, phone) = paired(w, settings).await;
    let (_, next) = connect(&w, &phone.token).await;
    // Its first use is stored before it is answered.
    let (wire, _) = connect(&w, &next).await;
    let w = restarted(w).await;
    drop(wire);
    (w, phone.token, next)
}

fn ends() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "3.2.5 the token of a desktop survives a crash of the relay",
            |w| async move {
                let w = w.with(&[]);
                let desk = w.open().await;
                let w = restarted(w).await;
                w.native().open().await.auth(&desk.desktop.token).await;
            },
        ),
        Scenario::new("3.2.6 a revoke survives a crash of the relay", |w| async move {
            let w = w.with(&[]);
            let (desk, phone) = w.paired().await;
            let (_, next) = connect(&w, &phone.token).await;
            let mut body = desk.desktop.own();
            body["deviceID"] = phone.device.clone().into();
            assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
            let w = restarted(w).await;
            is_dead(&w, &phone.token).await;
            is_dead(&w, &next).await;
        }),
        Scenario::new("3.2.6 a stop survives a crash of the relay", |w| async move {
            let w = w.with(&[]);
            let (desk, phone) = w.paired().await;
            let own = desk.desktop.own();
            assert_eq!(desk.net.post("/pair/stop", &own).await.status, 200);
            let w = restarted(w).await;
            is_dead(&w, &phone.token).await;
            is_dead(&w, &desk.desktop.token).await;
        }),
    ]
}

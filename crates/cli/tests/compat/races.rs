//! Calls that meet, and what they leave behind.

use std::time::{Duration, Instant};

use belay_testkit::{SOON, compat::Heard};
use futures_util::{StreamExt, future::join_all, stream};
use serde_json::json;

use crate::{relay::Relay, scenario::Scenario, world::World};

async fn until_number(relay: &Relay, name: &str, value: i64) {
    let deadline = Instant::now() + SOON;
    while relay.number(name).await != value {
        assert!(Instant::now() < deadline, "{name} is {}", relay.number(name).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A session of its own for one of several turns.
fn turn(w: &World, n: usize) -> World {
    World { relay: w.relay.clone(), session: format!("{}-{n}", w.session) }
}

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        Scenario::new("races: two desktops start one session", |w| async move {
            for n in 0..10 {
                let w = turn(&w, n);
                let (mine, mut theirs) = (w.desktop().start(), w.desktop().start());
                theirs["desktopSessionToken"] = json!("another-desktop-0123456789abcdef");
                let (net, other) = (w.native(), w.native());
                let (one, two) = tokio::join!(
                    net.post("/pair/start", &mine),
                    other.post("/pair/start", &theirs)
                );
                let mut statuses = [one.status, two.status];
                statuses.sort_unstable();
                assert_eq!(statuses, [200, 409], "{} {}", one.text, two.text);
            }
        }),
        Scenario::new("races: one desktop starts its session twice", |w| async move {
            for n in 0..10 {
                let w = turn(&w, n);
                let body = w.desktop().start();
                let (net, other) = (w.native(), w.native());
                let (one, two) =
                    tokio::join!(net.post("/pair/start", &body), other.post("/pair/start", &body));
                assert_eq!((one.status, two.status), (200, 200), "{} {}", one.text, two.text);
            }
        }),
        Scenario::new("races: nobody gets into a session that stops", |w| async move {
            let w = w.with(&[]);
            let turns = (0..40).map(|n| {
                let w = turn(&w, n);
                async move {
                    let desktop = w.started().await;
                    let own = desktop.own();
                    let net = w.native();
                    let stopping = net.post("/pair/stop", &own);
                    let comers = join_all((0..4).map(|_| async {
                        let mut wire = w.native().open().await;
                        let token = &desktop.token;
                        wire.send(&json!({ "type": "relay.auth", "token": token })).await;
                        // Let in or not: in the end each is told that it is over.
                        loop {
                            match wire.hear().await {
                                Heard::Json(_) => {}
                                Heard::Closed { code, .. } => return code,
                                other => panic!("{other:?}"),
                            }
                        }
                    }));
                    let (stopped, codes) = tokio::join!(stopping, comers);
                    assert_eq!(stopped.status, 200, "{}", stopped.text);
                    assert!(codes.iter().all(|c| [1008, 1013, 4500].contains(c)), "{codes:?}");
                }
            });
            stream::iter(turns).buffer_unordered(8).collect::<Vec<_>>().await;
            until_number(&w.relay, "activeWebSockets", 0).await;
            until_number(&w.relay, "sessions", 0).await;
            until_number(&w.relay, "sessionsLoaded", 0).await;
        }),
        Scenario::new("bounds: what nobody can read is not kept", |w| async move {
            let w = w.with(&[]);
            let (mut desk, mut phone, _) = w.connected().await;
            let text = "x".repeat(60_000);
            for _ in 0..20 {
                for message in desk.desktop.says("t-1", "assistant", &text) {
                    desk.wire.send(&message).await;
                }
                phone.envelope().await;
            }
            phone.close().await;
            desk.wire.until("relay.device_count").await;
            for _ in 0..20 {
                for message in desk.desktop.says("t-1", "assistant", &text) {
                    desk.wire.send(&message).await;
                }
            }
            desk.wire.close().await;
            // A session with messages in it would stay in memory.
            until_number(&w.relay, "sessionsLoaded", 0).await;
        }),
        Scenario::new(
            "2.3 others at an address do not stop a desktop's management",
            |w| async move {
                let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "10")]);
                let (desk, phone) = w.paired().await;
                let mut guess = desk.desktop.own();
                guess["desktopSessionToken"] = json!("another-desktop-0123456789abcdef");
                let mut limited = 0;
                for _ in 0..15 {
                    let answer = desk.net.post("/devices/list", &guess).await;
                    limited += usize::from(answer.status == 429);
                }
                assert!(limited >= 3, "{limited} guesses were limited");
                let mut body = desk.desktop.own();
                body["deviceID"] = json!(phone.device);
                assert_eq!(desk.net.post("/devices/revoke", &body).await.status, 200);
            },
        ),
    ]
}

//! Which pages may connect a phone, and that no desktop is asked for its origin.

use belay_testkit::compat::{Heard, Net};
use serde_json::json;

use super::{OTHERS, SAME};
use crate::{
    scenario::Scenario,
    world::{Paired, World},
};

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (what, origin) in OTHERS {
        all.push(Scenario::new(format!("2.2 mobile socket refuses {what}"), move |w| async move {
            let (_desk, phone) = w.paired().await;
            is_refused(&Net::page(&w.relay.url, origin), &phone).await;
            w.page().open().await.auth(&phone.token).await;
        }));
    }
    for origin in SAME {
        all.push(Scenario::new(format!("2.2 mobile socket takes {origin}"), move |w| async move {
            let (_desk, phone) = w.paired().await;
            Net::page(&w.relay.url, origin).open().await.auth(&phone.token).await;
        }));
    }
    all.extend(others());
    all
}

/// It is told why, and closed with a code that does not make it forget its pairing.
async fn is_refused(net: &Net, phone: &Paired) {
    let mut wire = net.open().await;
    wire.send(&json!({ "type": "relay.auth", "token": phone.token })).await;
    let told = wire.message().await;
    assert_eq!(
        (&told["type"], &told["reason"]),
        (&json!("disconnect"), &json!("origin_not_allowed"))
    );
    match wire.hear().await {
        Heard::Closed { code, .. } => assert_ne!(code, 1008, "the phone forgets its pairing"),
        other => panic!("expected a close frame, got {other:?}"),
    }
}

fn others() -> Vec<Scenario> {
    vec![
        Scenario::new("2.2 mobile socket without Origin is refused", |w| async move {
            let (_desk, phone) = w.paired().await;
            is_refused(&w.native(), &phone).await;
            w.page().open().await.auth(&phone.token).await;
        }),
        Scenario::new("2.2 mobile socket with * in the list", |w| async move {
            let w = w.with(&[("ALLOWED_ORIGINS", "*")]);
            let (_desk, mut phone) = w.paired().await;
            for origin in SAME.into_iter().chain(OTHERS.map(|(_, origin)| origin)) {
                connects(&Net::page(&w.relay.url, origin), &mut phone).await;
            }
            connects(&w.native(), &mut phone).await;
        }),
        Scenario::new("2.2 desktop socket is never checked", |w| async move {
            let desktop = w.started().await;
            for origin in SAME.into_iter().chain(OTHERS.map(|(_, origin)| origin)) {
                Net::page(&w.relay.url, origin).open().await.auth(&desktop.token).await;
            }
            w.native().open().await.auth(&desktop.token).await;
        }),
        Scenario::new("2.2 each page of the list connects", |w| async move {
            let pages = ["https://a.example.org", "http://b.example.org:8080"];
            let both = format!("{},{}", pages[0], pages[1]);
            let w = w.with(&[("ALLOWED_ORIGINS", &both)]);
            let mut phone = native_pair(&w).await;
            for origin in pages {
                connects(&Net::page(&w.relay.url, origin), &mut phone).await;
            }
            is_refused(&w.page(), &phone).await;
        }),
    ]
}

async fn connects(net: &Net, phone: &mut Paired) {
    let told = net.open().await.auth(&phone.token).await;
    told["nextDeviceSessionToken"].as_str().expect("a token").clone_into(&mut phone.token);
}

/// A phone that joined as a native client, because the usual page is not served here.
async fn native_pair(w: &World) -> Paired {
    let mut desk = w.open().await;
    desk.page = w.native();
    desk.pair().await
}

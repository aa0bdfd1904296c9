//! Sections 3 and 3.1 of the protocol: who is let in, and what that does.

mod place;
mod query;
mod refused;
mod told;

use belay_testkit::compat::{Heard, Net, Wire};
use serde_json::{Value, json};

use crate::{
    scenario::Scenario,
    world::{Desk, Paired, World},
};

pub(crate) fn all() -> Vec<Scenario> {
    [refused::all(), place::all(), query::all(), told::all()].into_iter().flatten().collect()
}

/// Code of ends after which a client comes back; 1008 would make a phone forget its pairing.
pub(crate) const COME_BACK: u16 = 4500;

/// A websocket that has sent this token.
pub(crate) async fn present(net: &Net, token: &str) -> Wire {
    let mut wire = net.open().await;
    wire.send(&json!({ "type": "relay.auth", "token": token })).await;
    wire
}

/// The connection ends here: the reason as text, then a close frame that says the same.
pub(crate) async fn ends_now(wire: &mut Wire, reason: &str, code: u16) {
    assert_eq!(wire.message().await, json!({ "type": "disconnect", "reason": reason }));
    closed(wire, reason, code).await;
}

/// The same after whatever else is told.
pub(crate) async fn ends(wire: &mut Wire, reason: &str, code: u16) {
    let told = wire.until("disconnect").await;
    assert_eq!(told, json!({ "type": "disconnect", "reason": reason }));
    closed(wire, reason, code).await;
}

async fn closed(wire: &mut Wire, reason: &str, code: u16) {
    let expected = Heard::Closed { code, reason: reason.to_owned() };
    assert_eq!(wire.hear().await, expected, "the end after disconnect {reason}");
}

/// The next thing that this phone is told is the answer to what it sends now.
pub(crate) async fn phone_heard_nothing(phone: &mut Wire) {
    phone.send(&json!([])).await;
    assert_eq!(phone.message().await["error"], "invalid_payload", "the next frame is the answer");
}

/// The next thing that this desktop is told is the answer to what it sends now.
pub(crate) async fn desktop_heard_nothing(desktop: &mut Wire) {
    let decision =
        json!({ "type": "relay.pair_decision", "requestID": "nobody-asked", "approved": false });
    desktop.send(&decision).await;
    let told = desktop.message().await;
    assert_eq!(told["requestID"], "nobody-asked", "the next frame is the answer, not {told}");
}

/// One more phone, which needs a new join token.
pub(crate) async fn second_phone(desk: &mut Desk) -> (Wire, Paired) {
    assert_eq!(desk.refresh().await.status, 200);
    let mut paired = desk.pair().await;
    let wire = desk.connect(&mut paired).await;
    (wire, paired)
}

/// Another session of the same relay.
pub(crate) fn neighbour(w: &World) -> World {
    World { relay: w.relay.clone(), session: format!("other-{}", w.session) }
}

/// Asserts the members of an object, no more and no less.
pub(crate) fn has_only(value: &Value, names: &[&str]) {
    let mut found: Vec<_> =
        value.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = names.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{value}");
}

/// A relay with these settings and this folder in the place of the one before, which is killed.
pub(crate) fn replace_relay(w: World, folder: &tempfile::TempDir, more: &[(&str, &str)]) -> World {
    let World { relay, session } = w;
    drop(relay);
    on_folder(session, folder, more)
}

/// A world whose relay keeps its data here.
pub(crate) fn on_folder(
    session: String,
    folder: &tempfile::TempDir,
    more: &[(&str, &str)],
) -> World {
    let path = folder.path().to_str().expect("UTF-8").to_owned();
    let settings: Vec<_> =
        more.iter().copied().chain([("BELAY_DATA_DIR", path.as_str())]).collect();
    World { relay: std::sync::Arc::new(crate::relay::Relay::start(&settings)), session }
}

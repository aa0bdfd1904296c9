//! Section 2.7, 2.8 of the protocol: health and numbers.

mod auth;
mod call;
mod gauge;
mod member;
mod store;

use std::time::Duration;

use belay_testkit::{SOON, compat::Net};
use serde_json::Value;

use crate::{scenario::Scenario, world::World};

pub(crate) fn all() -> Vec<Scenario> {
    [member::all(), gauge::all(), call::all(), auth::all(), store::all()]
        .into_iter()
        .flatten()
        .collect()
}

/// What `/metricsz` tells.
async fn numbers(net: &Net) -> Value {
    let answer = net.get("/metricsz").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.body
}

/// Waits until numbers have these values. A name with a slash is one of an object.
async fn until(net: &Net, expected: &[(&str, u64)]) {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let found = numbers(net).await;
        let value = |name: &str| found.pointer(&format!("/{name}")).and_then(Value::as_u64);
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(name, expected)| value(name) != Some(*expected))
            .map(|(name, expected)| format!("{name} is {:?}, not {expected}", value(name)))
            .collect();
        if wrong.is_empty() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{wrong:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A second world at the same relay.
fn beside(w: &World) -> World {
    World { relay: w.relay.clone(), session: format!("{}-b", w.session) }
}

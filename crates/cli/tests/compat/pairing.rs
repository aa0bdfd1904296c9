//! Section 2.3 to 2.5 of the protocol: rates, start, join.

mod join;
mod name;
mod rate;
mod refusal;
mod restart;
mod start;
pub(crate) mod time;
mod wait;

use belay_testkit::{
    compat::{Desktop, Net},
    unix_ms,
};
use serde_json::json;

use crate::scenario::Scenario;

pub(crate) use join::decide;

pub(crate) fn all() -> Vec<Scenario> {
    [
        rate::all(),
        start::all(),
        restart::all(),
        join::all(),
        name::all(),
        refusal::all(),
        wait::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Gives a session a join token that ends soon, and tells when. All else is to be ready before, so
/// that a busy machine does not use the time up.
pub(crate) async fn expiring(net: &Net, desktop: &mut Desktop) -> u64 {
    let end = unix_ms() + 2_000;
    let mut body = desktop.refresh();
    body["joinTokenExpiresAt"] = json!(time::rfc3339(end));
    let answer = net.post("/pair/refresh", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    end
}

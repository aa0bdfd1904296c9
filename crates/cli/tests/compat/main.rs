//! The compat protocol from outside: the binary, HTTP and websockets. Every name is typed from
//! `docs/compat.md`; nothing of the relay's own types is used, so that a name that changes shows here.

#![expect(
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::wildcard_enum_match_arm,
    reason = "tests read the environment, wait for whole conversations, and tell what was not expected"
)]

mod abuse;
mod auth;
mod bodies;
mod devices;
mod endings;
mod environment;
mod golden;
mod journey;
mod limits;
mod numbers;
mod operator;
mod origins;
mod pairing;
mod parties;
mod proofs;
mod races;
mod relay;
mod responses;
mod rotation;
mod scenario;
mod tenants;
mod validation;
mod world;

use scenario::Scenario;

/// One scenario or more for each row of `docs/compat.md`.
fn scenarios() -> Vec<Scenario> {
    [
        bodies::all(),
        origins::all(),
        pairing::all(),
        devices::all(),
        numbers::all(),
        auth::all(),
        rotation::all(),
        endings::all(),
        parties::all(),
        validation::all(),
        responses::all(),
        limits::all(),
        environment::all(),
        operator::all(),
        abuse::all(),
        tenants::all(),
        races::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_scenario_of_the_compat_protocol_holds() {
    let report = scenario::run(scenarios()).await;
    let wanted = if std::env::var_os("COMPAT_ONLY").is_some() { 1 } else { 120 };
    assert!(report.scenarios >= wanted, "only {} scenarios", report.scenarios);
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_scenario_that_is_not_about_one_node_holds_over_three() {
    relay::be_several(3);
    let report = scenario::again(scenario::run(scenarios()).await, scenarios()).await;
    let wanted = if std::env::var_os("COMPAT_ONLY").is_some() { 1 } else { 120 };
    assert!(report.scenarios >= wanted, "only {} scenarios", report.scenarios);
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
}

//! Many schedules, each printed by its seed when it fails, and the mistakes that they must find.

use std::{path::PathBuf, process::Command, time::SystemTime};

use belay_core::{Mutation, mutate};
use belay_sim::{Outcome, simulate};
use serde_json::json;

/// Schedules that may pass before a mistake is found.
const PATIENCE: u64 = 2_000;

/// `SIM_SCHEDULES` from `SIM_SEED` on.
fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test run is configured by its environment")]
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Schedules until the first violation.
fn run(first: u64, count: u64) -> (u64, u64, u64, Option<(u64, Outcome)>) {
    let (mut applied, mut gaps) = (0, 0);
    for seed in first..first + count {
        let outcome = simulate(seed, false);
        if outcome.violation.is_some() {
            return (seed - first, applied, gaps, Some((seed, outcome)));
        }
        applied += outcome.applied;
        gaps += outcome.gaps;
    }
    (count, applied, gaps, None)
}

#[test]
fn nothing_is_lost_doubled_reordered_or_missing_in_silence_and_mistakes_are_found() {
    let started = unix_secs();
    let (first, count) = (number("SIM_SEED", 1), number("SIM_SCHEDULES", 2_000));
    let (schedules, applied, gaps, failed) = run(first, count);
    if let Some((seed, outcome)) = failed {
        let trace = simulate(seed, true).trace;
        let shown = if count == 1 { trace.len() } else { 60 };
        let from = trace.len().saturating_sub(shown);
        panic!("seed {seed}: {:?}\n{}", outcome.violation, trace[from..].join("\n"));
    }
    assert!(applied > count * 10, "too little happened: {applied}");
    if count == 1 {
        return;
    }
    let missed: Vec<_> = Mutation::of_delivery().filter(|m| !is_found(*m)).collect();
    report(&json!({
        "started": started, "seed": first, "schedules": schedules, "violations": 0,
        "messages_applied": applied, "gaps_told": gaps,
        "mutations": Mutation::of_delivery().count(),
        "mutations_found": Mutation::of_delivery().count() - missed.len(),
    }));
    assert!(missed.is_empty(), "mistakes that were not found: {missed:?}");
}

fn is_found(mutation: Mutation) -> bool {
    mutate(Some(mutation));
    let (_, _, _, found) = run(1, PATIENCE);
    mutate(None);
    found.is_some()
}

fn unix_secs() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn report(report: &serde_json::Value) {
    let mut report = report.clone();
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output().ok();
    let commit = commit.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    report["commit"] = json!(commit);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/reports");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = serde_json::to_string_pretty(&report).expect("JSON");
    std::fs::write(folder.join("sim.json"), text).expect("written");
}

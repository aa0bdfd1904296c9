//! Many schedules, each printed by its seed when it fails, and the mistakes that they must find.

use std::{path::PathBuf, process::Command, time::SystemTime};

use belay_core::{Mutation, mutate};
use belay_sim::{Outcome, simulate};
use serde_json::json;

/// Schedules that may pass before a mistake is found.
const PATIENCE: u64 = 2_000;

/// The mistakes of delivery but one: readers that know former names hide an epoch that is opened again
/// in nearly all schedules.
fn looked_for() -> impl Iterator<Item = Mutation> {
    Mutation::of_delivery().filter(|m| *m != Mutation::ReopenClosedEpoch)
}

/// `SIM_SCHEDULES` from `SIM_SEED` on.
fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test run is configured by its environment")]
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// What some schedules showed.
#[derive(Default)]
struct Played {
    schedules: u64,
    applied: u64,
    gaps: u64,
    failed: Option<(u64, Outcome)>,
}

/// Every `step`th schedule, until the first violation.
fn run(seeds: std::ops::Range<u64>, step: usize) -> Played {
    let mut played = Played::default();
    for seed in seeds.step_by(step) {
        let outcome = simulate(seed, false);
        played.schedules += 1;
        played.applied += outcome.applied;
        played.gaps += outcome.gaps;
        if outcome.violation.is_some() {
            played.failed = Some((seed, outcome));
            break;
        }
    }
    played
}

/// The same on all cores.
fn run_all(first: u64, count: u64) -> Played {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let part = |core: u64| scope.spawn(move || run(first + core..first + count, cores));
        let parts: Vec<_> = (0..cores as u64).map(part).collect();
        let parts = parts.into_iter().map(|part| part.join().expect("no panic"));
        parts.fold(Played::default(), |all, part| Played {
            schedules: all.schedules + part.schedules,
            applied: all.applied + part.applied,
            gaps: all.gaps + part.gaps,
            failed: all.failed.or(part.failed),
        })
    })
}

#[test]
fn nothing_is_lost_doubled_reordered_or_missing_in_silence_and_mistakes_are_found() {
    let started = unix_secs();
    let (first, count) = (number("SIM_SEED", 1), number("SIM_SCHEDULES", 2_000));
    let Played { schedules, applied, gaps, failed } = run_all(first, count);
    if let Some((seed, outcome)) = failed {
        let trace = simulate(seed, true).trace;
        let all = if count == 1 { trace.join("\n") } else { String::new() };
        panic!(
            "seed {seed} (SIM_SEED={seed} SIM_SCHEDULES=1 shows it): {:?}\n{all}",
            outcome.violation
        );
    }
    assert!(applied > count * 10, "too little happened: {applied}");
    if count == 1 {
        return;
    }
    let missed: Vec<_> = std::thread::scope(|scope| {
        let search = |m| (m, scope.spawn(move || is_found(m)));
        let searches: Vec<_> = looked_for().map(search).collect();
        let found =
            |search: std::thread::ScopedJoinHandle<'_, bool>| search.join().expect("no panic");
        searches.into_iter().filter_map(|(m, search)| (!found(search)).then_some(m)).collect()
    });
    report(&json!({
        "started": started, "seed": first, "schedules": schedules, "violations": 0,
        "messages_applied": applied, "gaps_told": gaps,
        "mutations": looked_for().count(),
        "mutations_found": looked_for().count() - missed.len(),
    }));
    assert!(missed.is_empty(), "mistakes that were not found: {missed:?}");
}

fn is_found(mutation: Mutation) -> bool {
    mutate(Some(mutation));
    let played = run(1..PATIENCE, 1);
    mutate(None);
    played.failed.is_some()
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

//! Many seeds, a process each, and the mistakes that they must find.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    time::{Instant, SystemTime},
};

use parking_lot::Mutex;
use serde_json::{Value, json};

/// Lines that a run that failed shows.
const TAIL: usize = 60;

/// Seeds that may pass before a mistake is found.
const PATIENCE: u64 = 50;

/// `NETSIM_SEEDS` from `NETSIM_SEED` on.
fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test run is configured by its environment")]
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// What a process told of its run.
struct Run {
    seed: u64,
    trace: Vec<String>,
    told: Value,
}

impl Run {
    fn is_well(&self) -> bool {
        self.told["violations"].as_array().is_some_and(Vec::is_empty)
    }

    fn show(&self) -> String {
        let tail = &self.trace[self.trace.len().saturating_sub(TAIL)..];
        let (seed, violations) = (self.seed, &self.told["violations"]);
        format!(
            "seed {seed} (`netsim {seed}` shows all of it): {violations:#}\n{}",
            tail.join("\n")
        )
    }
}

fn run(seed: u64, mutation: Option<&str>) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netsim"));
    let out = command.arg(seed.to_string()).args(mutation).output().expect("started");
    let text = String::from_utf8_lossy(&out.stdout);
    let mut trace: Vec<_> = text.lines().map(str::to_owned).collect();
    let told = trace.pop().and_then(|line| serde_json::from_str(&line).ok());
    let died = || json!({ "violations": [String::from_utf8_lossy(&out.stderr)] });
    Run { seed, trace, told: told.unwrap_or_else(died) }
}

/// Plays seeds on all cores, until `found` is true for one.
fn run_all(
    first: u64,
    count: u64,
    mutation: Option<&str>,
    found: impl Fn(&Run) -> bool + Sync,
) -> Vec<Run> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (next, end) = (AtomicU64::new(first), AtomicU64::new(first + count));
    let runs = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let run = run(seed, mutation);
                    if found(&run) {
                        end.store(0, Ordering::Relaxed);
                    }
                    runs.lock().push(run);
                }
            });
        }
    });
    let mut runs = runs.into_inner();
    runs.sort_by_key(|run| run.seed);
    runs
}

#[test]
fn nothing_is_lost_doubled_reordered_or_missing_in_silence() {
    let (started, clock) = (unix_secs(), Instant::now());
    let (first, count) = (number("NETSIM_SEED", 1), number("NETSIM_SEEDS", 50));
    let runs = run_all(first, count, None, |_| false);
    let sum = |name: &str| runs.iter().filter_map(|run| run.told[name].as_u64()).sum::<u64>();
    let mut faults = BTreeMap::<String, u64>::new();
    for (name, times) in runs.iter().filter_map(|run| run.told["faults"].as_object()).flatten() {
        *faults.entry(name.clone()).or_default() += times.as_u64().unwrap_or(0);
    }
    let failed: Vec<_> = runs.iter().filter(|run| !run.is_well()).collect();
    report(&json!({
        "commit": commit(), "started": started, "seconds": clock.elapsed().as_secs(),
        "first_seed": first, "seeds": runs.len(), "violations": failed.len(),
        "failed_seeds": failed.iter().map(|run| run.seed).collect::<Vec<_>>(),
        "messages": sum("messages"), "applied": sum("applied"), "told": sum("told"),
        "given_up": sum("given_up"), "faults": faults.values().sum::<u64>(),
        "faults_by_kind": faults, "simulated_seconds": sum("simulated_ms") / 1_000,
    }));
    if let Some(run) = failed.first() {
        let seeds: Vec<_> = failed.iter().map(|run| run.seed).collect();
        panic!("{} of {} seeds failed: {seeds:?}\n{}", seeds.len(), runs.len(), run.show());
    }
    assert!(sum("applied") > 100 * count, "too little happened");
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let seed = number("NETSIM_SEED", 1);
    let (one, two) = (run(seed, None), run(seed, None));
    let differs = one.trace.iter().zip(&two.trace).find(|(one, two)| one != two);
    assert_eq!(differs, None, "seed {seed}");
    assert_eq!(one.told, two.told);
}

/// A simulation that cannot see a mistake proves nothing.
#[test]
fn mistakes_are_found() {
    for mutation in ["DeliverBeforeStored", "PositionWithoutEpoch"] {
        let runs = run_all(1, PATIENCE, Some(mutation), |run| !run.is_well());
        let found = runs.iter().find(|run| !run.is_well());
        let Some(found) = found else { panic!("{mutation} was not found in {PATIENCE} seeds") };
        let again = run(found.seed, Some(mutation));
        assert_eq!(found.told, again.told, "{mutation}, seed {}", found.seed);
    }
}

fn unix_secs() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn commit() -> Option<String> {
    let out = Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn report(report: &Value) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/reports");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = serde_json::to_string_pretty(report).expect("JSON");
    std::fs::write(folder.join("netsim.json"), text).expect("written");
}

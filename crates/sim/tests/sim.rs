//! Many schedules, each printed by its seed when it fails.

use belay_sim::simulate;

/// Schedules of a run: `SIM_SCHEDULES` of them from `SIM_SEED` on.
fn number(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test run is configured by its environment")]
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn nothing_is_lost_doubled_reordered_or_missing_in_silence() {
    let (first, count) = (number("SIM_SEED", 1), number("SIM_SCHEDULES", 2_000));
    let (mut applied, mut gaps) = (0, 0);
    for seed in first..first + count {
        let outcome = simulate(seed, false);
        if let Some(violation) = outcome.violation {
            let trace = simulate(seed, true).trace;
            let shown = if count == 1 { trace.len() } else { 60 };
            let from = trace.len().saturating_sub(shown);
            panic!("seed {seed}: {violation:?}\n{}", trace[from..].join("\n"));
        }
        applied += outcome.applied;
        gaps += outcome.gaps;
    }
    println!("{count} schedules, {applied} messages applied, {gaps} gaps told");
    assert!(applied > count * 10, "too little happened: {applied}");
}

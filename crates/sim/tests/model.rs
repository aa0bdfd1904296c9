//! Small worlds of which every schedule is played, and the mistakes that must be found in them.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use belay_core::{Mutation, mutate_everywhere};
use belay_sim::model::{Checked, Delivery, Limit, Tokens, cases, check, setups};
use serde_json::json;

/// A quick run ends well before it, also on a busy machine.
const QUICK: Duration = Duration::from_mins(5);
/// A mistake is found well before it.
const PATIENCE: Limit = Limit(Duration::from_mins(1));

/// `MODEL_SECONDS` that a larger run may take; a quick one plays everything.
fn seconds() -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test run is configured by its environment")]
    std::env::var("MODEL_SECONDS").ok().map(|text| text.parse().expect("a number"))
}

/// `MODEL_ONLY` is part of a name.
fn is_wanted(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test run is configured by its environment")]
    std::env::var("MODEL_ONLY").ok().is_none_or(|only| name.contains(&only))
}

/// All worlds, with so many faults more than a quick run has; time that one leaves is the others'.
fn search(more: u8, time: Duration) -> Vec<Checked> {
    let end = Instant::now() + time;
    let worlds: Vec<_> = setups().into_iter().filter(|setup| is_wanted(setup.name)).collect();
    let cases: Vec<_> = cases(more).into_iter().filter(|case| is_wanted(case.name)).collect();
    let count = worlds.len() + cases.len();
    let limit = |done: usize| {
        let left = u32::try_from(count - done).expect("few");
        Limit(end.saturating_duration_since(Instant::now()) / left)
    };
    let mut searched = Vec::new();
    for setup in worlds {
        let setup = setup.with_more_faults(more);
        let limit = limit(searched.len());
        searched.push(check(setup.name, limit, |clock| Delivery::new(setup.clone(), clock)));
        eprintln!("{}", line(&searched[searched.len() - 1]));
    }
    for case in cases {
        let limit = limit(searched.len());
        searched.push(check(case.name, limit, |clock| Tokens::new(case, clock)));
        eprintln!("{}", line(&searched[searched.len() - 1]));
    }
    searched
}

fn line(checked: &Checked) -> String {
    let Checked { name, states, depth, exhausted, seconds, .. } = checked;
    let how = if *exhausted { "all" } else { "not all" };
    format!("{name}: {states} states ({how}), depth {depth}, {seconds:.1} s")
}

/// The world in which a mistake shows.
fn shows(mutation: Mutation) -> &'static str {
    match mutation {
        Mutation::DeliverBeforeStored => "a log that fails",
        Mutation::AcknowledgeUnknown => "commands at two nodes",
        Mutation::BaseFromOldest => "a small log",
        Mutation::ReopenClosedEpoch => "former lives of a member",
        Mutation::PositionWithoutEpoch | Mutation::ResumeWithoutChain => "former lives",
        Mutation::EvictUnapplied => "commands",
        Mutation::CommitAtOffer => "tokens of a device without a key",
        Mutation::SameSuccessor => "a thief of a device without a key",
        Mutation::OneTombstone => "a revoked device with a key",
    }
}

fn search_with(mutation: Mutation) -> Checked {
    mutate_everywhere(Some(mutation));
    let setup = setups().into_iter().find(|setup| setup.name == shows(mutation));
    let case = cases(0).into_iter().find(|case| case.name == shows(mutation));
    let checked = match (setup, case) {
        (Some(setup), _) => check(setup.name, PATIENCE, |clock| Delivery::new(setup, clock)),
        (_, Some(case)) => check(case.name, PATIENCE, |clock| Tokens::new(case, clock)),
        _ => panic!("no world {}", shows(mutation)),
    };
    mutate_everywhere(None);
    eprintln!("{mutation:?}: {}", checked.violation.as_ref().map_or("not found", |(v, _)| v));
    eprintln!("  {}", line(&checked));
    checked
}

#[test]
fn every_schedule_keeps_the_promises_and_mistakes_are_found() {
    let started = unix_secs();
    let quick = search(0, QUICK);
    complain(&quick);
    let searched = match seconds() {
        None => quick,
        Some(seconds) => {
            let larger = search(1, Duration::from_secs(seconds));
            complain(&larger);
            larger
        }
    };
    let mutations: Vec<_> = Mutation::ALL.into_iter().filter(|m| is_wanted(shows(*m))).collect();
    let found = |m: &Mutation| search_with(*m).violation.is_some();
    let missed: Vec<_> = mutations.iter().filter(|m| !found(m)).collect();
    report(started, &searched, mutations.len(), mutations.len() - missed.len());
    assert!(missed.is_empty(), "mistakes that were not found: {missed:?}");
    if seconds().is_none() {
        let left: Vec<_> = searched.iter().filter(|c| !c.exhausted).map(|c| &c.name).collect();
        assert!(left.is_empty(), "not all states were seen of {left:?}");
    }
}

/// A violation comes with what leads to it.
fn complain(searched: &[Checked]) {
    for checked in searched {
        if let Some((promise, steps)) = &checked.violation {
            panic!("{}: not so: {promise}\n{}", checked.name, steps.join("\n"));
        }
        let is_known = checked.missing.is_empty() || !checked.exhausted;
        assert!(is_known, "{}: {:?} never", checked.name, checked.missing);
    }
}

fn unix_secs() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn report(started: u64, searched: &[Checked], mutations: usize, found: usize) {
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output().ok();
    let commit = commit.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let each = searched.iter().map(|c| {
        json!({
            "name": c.name, "states": c.states, "depth": c.depth,
            "exhausted": c.exhausted, "seconds": c.seconds,
        })
    });
    let report = json!({
        "commit": commit, "started": started,
        "states": searched.iter().map(|c| c.states).sum::<usize>(), "violations": 0,
        "mutations": mutations, "mutations_found": found,
        "configurations": each.collect::<Vec<_>>(),
    });
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/reports");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = serde_json::to_string_pretty(&report).expect("JSON");
    std::fs::write(folder.join("model.json"), text).expect("written");
}

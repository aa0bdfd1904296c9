//! PostgreSQL dies, freezes and comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use belay_core::ports::{Revocations, StoreError};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::{folder, member, open, postgres, until};

/// The time limit of a call, 2 s, and time for the machine.
const CALL_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_database_is_found_again_and_no_answered_addition_is_lost() {
    let folder = folder();
    let mut server = postgres(folder.path());
    let (one, two) = (open(&server.url(), "n1").await, open(&server.url(), "n2").await);
    let stop = Arc::new(AtomicBool::new(false));
    let adding = tokio::spawn({
        let (one, stop) = (one.clone(), stop.clone());
        async move {
            let (mut answered, mut n) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                if one.add(member(n)).await.is_ok() {
                    answered.push(n);
                }
                n += 1;
            }
            answered
        }
    });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.restart().expect("PostgreSQL again");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let answered = adding.await.expect("no panic");
    assert!(answered.len() > 50, "only {} were added", answered.len());

    until(|| answered.iter().all(|n| two.contains(member(*n)))).await;
    until(|| two.age() < Duration::from_secs(1) && two.state().fault.is_none()).await;
    let fresh = open(&server.url(), "n3").await;
    assert!(answered.iter().all(|n| fresh.contains(member(*n))));
    assert_eq!(two.state().restored, 0, "nothing that was read was lost");
}

#[tokio::test]
async fn while_the_database_is_away_the_copy_answers_additions_fail_and_its_age_shows() {
    let folder = folder();
    let mut server = postgres(folder.path());
    let node = open(&server.url(), "n1").await;
    node.add(member(1)).await.expect("added");
    server.kill();

    let began = Instant::now();
    let error = node.add(member(2)).await.expect_err("nobody is there");
    assert!(began.elapsed() < CALL_MAX, "{:?}", began.elapsed());
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(node.contains(member(1)) && !node.contains(member(2)));
    until(|| node.age() > Duration::from_millis(1_500)).await;
    assert!(node.state().fault.is_some());

    server.restart().expect("PostgreSQL again");
    until(|| node.age() < Duration::from_secs(1) && node.state().fault.is_none()).await;
    node.add(member(2)).await.expect("added");
}

#[tokio::test]
async fn a_frozen_database_costs_no_call_more_than_its_limit() {
    let folder = folder();
    let server = postgres(folder.path());
    let node = open(&server.url(), "n1").await;
    node.add(member(1)).await.expect("added");
    let all = freeze(&server);

    for n in 2..5 {
        let began = Instant::now();
        node.add(member(n)).await.expect_err("nobody answers");
        assert!(began.elapsed() < CALL_MAX, "{:?}", began.elapsed());
    }
    assert!(node.age() > Duration::from_secs(1));

    for pid in all {
        let _ = rustix::process::kill_process(pid, Signal::CONT);
    }
    until(|| node.age() < Duration::from_secs(1)).await;
    node.add(member(2)).await.expect("added");
}

/// Stops the server and every process that serves a connection.
fn freeze(server: &belay_servers::Postgres) -> Vec<rustix::process::Pid> {
    server.process().signal(Signal::STOP);
    let parent = server.process().pid();
    let mut stopped = vec![parent];
    for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, after)) = stat.rsplit_once(") ") else { continue };
        let its: Option<i32> = after.split(' ').nth(1).and_then(|n| n.parse().ok());
        let pid = entry.file_name().to_str().and_then(|n| n.parse().ok());
        if its == Some(parent.as_raw_nonzero().get())
            && let Some(pid) = pid.and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, Signal::STOP);
            stopped.push(pid);
        }
    }
    stopped
}

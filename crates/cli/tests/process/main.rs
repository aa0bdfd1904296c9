//! The binary as an operator runs it: kill -9, SIGTERM, a second process on the folder.

mod drain;
mod relay;
mod steps;
mod stored;
mod up;
mod why;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use belay_client::{Api, Identity};
use belay_wire::pair::{HostInfo, SessionCreated};
use relay::{BELAY, Relay, command, lift, start, start_on_full_disk};

fn host(identity: &Identity) -> HostInfo {
    let (name, platform) = ("desk".to_owned(), "test".to_owned());
    HostInfo { name, platform, public_key: identity.public() }
}

#[tokio::test]
async fn kill_9_loses_no_session_that_was_answered() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut answered = Vec::new();
    for round in 0..5 {
        let mut relay = start(folder.path());
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..6 {
            let api = Api::new(&relay.url).expect("an address");
            calls.spawn(async move {
                let identity = Identity::generate();
                let mut made = Vec::new();
                while let Ok(created) = api.create_session(host(&identity)).await {
                    made.push((identity.clone(), created));
                }
                made
            });
        }
        tokio::time::sleep(Duration::from_millis(60 + 40 * round)).await;
        relay.child.kill().expect("killed with SIGKILL");
        answered.extend(calls.join_all().await.into_iter().flatten());
    }
    assert!(answered.len() > 20, "only {} sessions were made", answered.len());

    let relay = start(folder.path());
    assert_all_are_there(&relay, &answered).await;
}

async fn assert_all_are_there(relay: &Relay, answered: &[(Identity, SessionCreated)]) {
    let api = Api::new(&relay.url).expect("an address");
    for (identity, created) in answered {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = u64::try_from(now.expect("after 1970").as_millis()).expect("fits");
        let code = api.new_code(created.session, &created.host_token, identity, now).await;
        assert!(code.is_ok(), "{}: {code:?}", created.session);
    }
}

#[tokio::test]
async fn a_full_disk_is_told_loses_nothing_and_is_left_by_itself() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let relay = start_on_full_disk(folder.path(), 768);
    let api = Api::new(&relay.url).expect("an address");
    let identity = Identity::generate();
    let mut answered = Vec::new();
    let refusal = loop {
        match api.create_session(host(&identity)).await {
            Ok(created) => answered.push((identity.clone(), created)),
            Err(error) => break error,
        }
        assert!(answered.len() < 5_000, "the disk never filled");
    };
    assert!(answered.len() > 5, "only {} sessions were made: {refusal}", answered.len());
    assert_eq!(refusal.name(), Some("store_unavailable"), "{refusal}");
    assert_eq!(ready_status(&relay).await, 503, "a balancer is told");
    let health = reqwest::get(format!("{}/healthz", relay.url)).await.expect("an answer");
    assert_eq!(health.status().as_u16(), 503, "that it can be read does not make it well");
    assert_eq!(ready_status(&relay).await, 503, "nor does asking");

    lift(&relay);
    let deadline = Instant::now() + Duration::from_secs(10);
    let created = loop {
        match api.create_session(host(&identity)).await {
            Ok(created) => break created,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    answered.push((identity.clone(), created));
    assert_eq!(ready_status(&relay).await, 200);
    assert_all_are_there(&relay, &answered).await;

    drop(relay);
    assert_all_are_there(&start(folder.path()), &answered).await;
}

async fn ready_status(relay: &Relay) -> u16 {
    let address = format!("{}/readyz", relay.url);
    reqwest::get(address).await.expect("an answer").status().as_u16()
}

#[test]
fn sigterm_ends_the_relay_within_its_grace() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut relay = start(folder.path());
    let started = Instant::now();

    let pid = rustix::process::Pid::from_raw(i32::try_from(relay.child.id()).expect("a pid"));
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::TERM)
        .expect("sent");
    let status = relay.child.wait().expect("it ends");

    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_second_relay_on_the_folder_is_told_what_to_do() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let relay = start(folder.path());

    let output =
        command(folder.path()).arg("--port=0").stderr(Stdio::piped()).output().expect("it runs");

    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains(&format!("(process {})", relay.child.id())), "{text}");
    assert!(text.contains("--data-dir"), "{text}");
}

#[test]
fn a_relay_ends_with_the_program_that_started_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut child = command(folder.path()).arg("--port=0").spawn().expect("the relay starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("readable");

    drop(child.stdin.take());

    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_reader_that_had_enough_is_no_error() {
    let mut config = Command::new(BELAY);
    let mut child = config
        .arg("config")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());

    let output = child.wait_with_output().expect("it ends");

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_store_can_be_read_with_sqlite3_while_the_relay_runs_and_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().expect("temporary folder");
    let folder = outer.path().join("data");
    let relay = start(&folder);
    let api = Api::new(&relay.url).expect("an address");
    let session = api.create_session(host(&Identity::generate())).await.expect("made");

    let output = Command::new("sqlite3")
        .arg(folder.join("belay.db"))
        .arg("SELECT id FROM sessions")
        .output()
        .expect("sqlite3: `make bootstrap` installs it");

    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), session.session.to_string());
    let mode = std::fs::metadata(&folder).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).expect("readable") {
        let entry = entry.expect("readable");
        let found = entry.metadata().expect("there");
        if found.is_file() {
            files += 1;
            assert_eq!(found.permissions().mode() & 0o077, 0, "{}", entry.path().display());
        }
    }
    assert!(files > 3, "the relay keeps files");
}

//! The binary as an operator runs it: kill -9, SIGTERM, a second process on the folder.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use belay_client::{Api, Identity};
use belay_wire::pair::HostInfo;

const BELAY: &str = env!("CARGO_BIN_EXE_belay");

/// A relay process; killed when dropped.
struct Relay {
    child: Child,
    url: String,
    // Its end would end the relay.
    _input: std::process::ChildStdin,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(BELAY);
    command
        .args(["serve", "--exit-with-stdin", "--port=0", "--admin-listen=127.0.0.1:0"])
        .args(["--pair-per-minute=100000", "--log-level=warn"])
        .arg(format!("--data-dir={}", folder.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

fn start(folder: &Path) -> Relay {
    let mut child = command(folder).spawn().expect("the relay starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("readable");
    let port = line.trim().replace("ready ", "");
    let input = child.stdin.take().expect("a pipe");
    Relay { child, url: format!("http://127.0.0.1:{port}"), _input: input }
}

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
    let api = Api::new(&relay.url).expect("an address");

    for (identity, created) in &answered {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = u64::try_from(now.expect("after 1970").as_millis()).expect("fits");
        let code = api.new_code(created.session, &created.host_token, identity, now).await;
        assert!(code.is_ok(), "{}: {code:?}", created.session);
    }
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

    let output = command(folder.path()).stderr(Stdio::piped()).output().expect("it runs");

    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains(&format!("pid {}", relay.child.id())), "{text}");
    assert!(text.contains("--data-dir"), "{text}");
}

#[test]
fn a_relay_ends_with_the_program_that_started_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut child = command(folder.path()).spawn().expect("the relay starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("readable");

    drop(child.stdin.take());

    assert!(child.wait().expect("it ends").success());
}

//! The recorder and the player as commands.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use belay_testkit::{
    Relay,
    compat::{Desktop, Net},
    config,
};

const TRANSCRIPT: &str = env!("CARGO_BIN_EXE_transcript");

/// A running recorder and its address.
fn record(relay: &str, out: &Path) -> (Child, BufReader<ChildStdout>, String) {
    let mut command = Command::new(TRANSCRIPT);
    command.args(["record", "--listen", "127.0.0.1:0", "--relay", relay, "--out"]).arg(out);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let mut told = BufReader::new(child.stdout.take().expect("a pipe"));
    told.read_line(&mut line).expect("a line");
    let url = line.split(&[' ', ';'][..]).find(|word| word.starts_with("http"));
    (child, told, url.expect("its address").to_owned())
}

fn run(args: &[&str]) -> Output {
    Command::new(TRANSCRIPT).args(args).output().expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_plays_alike_against_another_relay_and_tells_what_differs() {
    let (first, second) = (Relay::start(config()).await, Relay::start(config()).await);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("visit.jsonl");
    let (mut recorder, mut told, url) = record(&first.url, &file);
    let (net, desktop) = (Net::native(&url), Desktop::new("session-0123456789abcdef"));
    assert_eq!(net.post("/pair/start", &desktop.start()).await.status, 200);
    let mut wire = net.open().await;
    wire.auth(&desktop.token).await;
    assert_eq!(net.post("/pair/stop", &desktop.own()).await.status, 200);
    wire.ended().await;
    let pid = recorder.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill").success());
    assert!(recorder.wait().expect("it ends").success());
    let mut line = String::new();
    told.read_line(&mut line).expect("a line");
    assert!(line.contains("lines in"), "{line}");

    let path = file.to_str().expect("UTF-8");
    let alike = run(&["replay", path, "--relay", &second.url]);
    assert!(alike.status.success(), "{alike:?}");
    let normal = String::from_utf8(run(&["normalise", path]).stdout).expect("UTF-8");
    assert!(normal.contains("\"disconnect\"") && normal.contains("<wsURL>"), "{normal}");
    let text = std::fs::read_to_string(&file).expect("written");
    std::fs::write(&file, text.replace("\"role\"", "\"part\"")).expect("written");
    let other = run(&["replay", path, "--relay", &second.url]);
    let told = String::from_utf8(other.stderr).expect("UTF-8");
    assert!(!other.status.success() && told.contains("message.part is missing now"), "{told}");
    for (given, why) in [("", "holds nothing"), ("nonsense", "line 1")] {
        std::fs::write(&file, given).expect("written");
        let told = String::from_utf8(run(&["replay", path]).stderr).expect("UTF-8");
        assert!(told.contains(why), "{told}");
    }
}

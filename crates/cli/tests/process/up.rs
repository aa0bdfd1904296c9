//! `belay up`, which starts its relay again.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::relay::BELAY;

const SOON: Duration = Duration::from_secs(20);

/// Starts a copy of the binary, and gives what it says.
fn up(binary: &Path, folder: &Path) -> (Child, mpsc::Receiver<String>) {
    let mut command = Command::new(binary);
    command.args(["up", "--plain", "--agent=scripted", "--port=0", "--admin-listen=127.0.0.1:0"]);
    command.arg("--data-dir").arg(folder.join("data")).arg("--folder").arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("started");
    let said = BufReader::new(child.stdout.take().expect("a pipe"));
    let (lines, heard) = mpsc::channel();
    std::thread::spawn(move || {
        said.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    (child, heard)
}

/// By another process: a file that this one has open for writing could not be run.
fn copy_to(binary: &Path) {
    let copied = Command::new("cp").arg(BELAY).arg(binary).status();
    assert!(copied.expect("cp").success());
}

fn until(what: &str, heard: &mpsc::Receiver<String>, is_it: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + SOON;
    let mut all = String::new();
    while let Ok(line) = heard.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if is_it(&line) {
            return line;
        }
        all.extend([&line, "\n"]);
    }
    panic!("not in time: {what}\n{all}")
}

/// The processes that a process has started and that live.
fn children(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let lists = tasks.map(|t| fs::read_to_string(t.path().join("children")).unwrap_or_default());
    lists.flat_map(|l| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn a_relay_that_dies_after_its_binary_was_replaced_is_started_again_from_the_new_one() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let binary = folder.path().join("belay");
    copy_to(&binary);
    let (mut desktop, heard) = up(&binary, folder.path());
    until("a link", &heard, |line| line.contains("http://127.0.0.1:"));
    let [first] = &children(desktop.id())[..] else { panic!("one relay") };
    let fresh = folder.path().join("fresh");
    copy_to(&fresh);
    fs::rename(&fresh, &binary).expect("replaced");

    assert!(Command::new("kill").args(["-9", first]).status().expect("kill").success());

    until("its end is told", &heard, |line| line.contains("the relay ended (signal: 9"));
    until("the relay is back", &heard, |line| line.contains("connected to the relay"));
    let now = children(desktop.id());
    assert!(now.len() == 1 && now[0] != *first, "{now:?}");
    let program = fs::read_link(format!("/proc/{}/exe", now[0])).expect("it runs");
    assert_eq!(program, binary.canonicalize().expect("there"));
    desktop.kill().expect("killed");
    desktop.wait().expect("ended");
}

#[test]
fn a_relay_that_does_not_start_is_told_with_its_cause_and_tried_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let binary = folder.path().join("belay");
    copy_to(&binary);
    let (mut desktop, heard) = up(&binary, folder.path());
    until("a link", &heard, |line| line.contains("http://127.0.0.1:"));
    let [first] = &children(desktop.id())[..] else { panic!("one relay") };
    let away = folder.path().join("away");
    fs::rename(&binary, &away).expect("taken away");

    assert!(Command::new("kill").args(["-9", first]).status().expect("kill").success());

    let told = until("a cause", &heard, |line| line.contains("the relay does not start"));
    assert!(told.contains("No such file"), "{told}");
    fs::rename(&away, &binary).expect("put back");
    until("the relay is back", &heard, |line| line.contains("connected to the relay"));
    desktop.kill().expect("killed");
    desktop.wait().expect("ended");
}

#[test]
fn operators_commands_find_the_admin_listener_by_the_data_folder() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut desktop, heard) = up(Path::new(BELAY), folder.path());
    until("a link", &heard, |line| line.contains("http://127.0.0.1:"));

    let mut status = Command::new(BELAY);
    status.args(["drain", "status", "--data-dir"]).arg(folder.path().join("data"));
    status.env_remove("BELAY_ADMIN");
    let output = status.output().expect("run");

    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("active"), "{output:?}");
    let address = folder.path().join("data/admin-address");
    fs::write(&address, "").expect("emptied");
    let output = status.output().expect("run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("answer at http://;"), "an empty file is no address: {said}");
    desktop.kill().expect("killed");
    desktop.wait().expect("ended");
}

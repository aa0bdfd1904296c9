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

/// `belay up`, which ends with its test.
struct Up {
    child: Child,
    heard: mpsc::Receiver<String>,
}

impl Up {
    /// Starts it, and waits until it shows a link.
    fn start(binary: &Path, folder: &Path) -> Self {
        let mut command = Command::new(binary);
        command.args(["up", "--plain", "--agent=scripted"]);
        command.arg(format!("--port={}", belay_servers::free_port().expect("a port")));
        command.arg("--admin-listen=127.0.0.1:0").arg("--folder").arg(folder);
        command.arg("--data-dir").arg(folder.join("data"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("started");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        let (lines, heard) = mpsc::channel();
        std::thread::spawn(move || {
            said.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let up = Self { child, heard };
        up.says("http://127.0.0.1:");
        up
    }

    fn says(&self, part: &str) -> String {
        let end = Instant::now() + SOON;
        let mut all = String::new();
        let left = || end.saturating_duration_since(Instant::now());
        while let Ok(line) = self.heard.recv_timeout(left()) {
            if line.contains(part) {
                return line;
            }
            all.extend([&line, "\n"]);
        }
        panic!("not in time: {part}\n{all}")
    }

    /// The one process that it has started and that lives.
    fn relay(&self) -> String {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let lists = tasks.flatten().map(|t| fs::read_to_string(t.path().join("children")));
        let all = lists.map(Result::unwrap_or_default).collect::<Vec<_>>().concat();
        let [relay] = &all.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{all}") };
        (*relay).to_owned()
    }

    fn kill_relay(&self) {
        let killed = Command::new("kill").args(["-9", &self.relay()]).status();
        assert!(killed.expect("kill").success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// By another process: a file that this one has open for writing could not be run.
fn copy_to(binary: &Path) {
    let copied = Command::new("cp").arg(BELAY).arg(binary).status();
    assert!(copied.expect("cp").success());
}

#[test]
fn a_relay_that_dies_after_its_binary_was_replaced_is_started_again_from_the_new_one() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let binary = folder.path().join("belay");
    copy_to(&binary);
    let up = Up::start(&binary, folder.path());
    let fresh = folder.path().join("fresh");
    copy_to(&fresh);
    fs::rename(&fresh, &binary).expect("replaced");

    let first = up.relay();

    up.kill_relay();

    up.says("the relay ended (signal: 9");
    up.says("connected to the relay");
    let now = up.relay();
    assert_ne!(now, first);
    let program = fs::read_link(format!("/proc/{now}/exe")).expect("it runs");
    assert_eq!(program, binary.canonicalize().expect("there"));
}

#[test]
fn a_relay_that_does_not_start_is_told_with_its_cause_and_tried_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let binary = folder.path().join("belay");
    copy_to(&binary);
    let up = Up::start(&binary, folder.path());
    let away = folder.path().join("away");
    fs::rename(&binary, &away).expect("taken away");

    up.kill_relay();

    let told = up.says("the relay does not start");
    assert!(told.contains("No such file"), "{told}");
    fs::rename(&away, &binary).expect("put back");
    up.says("connected to the relay");
}

#[test]
fn operators_commands_find_the_admin_listener_by_the_data_folder() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let _up = Up::start(Path::new(BELAY), folder.path());

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
}

//! Relays as processes.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

pub(crate) const BELAY: &str = env!("CARGO_BIN_EXE_belay");

/// A relay process; killed when dropped.
pub(crate) struct Relay {
    pub(crate) child: Child,
    pub(crate) url: String,
    // Its end would end the relay.
    _input: std::process::ChildStdin,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(BELAY);
    command
        .args(["serve", "--exit-with-stdin", "--admin-listen=127.0.0.1:0"])
        .args(["--pair-per-minute=100000", "--log-level=warn"])
        .arg(format!("--data-dir={}", folder.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

pub(crate) fn start(folder: &Path) -> Relay {
    start_at(folder, &format!(":{}", belay_servers::free_port().expect("a port")))
}

/// A relay on the port of an earlier one.
pub(crate) fn start_at(folder: &Path, url: &str) -> Relay {
    start_with(folder, url, &[])
}

/// The same with more settings.
pub(crate) fn start_with(folder: &Path, url: &str, args: &[&str]) -> Relay {
    let port = url.rsplit(':').next().expect("a port");
    let mut again = command(folder);
    again.arg(format!("--port={port}")).args(args);
    ready(again)
}

/// A relay for which every file is full at `kib` kibibytes; [`lift`] ends that.
pub(crate) fn start_on_full_disk(folder: &Path, kib: u32) -> Relay {
    let mut plain = command(folder);
    plain.arg("--port=0");
    let mut limited = Command::new("bash");
    let script = format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(plain.get_program()).args(plain.get_args());
    limited.stdin(Stdio::piped()).stdout(Stdio::piped());
    ready(limited)
}

pub(crate) fn lift(relay: &Relay) {
    let limit = ["--fsize=unlimited:unlimited".to_owned(), format!("--pid={}", relay.child.id())];
    assert!(Command::new("prlimit").args(limit).status().expect("util-linux").success());
}

pub(crate) fn ready(mut command: Command) -> Relay {
    let mut child = command.spawn().expect("the relay starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("readable");
    let port = line.trim().replace("ready ", "");
    let input = child.stdin.take().expect("a pipe");
    Relay { child, url: format!("http://127.0.0.1:{port}"), _input: input }
}

/// Runs a command of an operator against a relay with `--admin-on-public`. Gives whether it did, and all
/// that it said.
pub(crate) fn operate(relay: &Relay, folder: &Path, words: &[&str]) -> (bool, String) {
    let output = Command::new(BELAY)
        .args(words)
        .arg(format!("--admin={}", relay.url))
        .arg(format!("--data-dir={}", folder.display()))
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

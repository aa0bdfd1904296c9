//! `belay host` as a process that can be told at which of its steps to die.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use belay_client::{Api, PairingLink, Phone as Pairing};
use belay_testkit::{Member, SOON};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::relay::BELAY;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/process/steps");

pub(super) struct Desktop {
    folder: PathBuf,
    relay: String,
    child: Child,
}

impl Desktop {
    /// A host that was never started before.
    pub(super) fn new(folder: &Path, relay: &str) -> Self {
        let mut compile = std::process::Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.join("steps.so"));
        compile.arg(format!("{SOURCES}/steps.c")).arg("-ldl");
        assert!(compile.status().expect("a C compiler").success(), "the shim does not compile");
        std::fs::create_dir(folder.join("work")).expect("a folder for threads");
        let (folder, relay) = (folder.to_owned(), relay.to_owned());
        let child = start(&folder, &relay);
        Self { folder, relay, child }
    }

    /// Starts it anew; one that lives is killed.
    pub(super) fn start_again(&mut self) {
        let _ = self.child.start_kill();
        self.child = start(&self.folder, &self.relay);
    }

    /// From now on the host dies at the first step of this name, or at the first one that no host died at.
    pub(super) fn die_at(&self, name: Option<&str>) {
        std::fs::write(self.folder.join("steps"), "").expect("written");
        // The host reads a whole name or none.
        let fresh = self.folder.join("knife.new");
        std::fs::write(&fresh, name.unwrap_or_default()).expect("written");
        std::fs::rename(fresh, self.folder.join("knife")).expect("renamed");
    }

    pub(super) fn live(&self) {
        std::fs::remove_file(self.folder.join("knife")).expect("removed");
    }

    pub(super) fn is_dead(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_some()
    }

    /// The steps since it was told to die.
    pub(super) fn steps(&self) -> Vec<String> {
        self.lines("steps")
    }

    /// The steps at which a host died, each with how many of its name there were before it.
    pub(super) fn places(&self) -> Vec<String> {
        self.lines("died")
    }

    /// Tells whether the prompt of a command stands in its thread, on disk.
    pub(super) fn has_prompt(&self, id: &str) -> bool {
        let threads = std::fs::read_dir(self.folder.join("data/host/threads")).expect("a folder");
        let mut texts = threads.map(|thread| {
            std::fs::read_to_string(thread.expect("readable").path()).expect("readable")
        });
        let is_it = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            line["item"]["body"]["command"] == id
        };
        texts.any(|text| text.lines().any(is_it))
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Shows a link, and approves the phone that comes.
    pub(super) async fn pair(&mut self) -> Member {
        let mut lines = BufReader::new(self.child.stdout.take().expect("a pipe")).lines();
        let line = until(&mut lines, "Open in a browser on this machine: ").await;
        let link = PairingLink::parse(line.rsplit(' ').next().expect("a link")).expect("a link");
        let (phone, relay) = (Pairing::new("Ana's phone", "Android"), self.relay.clone());
        let paired = tokio::spawn(async move {
            let api = Api::new(&relay).expect("an address");
            let waiting = phone.start(&api, &link).await.expect("redeemed");
            (phone.finish(&api, &relay, &waiting).await.expect("paired"), phone.identity)
        });
        until(&mut lines, "Approve? y/n").await;
        let mut typed = self.child.stdin.take().expect("a pipe");
        typed.write_all(b"y\n").await.expect("typed");
        let (credentials, identity) = paired.await.expect("joined");
        Member::start(identity, credentials).await
    }

    /// Ends it, and gives what its agents noted once the last one is gone.
    pub(super) fn end(mut self) -> Vec<String> {
        self.child.start_kill().expect("killed");
        let notes = File::open(self.folder.join("notes")).expect("the agents noted something");
        let deadline = Instant::now() + SOON;
        while notes.try_lock().is_err() {
            assert!(Instant::now() < deadline, "an agent outlives its host");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.lines("notes")
    }
}

fn start(folder: &Path, relay: &str) -> Child {
    let agent = format!("python3 -IS {SOURCES}/agent.py {}", folder.join("notes").display());
    let mut host = Command::new(BELAY);
    host.args(["host", "--plain", "--agent=acp", "--acp", &agent, "--relay", relay]);
    host.arg("--folder").arg(folder.join("work")).arg("--data-dir").arg(folder.join("data"));
    host.env("LD_PRELOAD", folder.join("steps.so"))
        .env("STEPS_KNIFE", folder.join("knife"))
        .env("STEPS_DIED", folder.join("died"))
        .env("STEPS_NOTES", folder.join("steps"))
        .env("STEPS_FOLDER", folder.join("data/host"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    host.spawn().expect("the host starts")
}

async fn until(lines: &mut Lines<BufReader<ChildStdout>>, text: &str) -> String {
    let waiting = async {
        loop {
            let line = lines.next_line().await.expect("readable").expect("the host runs");
            if line.contains(text) {
                return line;
            }
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("printed in time")
}

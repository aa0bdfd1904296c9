//! `belay cluster-dev` as a process, read as a person reads it.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

pub(crate) const BELAY: &str = env!("CARGO_BIN_EXE_belay");

/// How long a start or a restart may take on a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// A row of its table.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) pid: i32,
}

/// A cluster that ends with this.
pub(crate) struct Dev {
    pub(crate) child: Child,
    lines: Receiver<String>,
    pub(crate) url: String,
    pub(crate) parts: Vec<Part>,
    pub(crate) folder: PathBuf,
}

impl Dev {
    /// Starts one and reads its table.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = Command::new(BELAY)
            .args(["cluster-dev", "--exit-with-stdin"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let stdout = child.stdout.take().expect("piped");
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let (url, folder, parts) = (String::new(), PathBuf::new(), Vec::new());
        let mut dev = Self { child, lines, url, parts, folder };
        dev.url = last_word(&dev.until("the cluster is up: "));
        loop {
            let line = dev.line();
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                ["folder", folder, ..] => {
                    dev.folder = PathBuf::from(folder);
                    return dev;
                }
                [name, address, "pid", pid, ..] => dev.parts.push(Part {
                    name: (*name).to_owned(),
                    address: address.trim_start_matches("http://").to_owned(),
                    pid: pid.parse().expect("a number"),
                }),
                _ => {}
            }
        }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(SOON).expect("another line")
    }

    /// Waits for a line that holds a text.
    pub(crate) fn until(&self, text: &str) -> String {
        let deadline = Instant::now() + SOON;
        let mut seen = Vec::new();
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { break };
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no \"{text}\" in {seen:#?}")
    }

    pub(crate) fn part(&self, name: &str) -> Part {
        let found = self.parts.iter().find(|part| part.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.parts)).clone()
    }

    /// kill -9.
    pub(crate) fn kill(&self, name: &str) {
        let status = Command::new("kill").args(["-9", &self.part(name).pid.to_string()]).status();
        assert!(status.expect("it runs").success());
    }

    /// Ends its input and waits for its end.
    pub(crate) fn end(&mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("it ends").success());
    }

    /// Waits until nothing of it listens any more.
    pub(crate) fn until_all_are_gone(&self) {
        let balancer = self.url.trim_start_matches("http://");
        let all = self.parts.iter().map(|part| part.address.as_str()).chain([balancer]);
        let deadline = Instant::now() + SOON;
        for address in all {
            while TcpStream::connect(address).is_ok() {
                assert!(Instant::now() < deadline, "{address} still listens");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn last_word(line: &str) -> String {
    line.split_whitespace().next_back().expect("a word").to_owned()
}

//! The relay that is measured.

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

pub(crate) struct Process {
    pub(crate) url: String,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Process {
    pub(crate) async fn start(binary: &str, sync: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut child = Command::new(binary)
            .args(["serve", "--exit-with-stdin", "--port=0", "--admin-listen=127.0.0.1:0"])
            .args(["--pair-per-minute=1000000", "--log-level=warn"])
            .args(["--commands-per-minute=1000000", "--session-commands-per-minute=1000000"])
            .args(["--ws-messages-per-minute=1000000", "--allowed-origins=*"])
            .arg(format!("--sync={sync}"))
            .arg(format!("--data-dir={}", folder.path().display()))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the relay starts");
        let stdout = child.stdout.take().expect("a pipe");
        let line = BufReader::new(stdout).lines().next_line().await.expect("readable");
        let port = line.expect("a line").replace("ready ", "");
        Self { url: format!("http://127.0.0.1:{port}"), child, _folder: folder }
    }

    fn read(&self, file: &str) -> String {
        let pid = self.child.id().expect("it runs");
        std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs")
    }

    /// Resident memory, and the part of it that is no file (such as the program itself), in bytes.
    pub(crate) fn memory(&self) -> Memory {
        let status = self.read("status");
        let of = |name| {
            let line = status.lines().find(|l| l.starts_with(name)).expect("the kernel tells it");
            let kib = line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok());
            kib.expect("a number") * 1_024
        };
        Memory { resident: of("VmRSS:"), anonymous: of("RssAnon:") }
    }

    /// Nanoseconds on a processor so far, of all its threads.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let pid = self.child.id().expect("it runs");
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
        let spent = threads.filter_map(|thread| {
            let schedstat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            schedstat.split_whitespace().next()?.parse::<u64>().ok()
        });
        spent.sum()
    }
}

pub(crate) struct Memory {
    pub(crate) resident: usize,
    pub(crate) anonymous: usize,
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {} of them anonymous", self.resident, self.anonymous)
    }
}

/// Tells the memory of so many idle sockets.
pub(crate) fn tell_memory(empty: &Memory, full: &Memory, sockets: usize) {
    println!("  resident empty            {empty}");
    println!("  resident, {sockets} sockets   {full}");
    println!("  per idle socket           {} bytes", (full.resident - empty.resident) / sockets);
}

/// Tells median and p99 of what took some time.
pub(crate) fn tell_times(what: &str, mut times: Vec<std::time::Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1_000].as_micros();
    let what = format!("{what}, {} times", times.len());
    println!("  {what:<25} p50 {} us, p99 {} us", at(500), at(990));
}

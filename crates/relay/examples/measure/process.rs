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
    pub(crate) async fn start(binary: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut child = Command::new(binary)
            .args(["serve", "--exit-with-stdin", "--port=0", "--admin-listen=127.0.0.1:0"])
            .args(["--pair-per-minute=1000000", "--log-level=warn"])
            .args(["--commands-per-minute=1000000", "--session-commands-per-minute=1000000"])
            .args(["--ws-messages-per-minute=1000000", "--allowed-origins=*"])
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

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let status = self.read("status");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("the kernel tells it");
        let kib = line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok());
        kib.expect("a number") * 1_024
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

/// Tells the memory of so many idle sockets.
pub(crate) fn tell_memory(empty: usize, full: usize, sockets: usize) {
    println!("  resident empty            {empty} bytes");
    println!("  resident, {sockets} sockets   {full} bytes");
    println!("  per idle socket           {} bytes", (full - empty) / sockets);
}

/// Tells median and p99 of some round trips.
pub(crate) fn tell_times(mut times: Vec<std::time::Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1_000].as_micros();
    println!("  round trip, {} times     p50 {} us, p99 {} us", times.len(), at(500), at(990));
}

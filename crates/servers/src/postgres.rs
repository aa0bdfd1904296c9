//! PostgreSQL.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    port::free_port,
    process::{Process, program},
};

/// One PostgreSQL server with a superuser `belay` and no password.
#[derive(Debug)]
pub struct Postgres {
    pub port: u16,
    folder: PathBuf,
    process: Process,
}

impl Postgres {
    /// Starts one in a folder.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        if is_root() {
            // It refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(folder))?;
        }
        let data = folder.join("data");
        if !data.exists() {
            let args = ["-A", "trust", "-U", "belay", "-E", "UTF8", "--no-sync", "-D"];
            let mut command = vec![program("initdb")?.into_os_string()];
            command.extend(args.map(Into::into));
            command.push(data.clone().into_os_string());
            let mut command = as_postgres(command).into_iter();
            run(Command::new(command.next().context("a program")?).args(command))?;
        }
        let port = free_port()?;
        Ok(Self { port, folder: folder.to_owned(), process: start(port, folder)? })
    }

    pub fn url(&self) -> String {
        format!("postgres://belay@127.0.0.1:{}/postgres", self.port)
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// kill -9 of the server and of all that serve its connections, as when its machine dies.
    pub fn kill(&self) {
        self.process.kill();
        end_children(&self.folder.join("data"));
    }

    /// kill -9 if it runs, and starts it again on its folder.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.process = start(self.port, &self.folder)?;
        Ok(())
    }
}

fn start(port: u16, folder: &Path) -> anyhow::Result<Process> {
    let mut command = vec![program("postgres")?.into_os_string()];
    command.extend(["-D".into(), folder.join("data").into_os_string()]);
    command.extend(["-p".into(), port.to_string().into()]);
    command.extend(["-h".into(), "127.0.0.1".into(), "-k".into(), "".into()]);
    command.extend(["-c".into(), "lc_messages=C".into()]);
    let process = Process::start("postgres", folder, as_postgres(command))?;
    // It listens before it lets anybody in.
    process.until_said("ready to accept connections")?;
    Ok(process)
}

/// How long processes that were killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// Ends those that serve a connection: while one is busy it outlives its server and keeps the next one out.
/// They work in the folder of the data.
fn end_children(data: &Path) {
    let Ok(data) = data.canonicalize() else { return };
    let pids = || {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let here =
            entries.filter(|e| std::fs::read_link(e.path().join("cwd")).is_ok_and(|at| at == data));
        here.filter_map(|e| e.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
    };
    let deadline = Instant::now() + GONE;
    while Instant::now() < deadline {
        let left: Vec<Pid> = pids().collect();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_postgres(command: Vec<std::ffi::OsString>) -> Vec<std::ffi::OsString> {
    if !is_root() {
        return command;
    }
    // `setpriv` becomes the program, so a signal reaches it.
    let by = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
    by.iter().map(Into::into).chain(command).collect()
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    // Ctrl-C in a terminal is for whoever started it, not for it.
    let output = command.process_group(0).output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}

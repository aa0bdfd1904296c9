//! The relays of a cluster: child processes of this same program.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use belay_relay::{log::LogFile, settings};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, ChildStdin, Command},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{secrets::Secrets, servers::Urls, show::say};

/// How long a relay may take until it serves: streams with three copies are made at the first start.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Pause before a relay that died is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Settings that all relays share, for one more that somebody starts.
pub(super) const SHARED: &str = "relay.toml";
/// How long relays may take to end; their own grace is 5 seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// What all relays are started with.
#[derive(Clone)]
pub(super) struct Launcher {
    program: PathBuf,
    folder: PathBuf,
    /// File of the settings that all relays share.
    shared: PathBuf,
    secrets: Secrets,
}

/// A relay that serves. It ends when this is dropped or this process dies.
pub(super) struct Relay {
    pub(super) name: String,
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) pid: u32,
    child: Child,
    /// Its end ends the relay.
    input: Option<ChildStdin>,
}

impl Relay {
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.public)
    }
}

impl Launcher {
    pub(super) fn new(
        folder: &Path,
        public: &str,
        urls: &Urls,
        affinity: bool,
        secrets: Secrets,
    ) -> anyhow::Result<Self> {
        // Asked later, Linux names the file that was run, also when another took its place since.
        let program = std::env::current_exe().context("this program cannot be found again")?;
        let shared = folder.join(SHARED);
        let Urls { store, bus, catalog } = urls;
        let text = format!(
            "store = {store:?}\nbus = {bus:?}\nbus-replicas = 3\ncatalog = {catalog:?}\n\
             public-url = {public:?}\naffinity = {affinity}\n"
        );
        std::fs::write(&shared, text).with_context(|| shared.display().to_string())?;
        Ok(Self { program, folder: folder.to_owned(), shared, secrets })
    }

    /// Starts a relay, at the addresses of its earlier life if it had one, and waits until it serves.
    pub(super) async fn start(
        &self,
        name: &str,
        earlier: Option<(SocketAddr, SocketAddr)>,
    ) -> anyhow::Result<Relay> {
        let (port, admin) = match earlier {
            Some((public, admin)) => (public.port(), admin),
            None => (0, SocketAddr::from((Ipv4Addr::LOCALHOST, belay_servers::free_port()?))),
        };
        let folder = self.folder.join(name);
        crate::make_folder(&folder)?;
        let log_path = folder.join("relay.log");
        let log = Arc::new(LogFile::open(&log_path)?);
        let mut child = self.spawn(name, &folder, port, admin)?;
        let (pid, input) = (child.id().unwrap_or(0), child.stdin.take());
        let stderr = child.stderr.take().context("the relay has no log")?;
        let said = tokio::spawn(crate::up::keep(stderr, log));
        let stdout = child.stdout.take().context("the relay has no output")?;
        let Some(port) = timeout(START_TIMEOUT, ready(stdout)).await.ok().flatten() else {
            // Its last words come with its end.
            let _ = child.start_kill();
            let said = crate::up::last_words(said).await;
            bail!("{name} did not start: {said} (see {})", log_path.display());
        };
        let public = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Relay { name: name.to_owned(), public, admin, pid, child, input })
    }

    fn spawn(
        &self,
        name: &str,
        data: &Path,
        port: u16,
        admin: SocketAddr,
    ) -> anyhow::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--exit-with-stdin"]).arg("--config").arg(&self.shared);
        command.arg(format!("--instance={name}")).arg(format!("--port={port}"));
        command.arg(format!("--admin-listen={admin}"));
        command.arg("--data-dir").arg(data);
        // What counts is said here, not in the environment of whoever runs this.
        for setting in settings() {
            command.env_remove(setting.env());
            for name in setting.old_env {
                command.env_remove(name);
            }
        }
        command.env_remove("BELAY_CONFIG").envs(self.secrets.environment());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            // Ctrl-C in a terminal is for cluster-dev, which then ends its relays.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be started", self.program.display()))
    }
}

/// The port in the line that a relay prints once it serves; `None` if it ended before.
async fn ready(stdout: impl AsyncRead + Unpin) -> Option<u16> {
    let line = BufReader::new(stdout).lines().next_line().await.ok()??;
    line.strip_prefix(crate::READY)?.trim().parse().ok()
}

/// Starts a relay again whenever it ends, until told to stop.
pub(super) async fn watch(
    launcher: Launcher,
    mut relay: Relay,
    restart: bool,
    stop: CancellationToken,
) {
    loop {
        let ended = tokio::select! {
            ended = relay.child.wait() => how(ended),
            () = stop.cancelled() => break,
        };
        let (name, places) = (relay.name.clone(), (relay.public, relay.admin));
        if !restart {
            say(&format!("{name} (pid {}) {ended}; it is left so", relay.pid));
            stop.cancelled().await;
            break;
        }
        say(&format!(
            "{name} (pid {}) {ended}; starting it again in {} s",
            relay.pid,
            RESTART_PAUSE.as_secs()
        ));
        let mut told = String::new();
        relay = loop {
            let started = tokio::select! {
                started = async { sleep(RESTART_PAUSE).await; launcher.start(&name, Some(places)).await } => started,
                () = stop.cancelled() => return,
            };
            match started {
                Ok(relay) => break relay,
                // The same once more is no news.
                Err(error) if error.to_string() == told => {}
                Err(error) => {
                    told = error.to_string();
                    say(&told);
                }
            }
        };
        say(&format!("{name} is up again: {}, pid {}", relay.url(), relay.pid));
    }
    drop(relay.input.take());
    if timeout(STOP_TIMEOUT, relay.child.wait()).await.is_err() {
        say(&format!("{} (pid {}) does not end; it is killed", relay.name, relay.pid));
        let _ = relay.child.kill().await;
    }
}

fn how(ended: std::io::Result<ExitStatus>) -> String {
    match ended {
        Ok(status) if status.success() => "stopped".to_owned(),
        Ok(status) => format!("ended ({status})"),
        Err(error) => format!("ended ({error})"),
    }
}

//! `belay up`: the relay as a child that is restarted when it dies, and the desktop side here.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use belay_host::HostOptions;
use belay_relay::{Config, log::LogFile, settings};
use clap::ArgMatches;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    sync::watch,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// How long the relay may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(15);
/// Pause before a relay that died is started again; it doubles while the relay does not come up.
const RESTART_PAUSE: Duration = Duration::from_millis(300);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A relay that lived for so long had come up.
const UP_AFTER: Duration = Duration::from_secs(5);

/// How a process of ours begins the line that says why it ends.
const FAULT: &str = "belay: ";
/// Bytes of the relay's log that are taken at once.
const LINE_MAX: u64 = 64 * 1024;

/// What plain http on a network means.
const LAN_WARNING: &str = "--lan serves plain http on this network: anyone on it can read what passes, \
    and the page cannot scan QR codes, show notifications or hold its key in the browser's key \
    store. Use it only where you trust every device.";

/// Runs both halves until the person quits.
pub(crate) async fn run(
    args: &ArgMatches,
    mut config: Config,
    mut options: HostOptions,
) -> anyhow::Result<()> {
    let lan = args.get_flag("lan");
    if lan {
        config.host = IpAddr::from([0, 0, 0, 0]);
        config.insecure_lan = true;
        eprintln!("belay: {LAN_WARNING}");
    }
    crate::make_folder(&config.data_dir)?;
    let log = Arc::new(LogFile::open(&log_path(&config))?);
    let stop = CancellationToken::new();
    // Asked later, Linux names the file that was run, also when another took its place since.
    let program = std::env::current_exe().context("this program cannot be found again")?;
    let (mut child, copying) = start(&program, &config, &log)?;
    // A port that was chosen freely stays the same over restarts.
    config.port = wait_until_up(&mut child, copying, &config).await?;
    let (news, told) = watch::channel(String::new());
    options.news = told;
    options.relay = format!("http://127.0.0.1:{}", config.port);
    options.link = config.public_urls.first().cloned().unwrap_or_else(|| link_address(&config));
    let supervisor = Supervisor { program, config: config.clone(), log, news };
    let supervisor = tokio::spawn(supervisor.run(child, stop.clone()));
    options.warning = lan.then(|| LAN_WARNING.to_owned());
    let result = crate::host::run(args, options).await;
    stop.cancel();
    let _ = supervisor.await;
    result
}

/// The address that a phone opens.
fn link_address(config: &Config) -> String {
    let host = if config.host.is_unspecified() {
        lan_address().unwrap_or(IpAddr::from([127, 0, 0, 1]))
    } else {
        config.host
    };
    match host {
        IpAddr::V4(ip) => format!("http://{ip}:{}", config.port),
        IpAddr::V6(ip) => format!("http://[{ip}]:{}", config.port),
    }
}

/// An address of this machine that others on its network can reach.
fn lan_address() -> Option<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    let mut addresses = interfaces.iter().map(if_addrs::Interface::ip);
    addresses.find(|ip| ip.is_ipv4() && !ip.is_loopback())
}

/// Starts `belay serve` with these settings. It ends when its standard input does, so it never
/// outlives this process.
fn start(
    program: &Path,
    config: &Config,
    log: &Arc<LogFile>,
) -> anyhow::Result<(Child, JoinHandle<String>)> {
    let mut command = Command::new(program);
    command.args(["serve", "--exit-with-stdin"]);
    // What counts is what this process decided, not what its environment says.
    for setting in settings() {
        command.env_remove(setting.env());
        for name in setting.old_env {
            command.env_remove(name);
        }
    }
    command.env_remove("BELAY_CONFIG");
    let standard = Config::default();
    for setting in settings().iter().filter(|s| !s.hidden && !s.secret) {
        let value = (setting.show)(config);
        if value != (setting.show)(&standard) || setting.name == "data-dir" {
            command.arg(format!("--{}={value}", setting.name));
        }
    }
    // Secrets take the way on which other users of this machine do not see them.
    let secrets =
        [("BELAY_ADMIN_TOKEN", &config.admin_token), ("BELAY_TOKEN_KEYS", &config.token_keys)];
    command.envs(secrets.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let stderr = child.stderr.take().context("the relay has no log")?;
    Ok((child, tokio::spawn(keep(stderr, log.clone()))))
}

/// Keeps what the relay says, and gives its last fault: a full disk may keep nothing.
pub(crate) async fn keep(stderr: ChildStderr, log: Arc<LogFile>) -> String {
    let mut said = BufReader::new(stderr);
    let (mut line, mut last) = (Vec::new(), Vec::new());
    while (&mut said).take(LINE_MAX).read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
        if let Err(error) = log.append(&line) {
            tracing::warn!(%error, "the relay's log is not written");
        }
        if line.starts_with(FAULT.as_bytes()) {
            last.clone_from(&line);
        }
        line.clear();
    }
    String::from_utf8_lossy(&last).trim().trim_start_matches(FAULT).to_owned()
}

fn log_path(config: &Config) -> PathBuf {
    config.data_dir.join("relay.log")
}

/// Waits for the line in which the relay says where it listens.
async fn wait_until_up(
    child: &mut Child,
    copying: JoinHandle<String>,
    config: &Config,
) -> anyhow::Result<u16> {
    let stdout = child.stdout.take().context("the relay has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let log = log_path(config);
    match tokio::time::timeout(START_TIMEOUT, lines.next_line()).await {
        Ok(Ok(Some(line))) => {
            let port = line.strip_prefix(crate::READY).and_then(|port| port.trim().parse().ok());
            port.with_context(|| format!("the relay said \"{line}\""))
        }
        Ok(_) => {
            let said = last_words(copying).await;
            if said.is_empty() {
                bail!("the relay ended at once; see {}", log.display());
            }
            bail!("the relay ended at once: {said}");
        }
        Err(_) => bail!("the relay did not start in time; see {}", log.display()),
    }
}

/// What a relay that ended said last.
pub(crate) async fn last_words(copying: JoinHandle<String>) -> String {
    let said = tokio::time::timeout(START_TIMEOUT, copying).await;
    said.ok().and_then(Result::ok).unwrap_or_default()
}

/// Restarts the relay whenever it dies, and says so.
struct Supervisor {
    program: PathBuf,
    config: Config,
    log: Arc<LogFile>,
    news: watch::Sender<String>,
}

impl Supervisor {
    /// Until told to stop; then lets it end in its grace.
    async fn run(self, mut child: Child, stop: CancellationToken) {
        // Waiting for a child closes its input, unless that was taken before.
        let mut input = child.stdin.take();
        let (mut began, mut pause, mut said) = (Instant::now(), RESTART_PAUSE, None);
        loop {
            tokio::select! {
                status = child.wait() => {
                    if began.elapsed() >= UP_AFTER {
                        pause = RESTART_PAUSE;
                    }
                    self.tell_end(status, began, said.take()).await;
                }
                () = stop.cancelled() => break,
            }
            loop {
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(RESTART_PAUSE_MAX),
                    () = stop.cancelled() => return,
                }
                match start(&self.program, &self.config, &self.log) {
                    Ok((started, copying)) => {
                        (child, began, said) = (started, Instant::now(), Some(copying));
                        input = child.stdin.take();
                        break;
                    }
                    Err(error) => self.tell(format!("the relay does not start: {error:#}")),
                }
            }
        }
        drop(input);
        let _ = tokio::time::timeout(self.config.shutdown_grace, child.wait()).await;
    }

    async fn tell_end(
        &self,
        status: std::io::Result<ExitStatus>,
        began: Instant,
        said: Option<JoinHandle<String>>,
    ) {
        let how = match &status {
            Ok(status) if status.success() => "stopped".to_owned(),
            Ok(status) => format!("ended ({status})"),
            Err(error) => format!("ended ({error})"),
        };
        let was_up = began.elapsed() >= UP_AFTER;
        if was_up {
            // The same end once more is news.
            self.news.send_if_modified(|told| {
                told.clear();
                false
            });
        }
        let said = match said.filter(|_| !was_up) {
            Some(copying) => last_words(copying).await,
            None => String::new(),
        };
        let said = if said.is_empty() { said } else { format!(": {said}") };
        self.tell(format!("the relay {how}; starting it again{said}"));
    }

    fn tell(&self, text: String) {
        tracing::warn!("{text}");
        // What was told already is not told again.
        self.news.send_if_modified(|told| {
            let is_new = *told != text;
            *told = text;
            is_new
        });
    }
}

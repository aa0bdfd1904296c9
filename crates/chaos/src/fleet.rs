//! The relay and the parties, as processes.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use belay_client::{CredentialStore, Credentials, FileCredentials, Identity};
use belay_testkit::{Desk, Relay as Url};
use belay_wire::{Channel, MemberId, SessionId};
use rustix::process::{Pid, Signal, kill_process};

use crate::proxy::Proxy;

/// How long a process may take to be ready.
const READY: Duration = Duration::from_secs(20);

/// A relay that is killed when it is dropped.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    pub address: SocketAddr,
    _input: ChildStdin,
}

/// How relays are started.
#[derive(Debug, Clone)]
pub struct Plan {
    pub binary: PathBuf,
    pub folder: PathBuf,
    pub port: u16,
    /// The addresses at which the parties see it.
    pub public: Vec<String>,
    /// More settings.
    pub args: Vec<String>,
    pub env: Vec<(OsString, OsString)>,
    /// Where what it logs is added; without it only errors are told, to whoever started this.
    pub log: Option<PathBuf>,
}

/// The environment in which a file says by how much the wall clock is wrong, for example `+3600`.
///
/// # Errors
/// When libfaketime is missing.
pub fn clock(file: &Path) -> anyhow::Result<Vec<(OsString, OsString)>> {
    ensure!(Path::new(FAKETIME).exists(), "libfaketime is missing; run scripts/bootstrap test");
    let set = [
        ("LD_PRELOAD", FAKETIME.into()),
        ("FAKETIME_TIMESTAMP_FILE", file.as_os_str().to_owned()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ];
    Ok(set.map(|(name, value)| (name.into(), value)).to_vec())
}

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

impl Plan {
    /// Starts a relay and waits until it serves.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self) -> anyhow::Result<Relay> {
        // A file that grows beyond a limit is refused, not a reason to die.
        let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
        let mut command = Command::new("bash");
        command
            .args(["-c", script])
            .arg(&self.binary)
            .args(["serve", "--exit-with-stdin", "--admin-listen=127.0.0.1:0"])
            .args(["--pair-per-minute=100000", "--shutdown-grace=3s", "--devices-max=3"])
            .arg(format!("--data-dir={}", self.folder.display()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--public-url={}", self.public.join(",")))
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(path) = &self.log {
            let log = OpenOptions::new().append(true).create(true).open(path)?;
            command.arg("--log-level=info").stderr(log);
        } else {
            command.arg("--log-level=error");
        }
        let mut child = command.spawn().context("bash")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        let port = line.trim().strip_prefix("ready ").context("the relay did not start")?;
        let address = format!("127.0.0.1:{port}").parse()?;
        let input = child.stdin.take().context("a pipe")?;
        Ok(Relay { child, address, _input: input })
    }
}

impl Relay {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Waits until it has ended; the exit status says whether in good order.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self) -> std::io::Result<bool> {
        Ok(self.child.wait()?.success())
    }

    /// `None` while it runs; the exit status says whether it ended in good order.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ended(&mut self) -> std::io::Result<Option<bool>> {
        Ok(self.child.try_wait()?.map(|status| status.success()))
    }

    /// From now on its files cannot grow beyond `bytes`; `None` lifts that.
    ///
    /// # Errors
    /// When `prlimit` is missing.
    pub fn limit_files(&self, bytes: Option<u64>) -> anyhow::Result<()> {
        let soft = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let args = [format!("--fsize={soft}:unlimited"), format!("--pid={}", self.child.id())];
        ensure!(Command::new("prlimit").args(args).status()?.success(), "prlimit failed");
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = kill_process(pid, signal);
    }
}

/// A party: its folder, its way to the relay and its process.
#[derive(Debug)]
pub struct Party {
    pub name: &'static str,
    pub session: SessionId,
    /// `None`: it is the host.
    pub member: Option<MemberId>,
    pub folder: PathBuf,
    pub proxy: Proxy,
    pub writes: Vec<Channel>,
    pub reads: Vec<Channel>,
    binary: PathBuf,
    per_second: u64,
    child: Option<Child>,
}

impl Party {
    /// Starts its process, also after it was killed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.binary);
        command.arg(&self.folder).arg(self.per_second.to_string());
        command.args(self.writes.iter().map(Channel::to_string));
        self.child = Some(command.stdin(Stdio::null()).spawn().context("chaos-party")?);
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            send(child, signal);
        }
    }

    /// kill -9.
    ///
    /// # Errors
    /// When it had ended by itself: that is a fault of the party.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        ensure!(ended.is_none(), "{} had ended: {ended:?}", self.name);
        Ok(())
    }

    /// Tells whether its last word is that it is connected.
    pub fn is_up(&self) -> bool {
        let text = std::fs::read_to_string(self.folder.join("links")).unwrap_or_default();
        text.lines().last().is_some_and(|line| line.starts_with("up "))
    }

    /// It must be running.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        ensure!(ended.is_none(), "{} ended by itself: {ended:?}", self.name);
        Ok(())
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The parties: the first is the host.
pub const NAMES: [&str; 4] = ["host", "phone1", "phone2", "phone3"];

/// Pairs a host and three phones, each behind a proxy of its own; the processes are not started.
///
/// # Errors
/// When pairing fails.
pub async fn pair(plan: &mut Plan, per_second: u64) -> anyhow::Result<(Relay, Vec<Party>)> {
    let binary = plan.binary.with_file_name("chaos-party");
    ensure!(binary.exists(), "{} is missing: cargo build -p belay-chaos", binary.display());
    // It is started again there.
    plan.port = belay_servers::free_port()?;
    let first = plan.start()?;
    let mut proxies = Vec::new();
    for _ in NAMES {
        proxies.push(Proxy::start(first.address).await?);
    }
    plan.public = proxies.iter().map(|proxy| format!("http://{}", proxy.address)).collect();
    plan.public.push(format!("http://{}", first.address));
    drop(first);
    let relay = plan.start()?;
    let there = Url::at(&format!("http://{}", relay.address));
    let parties = enrol(&there, &binary, &plan.folder, proxies, per_second).await?;
    Ok((relay, parties))
}

/// Pairs a host and three phones, one for each of some proxies; the processes are not started. Their folders
/// are beside `beside`.
///
/// # Errors
/// When their files cannot be written.
///
/// # Panics
/// When pairing fails.
pub async fn enrol(
    there: &Url,
    binary: &Path,
    beside: &Path,
    proxies: Vec<Proxy>,
    per_second: u64,
) -> anyhow::Result<Vec<Party>> {
    let mut desk = Desk::start(there).await;
    let mut members = Vec::new();
    for _ in 1..NAMES.len() {
        members.push(desk.pair(there).await);
    }
    let ids: Vec<_> = members.iter().map(|member| member.id).collect();
    let mut kept = vec![(desk.identity.clone(), desk.credentials.load()?.context("credentials")?)];
    for member in &members {
        let credentials = member.credentials.load()?.context("credentials")?;
        kept.push((member.identity.clone(), credentials));
    }
    drop((desk, members));
    let mut parties = Vec::new();
    for (at, (proxy, (identity, credentials))) in proxies.into_iter().zip(kept).enumerate() {
        let folder = beside.with_file_name(NAMES[at]);
        let (session, relay) = (credentials.session, format!("http://{}", proxy.address));
        keep(&folder, &identity, &Credentials { relay, ..credentials })?;
        let own = at.checked_sub(1).and_then(|at| ids.get(at).copied());
        let (writes, reads) = if let Some(id) = own {
            (vec![Channel::Up(id)], vec![Channel::Down, Channel::DownTo(id)])
        } else {
            let down = ids.iter().map(|id| Channel::DownTo(*id)).chain([Channel::Down]);
            (down.collect(), ids.iter().map(|id| Channel::Up(*id)).collect())
        };
        parties.push(Party {
            name: NAMES[at],
            session,
            member: own,
            folder,
            proxy,
            writes,
            reads,
            binary: binary.to_owned(),
            per_second,
            child: None,
        });
    }
    Ok(parties)
}

fn keep(folder: &Path, identity: &Identity, credentials: &Credentials) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    identity.save(&folder.join("identity"))?;
    Ok(FileCredentials::new(&folder.join("credentials.json")).save(credentials)?)
}

/// Waits until all of them are connected. Gives how long that took.
///
/// # Errors
/// When one is not in time, or has ended.
pub async fn until_up(parties: &mut [Party]) -> anyhow::Result<Duration> {
    let started = Instant::now();
    while !parties.iter().all(Party::is_up) {
        for party in parties.iter_mut() {
            party.check()?;
        }
        let down = parties.iter().filter(|party| !party.is_up()).map(|party| party.name);
        ensure!(started.elapsed() < READY, "not connected: {:?}", down.collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(started.elapsed())
}

//! The servers that a cluster stands on, and who starts them again.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use belay_servers::{Nats, NatsCluster, NatsOptions, Postgres, Process, Redis, RedisGroup};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::show::say;

/// Pause before a server that died is started again: what it stands for is missed meanwhile.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked whether a server lives.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where the relays find them.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    pub(super) store: String,
    pub(super) bus: String,
    pub(super) catalog: String,
}

/// A server process that can be started again where it was.
pub(super) trait Running: Send + Sync {
    fn process(&self) -> &Process;
    fn restart(&mut self) -> anyhow::Result<()>;
}

macro_rules! running {
    ($($server:ty),*) => {$(
        impl Running for $server {
            fn process(&self) -> &Process {
                self.process()
            }

            fn restart(&mut self) -> anyhow::Result<()> {
                self.restart()
            }
        }
    )*};
}
running!(Nats, Postgres, Redis);

struct Sentinel {
    port: u16,
    process: Process,
}

impl Running for Sentinel {
    fn process(&self) -> &Process {
        &self.process
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.process.restart()?;
        self.process.until_listening(self.port)
    }
}

/// One server of the cluster.
pub(super) struct Server {
    pub(super) name: String,
    pub(super) address: String,
    running: Box<dyn Running>,
}

impl Server {
    fn new(name: &str, port: u16, running: impl Running + 'static) -> Self {
        let address = format!("127.0.0.1:{port}");
        Self { name: name.to_owned(), address, running: Box::new(running) }
    }

    pub(super) fn pid(&self) -> i32 {
        self.running.process().pid().as_raw_nonzero().get()
    }
}

pub(super) struct Servers {
    pub(super) all: Vec<Server>,
    pub(super) urls: Urls,
}

/// Checks that all programs are there.
pub(super) fn check_installed(sentinels: bool) -> anyhow::Result<()> {
    let mut names = vec!["redis-server", "nats-server", "postgres", "initdb"];
    if sentinels {
        names.extend(["redis-sentinel", "redis-cli"]);
    }
    if rustix::process::geteuid().is_root() {
        // PostgreSQL is started as its own user.
        names.push("setpriv");
    }
    match belay_servers::missing(&names) {
        Some(told) => bail!("cluster-dev runs real servers; please install: {told}"),
        None => Ok(()),
    }
}

/// Starts all of them at once, and tells each when it is up. It is not to be dropped before its end, which
/// comes within seconds: what it started would go on.
pub(super) async fn start(folder: PathBuf, sentinels: bool) -> anyhow::Result<Servers> {
    type Started = anyhow::Result<(Vec<Server>, String)>;
    let begin = |start: fn(&Path, bool) -> Started| -> JoinHandle<Started> {
        let folder = folder.clone();
        spawn_blocking(move || {
            let (servers, url) = start(&folder, sentinels)?;
            for server in &servers {
                say(&format!("{} is up: {}, pid {}", server.name, server.address, server.pid()));
            }
            Ok((servers, url))
        })
    };
    let (redis, nats, postgres) = tokio::join!(begin(redis), begin(nats), begin(postgres));
    let (mut all, store) = redis?.context("Redis")?;
    let (more, bus) = nats?.context("NATS")?;
    all.extend(more);
    let (more, catalog) = postgres?.context("PostgreSQL")?;
    all.extend(more);
    Ok(Servers { all, urls: Urls { store, bus, catalog } })
}

fn redis(folder: &Path, sentinels: bool) -> anyhow::Result<(Vec<Server>, String)> {
    if !sentinels {
        let redis = Redis::start(&folder.join("redis"), &[])?;
        let url = redis.url();
        return Ok((vec![Server::new("redis", redis.port, redis)], url));
    }
    let group = RedisGroup::start(folder)?;
    let url = group.url();
    let servers = group.servers.into_iter().zip(1..);
    let mut all: Vec<_> =
        servers.map(|(redis, n)| Server::new(&format!("redis{n}"), redis.port, redis)).collect();
    for ((port, process), n) in group.sentinels.into_iter().zip(1..) {
        all.push(Server::new(&format!("sentinel{n}"), port, Sentinel { port, process }));
    }
    Ok((all, url))
}

fn nats(folder: &Path, _sentinels: bool) -> anyhow::Result<(Vec<Server>, String)> {
    let cluster = NatsCluster::start(folder, &NatsOptions::default())?;
    cluster.until_led()?;
    let url = cluster.url();
    let servers = cluster.servers.into_iter().zip(1..);
    Ok((servers.map(|(nats, n)| Server::new(&format!("nats{n}"), nats.port, nats)).collect(), url))
}

fn postgres(folder: &Path, _sentinels: bool) -> anyhow::Result<(Vec<Server>, String)> {
    let postgres = Postgres::start(&folder.join("postgres"))?;
    let url = postgres.url();
    Ok((vec![Server::new("postgres", postgres.port, postgres)], url))
}

/// Starts a server again whenever it dies, until told to stop.
pub(super) async fn watch(mut server: Server, restart: bool, stop: CancellationToken) {
    while live(&server, LOOK_EVERY, &stop).await {
        if !restart {
            say(&format!("{} (pid {}) ended; it is left so", server.name, server.pid()));
            stop.cancelled().await;
            break;
        }
        say(&format!(
            "{} (pid {}) ended; starting it again in {} s",
            server.name,
            server.pid(),
            RESTART_PAUSE.as_secs()
        ));
        let mut told = String::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(RESTART_PAUSE) => {}
                () = stop.cancelled() => break,
            }
            let (again, result) = match again(server).await {
                Ok(done) => done,
                Err(error) => return say(&format!("a server was not started again: {error:#}")),
            };
            server = again;
            match result {
                Ok(()) => {
                    say(&format!(
                        "{} is up again: {}, pid {}",
                        server.name,
                        server.address,
                        server.pid()
                    ));
                    break;
                }
                // The same once more is no news.
                Err(error) if error.to_string() == told => {}
                Err(error) => {
                    told = error.to_string();
                    say(&format!("{} does not start: {told}", server.name));
                }
            }
        }
    }
    // Its end takes a moment.
    let _ = spawn_blocking(move || drop(server)).await;
}

/// Waits until it died; `false` if everything is to stop.
async fn live(server: &Server, every: Duration, stop: &CancellationToken) -> bool {
    while server.running.process().is_running() {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return false,
        }
    }
    !stop.is_cancelled()
}

async fn again(mut server: Server) -> anyhow::Result<(Server, anyhow::Result<()>)> {
    Ok(spawn_blocking(move || {
        let result = server.running.restart();
        (server, result)
    })
    .await?)
}

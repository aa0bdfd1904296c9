//! `belay serve` as a process, configured by the environment only, as the field's start scripts do; or
//! three of them that share Redis and NATS, and each request and each socket goes to one at random.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use belay_servers::{Nats, NatsOptions, Redis};
use belay_testkit::{cluster::Balancer, compat::Net};

/// The page of the web client.
pub(crate) const PAGE: &str = "https://phone.example.org";

/// One process.
struct Process {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
    _input: Option<ChildStdin>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay, or several that are one; it ends with the last one who holds it.
pub(crate) struct Relay {
    processes: Vec<Process>,
    balancer: Option<Balancer>,
    pub(crate) url: String,
    folder: Arc<tempfile::TempDir>,
    settings: Vec<(String, String)>,
}

/// How many processes are one relay, for the whole run.
static COUNT: OnceLock<usize> = OnceLock::new();

/// From here on this many processes are one relay.
pub(crate) fn be_several(count: usize) {
    COUNT.set(count).expect("each test has a process of its own");
}

/// How many processes are one relay.
pub(crate) fn count() -> usize {
    *COUNT.get_or_init(|| 1)
}

/// What all relays of a run share; it ends with the run.
struct Servers {
    _folder: tempfile::TempDir,
    redis: Redis,
    nats: Nats,
    relays: AtomicU64,
}

fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let redis = Redis::start(&folder.path().join("redis"), &[]).expect("redis");
        let nats = folder.path().join("nats");
        let nats = Nats::start(&nats, &NatsOptions::default()).expect("nats");
        Servers { _folder: folder, redis, nats, relays: AtomicU64::new(1) }
    })
}

/// Settings by which nodes are one.
fn shared(folder: &Path) -> Vec<(String, String)> {
    let servers = servers();
    let prefix = format!("relay{}", servers.relays.fetch_add(1, Ordering::Relaxed));
    [
        ("REDIS_URL", servers.redis.url()),
        ("REDIS_KEY_PREFIX", prefix),
        ("NATS_URL", servers.nats.url()),
        ("NATS_HMAC_SECRET", "a secret of a test that is long enough".to_owned()),
        ("BELAY_BUS_SHARDS", "1".to_owned()),
        ("BELAY_TOKEN_KEYS", format!("1:{}", "11".repeat(32))),
        ("BELAY_STORE_KEY", format!("1:{}", "22".repeat(32))),
        ("BELAY_CATALOG", format!("sqlite:{}", folder.join("catalog.db").display())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

impl Relay {
    /// Starts a relay with settings of the environment beside those that all tests need.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut settings: Vec<_> = settings.iter().map(own).collect();
        // They are started again there.
        let ports: Vec<_> =
            (0..count()).map(|_| belay_servers::free_port().expect("a port")).collect();
        if ports.len() == 1 {
            return Self::on(folder, settings, None, &ports);
        }
        settings.extend(shared(folder.path()));
        let balancer = Balancer::start(u64::from(std::process::id()));
        settings.push(("PUBLIC_BASE_URL".to_owned(), balancer.url()));
        Self::on(folder, settings, Some(balancer), &ports)
    }

    fn on(
        folder: Arc<tempfile::TempDir>,
        settings: Vec<(String, String)>,
        balancer: Option<Balancer>,
        ports: &[u16],
    ) -> Self {
        let place = |n: usize| match ports.len() {
            1 => folder.path().to_owned(),
            _ => folder.path().join(format!("node{n}")),
        };
        let start = |(n, port): (usize, &u16)| Process::start(place(n), &settings, *port);
        let processes: Vec<_> = ports.iter().enumerate().map(start).collect();
        let addresses: Vec<_> = processes.iter().map(|process| process.address).collect();
        let url = match &balancer {
            Some(balancer) => {
                balancer.set(&addresses);
                balancer.url()
            }
            None => format!("http://{}", addresses[0]),
        };
        Self { processes, balancer, url, folder, settings }
    }

    /// Kills it with SIGKILL and starts it again on its port and folder.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        let ports: Vec<_> = self.processes.drain(..).map(|p| p.address.port()).collect();
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        Self::on(folder, settings, self.balancer.take(), &ports)
    }

    /// The same with other settings.
    pub(crate) fn restart_with(mut self, settings: &[(&str, &str)]) -> Self {
        let names: Vec<_> = settings.iter().map(|(name, _)| (*name).to_owned()).collect();
        let shared: Vec<_> = match count() {
            1 => Vec::new(),
            _ => self.settings.iter().filter(|(name, _)| !names.contains(name)).cloned().collect(),
        };
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.settings = settings.iter().map(own).chain(shared).collect();
        self.kill_and_restart()
    }

    /// Asks it to end, as an operator's service manager does.
    pub(crate) fn terminate(&self) {
        for process in &self.processes {
            let pid = process.child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.processes[0].child.id()
    }

    /// Its data folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that it logged.
    pub(crate) fn log(&self) -> String {
        let read = |p: &Process| std::fs::read_to_string(log(&p.folder)).expect("a log");
        self.processes.iter().map(read).collect()
    }

    /// A client that is no browser.
    pub(crate) fn native(&self) -> Net {
        Net::native(&self.url)
    }

    /// The web client.
    pub(crate) fn page(&self) -> Net {
        Net::page(&self.url, PAGE)
    }

    /// One of the numbers of `/metricsz`, over all processes.
    pub(crate) async fn number(&self, name: &str) -> i64 {
        let mut found = Vec::new();
        for process in &self.processes {
            let net = Net::native(&format!("http://{}", process.address));
            let numbers = net.get("/metricsz").await.body;
            let number = numbers[name].as_i64().unwrap_or_else(|| panic!("{name} in {numbers}"));
            found.push(number);
        }
        // What stands in the store is the same at all.
        match name {
            "sessions" | "deviceTokens" => found.into_iter().max().unwrap_or_default(),
            _ => found.into_iter().sum(),
        }
    }
}

impl Process {
    fn start(folder: PathBuf, settings: &[(String, String)], port: u16) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_belay"));
        command
            .args(["serve", "--exit-with-stdin"])
            .env_clear()
            .env("PORT", port.to_string())
            .env("HOST", "127.0.0.1")
            .env("ALLOWED_ORIGINS", PAGE)
            .env("MAX_PAIR_REQUESTS_PER_MINUTE", "100000")
            .env("BELAY_ADMIN_LISTEN", "127.0.0.1:0")
            .env("BELAY_UNAUTHENTICATED_PER_ADDRESS_MAX", "10000")
            .env("BELAY_LOG_FORMAT", "json")
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or("info".to_owned()))
            .env("BELAY_DATA_DIR", &folder)
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(
                std::fs::File::options()
                    .append(true)
                    .create(true)
                    .open(log(&folder))
                    .expect("a log"),
            );
        let mut child = command.spawn().expect("the relay starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        let input = child.stdin.take();
        let port = line.trim().strip_prefix("ready ").unwrap_or_else(|| {
            panic!("not ready: {}", std::fs::read_to_string(log(&folder)).unwrap_or_default())
        });
        let address = format!("127.0.0.1:{port}").parse().expect("an address");
        Self { child, address, folder, _input: input }
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("test.log")
}

/// An address that nobody else takes.
pub(crate) fn free_address() -> String {
    format!("127.0.0.1:{}", belay_servers::free_port().expect("a port"))
}

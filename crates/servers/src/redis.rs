//! Redis, alone, with a replica and Sentinels, or as a cluster.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    port::free_port,
    process::{Process, program, write},
};

/// How long servers may take until they agree on who they are.
const AGREED: Duration = Duration::from_secs(20);

/// One Redis server that writes an append-only file.
#[derive(Debug)]
pub struct Redis {
    pub port: u16,
    folder: PathBuf,
    settings: Vec<String>,
    process: Process,
}

impl Redis {
    /// Starts one in a folder; `settings` are lines of its configuration that come last.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start(folder: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        let settings = settings.iter().map(|line| (*line).to_owned()).collect();
        // Of an earlier life in this folder, on another port.
        let _ = std::fs::remove_file(folder.join("redis.conf"));
        Self::start_at(free_port()?, folder, settings)
    }

    fn start_at(port: u16, folder: &Path, settings: Vec<String>) -> anyhow::Result<Self> {
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nappendonly yes\nappendfsync everysec\n\
             save \"\"\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n{}\n",
            folder.display(),
            settings.join("\n")
        );
        let file = folder.join("redis.conf");
        // A Sentinel may have written to it: who the master is stays.
        if !file.exists() {
            write(&file, &text)?;
        }
        let command = [program("redis-server")?, file];
        let process = Process::start("redis", folder, command)?;
        process.until_listening(port)?;
        Ok(Self { port, folder: folder.to_owned(), settings, process })
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What `redis-cli` answers to a command.
    ///
    /// # Errors
    /// When it is not installed or says that it failed.
    pub fn cli(&self, command: &[&str]) -> anyhow::Result<String> {
        cli(self.port, command)
    }

    /// Starts it again on its folder, after it was killed.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill();
        *self = Self::start_at(self.port, &self.folder, self.settings.clone())?;
        Ok(())
    }

    /// Forgets everything, and starts.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart_empty(&mut self) -> anyhow::Result<()> {
        self.process.kill();
        let kept = self.folder.join("appendonlydir");
        if kept.exists() {
            std::fs::remove_dir_all(kept)?;
        }
        self.restart()
    }
}

fn cli(port: u16, command: &[&str]) -> anyhow::Result<String> {
    let asked = Command::new(program("redis-cli")?)
        .args(["-e", "-p", &port.to_string()])
        .args(command)
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let error = String::from_utf8_lossy(&asked.stderr);
    ensure!(asked.status.success(), "redis-cli {command:?}: {told} {error}");
    Ok(told)
}

/// Waits until the answer to a command holds a text.
fn until(port: u16, command: &[&str], text: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + AGREED;
    loop {
        let told = cli(port, command)?;
        if told.contains(text) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{command:?} does not answer {text}: {told}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A master, a replica and three Sentinels.
#[derive(Debug)]
pub struct RedisGroup {
    pub servers: Vec<Redis>,
    pub sentinels: Vec<(u16, Process)>,
}

/// The name under which the Sentinels know the master.
const MASTER: &str = "belay";

impl RedisGroup {
    /// Starts all of them, and waits until they know each other.
    ///
    /// # Errors
    /// When one is not installed or does not start, or they do not find each other.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let master = Redis::start(&folder.join("redis1"), &[])?;
        let of = format!("replicaof 127.0.0.1 {}", master.port);
        let replica = Redis::start(&folder.join("redis2"), &[&of])?;
        let mut sentinels = Vec::new();
        for n in 1..=3 {
            let (port, folder) = (free_port()?, folder.join(format!("sentinel{n}")));
            let text = format!(
                "bind 127.0.0.1\nport {port}\ndir {0}\n\
                 sentinel monitor {MASTER} 127.0.0.1 {1} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1500\n\
                 sentinel failover-timeout {MASTER} 6000\n",
                folder.display(),
                master.port
            );
            let file = folder.join("sentinel.conf");
            write(&file, &text)?;
            let command = [program("redis-sentinel")?, file];
            let process = Process::start("sentinel", &folder, command)?;
            process.until_listening(port)?;
            sentinels.push((port, process));
        }
        // Before they know each other they could not agree on a new master.
        for (port, _) in &sentinels {
            until(*port, &["SENTINEL", "MASTER", MASTER], "num-slaves\n1\n")?;
            until(*port, &["SENTINEL", "MASTER", MASTER], "num-other-sentinels\n2\n")?;
        }
        until(replica.port, &["INFO", "replication"], "master_link_status:up")?;
        Ok(Self { servers: vec![master, replica], sentinels })
    }

    /// Has the replica take over while the master is well.
    ///
    /// # Errors
    /// When the Sentinels refuse.
    pub fn failover(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + AGREED;
        loop {
            // A Sentinel looks every ten seconds whether a replica has caught up.
            match self.sentinel_cli(&["SENTINEL", "FAILOVER", MASTER]) {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(200)),
                Ok(_) => return Ok(()),
            }
        }
    }

    /// What the first Sentinel answers to a command.
    ///
    /// # Errors
    /// When it says that it failed.
    pub fn sentinel_cli(&self, command: &[&str]) -> anyhow::Result<String> {
        let (port, _) = self.sentinels.first().context("a Sentinel")?;
        cli(*port, command)
    }

    /// The address by which a client finds the master.
    pub fn url(&self) -> String {
        let places: Vec<_> =
            self.sentinels.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{MASTER}", places.join(","))
    }
}

/// Three masters that share the keys.
#[derive(Debug)]
pub struct RedisCluster {
    pub servers: Vec<Redis>,
}

impl RedisCluster {
    /// Starts them, and waits until they agree on who has which keys.
    ///
    /// # Errors
    /// When one is not installed or does not start, or they do not agree.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut servers = Vec::new();
        for n in 1..=3 {
            let bus = format!("cluster-port {}", free_port()?);
            let settings = ["cluster-enabled yes", "cluster-node-timeout 2000", &bus];
            servers.push(Redis::start(&folder.join(format!("cluster{n}")), &settings)?);
        }
        let places = servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        let made = Command::new(program("redis-cli")?)
            .args(["--cluster", "create"])
            .args(places)
            .arg("--cluster-yes")
            .stdin(Stdio::null())
            .output()?;
        let told = String::from_utf8_lossy(&made.stdout);
        ensure!(made.status.success(), "the cluster was not made: {told}");
        let cluster = Self { servers };
        for server in &cluster.servers {
            until(server.port, &["CLUSTER", "INFO"], "cluster_state:ok")?;
        }
        Ok(cluster)
    }

    /// The addresses of all of them.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Redis::url).collect()
    }
}

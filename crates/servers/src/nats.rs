//! NATS with JetStream, alone or as a cluster of three.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{
    port::free_port,
    process::{Process, program, write},
};

/// What differs between servers.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// Lines of the configuration that come last.
    pub settings: Vec<String>,
    /// A smaller `max_payload` than the 8 MiB that tests and `cluster-dev` use.
    pub max_payload: Option<usize>,
}

/// One NATS server.
#[derive(Debug)]
pub struct Nats {
    pub port: u16,
    /// Where it tells what it does, over HTTP.
    pub monitor: u16,
    /// Of its cluster; 0 if it is alone.
    cluster_port: u16,
    folder: PathBuf,
    text: String,
    process: Process,
}

impl Nats {
    /// Starts one alone, in a folder.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start(folder: &Path, options: &NatsOptions) -> anyhow::Result<Self> {
        let (port, monitor) = (free_port()?, free_port()?);
        let text = config("n1", port, monitor, folder, options);
        Self::start_with([port, 0, monitor], folder, text)
    }

    /// `ports`: of clients, of its cluster, and of who asks what it does.
    fn start_with(ports: [u16; 3], folder: &Path, text: String) -> anyhow::Result<Self> {
        let [port, cluster_port, monitor] = ports;
        let file = folder.join("nats.conf");
        write(&file, &text)?;
        let command = [program("nats-server")?, PathBuf::from("-c"), file];
        let process = Process::start("nats", folder, command)?;
        process.until_listening(port)?;
        let folder = folder.to_owned();
        Ok(Self { port, monitor, cluster_port, folder, text, process })
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Asks what streams there are, over a connection of its own.
    fn ask_jetstream(&self) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let ask = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB told 1\r\n\
                   PUB $JS.API.INFO told 0\r\n\r\n";
        stream.write_all(ask.as_bytes())?;
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next().transpose()? {
            if line.starts_with("MSG told ") {
                let told = lines.next().transpose()?.unwrap_or_default();
                ensure!(!told.contains("\"error\""), "{told}");
                return Ok(());
            }
        }
        bail!("it closed the connection")
    }

    /// What it says of itself at a path such as `/varz` (JSON).
    ///
    /// # Errors
    /// When it does not answer.
    pub fn monitor(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.monitor))?;
        stream.set_read_timeout(Some(MONITORED))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(head.contains(" 200 "), "{path}: {}", head.lines().next().unwrap_or_default());
        Ok(body.to_owned())
    }

    /// Where it keeps streams.
    pub fn store(&self) -> PathBuf {
        self.folder.join("jetstream")
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// kill -9 if it runs, and starts it again on its folder.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill();
        let (folder, text) = (self.folder.clone(), self.text.clone());
        let ports = [self.port, self.cluster_port, self.monitor];
        *self = Self::start_with(ports, &folder, text)?;
        Ok(())
    }
}

/// How long a cluster may take until it has chosen who leads.
const LED: Duration = Duration::from_mins(1);
/// How long a server may take to answer; without a leader it does not.
const ANSWER: Duration = Duration::from_secs(1);

/// How long a server may take to tell what it does.
const MONITORED: Duration = Duration::from_secs(5);

/// Three servers, so that streams have three replicas.
#[derive(Debug)]
pub struct NatsCluster {
    pub servers: Vec<Nats>,
}

impl NatsCluster {
    /// Starts them; a leader may not be chosen yet.
    ///
    /// # Errors
    /// When one is not installed or does not start.
    pub fn start(folder: &Path, options: &NatsOptions) -> anyhow::Result<Self> {
        let mut ports = Vec::new();
        for _ in 0..3 {
            ports.push((free_port()?, free_port()?));
        }
        let routes: Vec<_> =
            ports.iter().map(|(_, cluster)| format!("nats://127.0.0.1:{cluster}")).collect();
        let mut servers = Vec::new();
        for (n, (port, cluster)) in (1..).zip(&ports) {
            let (name, folder) = (format!("n{n}"), folder.join(format!("nats{n}")));
            let monitor = free_port()?;
            // Clients keep to the addresses that they were given: there may be a proxy in between.
            let text = format!(
                "{}cluster {{ name: belay, no_advertise: true, listen: \"127.0.0.1:{cluster}\", \
                 routes: [{}] }}\n",
                config(&name, *port, monitor, &folder, options),
                routes.join(", ")
            );
            servers.push(Nats::start_with([*port, *cluster, monitor], &folder, text)?);
        }
        Ok(Self { servers })
    }

    /// Waits until streams can be made at each of them: until a leader is chosen, and known.
    ///
    /// # Errors
    /// When that is not so in time.
    pub fn until_led(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LED;
        for server in &self.servers {
            while let Err(error) = server.ask_jetstream() {
                if Instant::now() > deadline || !server.process.is_running() {
                    let (port, words) = (server.port, server.process.last_words());
                    bail!("NATS at port {port} cannot make streams: {error}\n{words}");
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    /// The addresses of all of them.
    pub fn url(&self) -> String {
        let all: Vec<_> =
            self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        format!("nats://{}", all.join(","))
    }
}

fn config(name: &str, port: u16, monitor: u16, folder: &Path, options: &NatsOptions) -> String {
    let max_payload = options.max_payload.unwrap_or(8 << 20);
    format!(
        "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
         max_payload: {max_payload}\n\
         jetstream {{ store_dir: \"{}\", max_mem: 1G, max_file: 8G }}\n{}\n",
        folder.display(),
        options.settings.join("\n")
    )
}

//! A TCP balancer: passes each connection to a ready relay, chosen at random or by the affinity key that it
//! brings. It changes no byte, so relays see every client at 127.0.0.1.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use belay_servers::{affinity_of, by_affinity};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections at one time; others wait to be accepted. Fewer if the system allows fewer open files.
const CONNECTIONS_MAX: usize = 4_096;
/// Open files that are left for everything else.
const FILES_SPARE: u64 = 128;
/// How long a relay may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a failure to accept, such as no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client may take to send what it is told about.
const REFUSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of its request that are read before it is told.
const REFUSE_BYTES: usize = 16 * 1024;

/// What a client is told while no relay is ready, as any HTTP balancer would.
const NOBODY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
    Content-Length: 22\r\nRetry-After: 1\r\nConnection: close\r\n\r\nno relay is ready now\n";

/// A relay that connections may go to.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) at: SocketAddr,
    ready: Arc<AtomicBool>,
}

impl Backend {
    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// A listener and where its connections may go.
#[derive(Debug)]
pub(super) struct Balancer {
    listener: TcpListener,
    address: SocketAddr,
    backends: Arc<Mutex<Vec<Backend>>>,
    /// Connections with one affinity key go to one relay.
    by_key: bool,
}

impl Balancer {
    /// Listens on a loopback port; 0 takes a free one.
    pub(super) async fn bind(port: u16, by_key: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| {
            format!("port {port} cannot be used; stop what uses it or name another --port")
        })?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, backends: Arc::default(), by_key })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a relay that is not ready yet.
    pub(super) fn backend(&self, at: SocketAddr) -> Backend {
        let backend = Backend { at, ready: Arc::default() };
        self.backends.lock().push(backend.clone());
        backend
    }

    /// Passes connections until told to stop, which ends them all.
    pub(super) async fn run(self, stop: CancellationToken) {
        let free = Arc::new(Semaphore::new(connections_max()));
        let serve = async {
            loop {
                let Ok(permit) = free.clone().acquire_owned().await else { return };
                match self.listener.accept().await {
                    Ok((client, _)) => {
                        let (backends, stop) = (self.backends.clone(), stop.clone());
                        let by_key = self.by_key;
                        tokio::spawn(async move {
                            tokio::select! {
                                () = pass(client, &backends, by_key) => {}
                                () = stop.cancelled() => {}
                            }
                            drop(permit);
                        });
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
        };
        tokio::select! {
            () = serve => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Asks the system for as many open files as it gives, two for each connection.
fn connections_max() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed =
        if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    // No limit is said as none.
    let pairs = allowed.unwrap_or(u64::MAX).saturating_sub(FILES_SPARE) / 2;
    usize::try_from(pairs).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MAX)
}

/// Passes one connection. Each way ends when its sender does; a failure of one ends both.
async fn pass(mut client: TcpStream, backends: &Mutex<Vec<Backend>>, by_key: bool) {
    let _ = client.set_nodelay(true);
    let key = if by_key { affinity_of(&client).await } else { None };
    let Some(mut relay) = connect(backends, key.as_deref()).await else {
        let _ = timeout(REFUSE_TIMEOUT, refuse(client)).await;
        return;
    };
    let _ = relay.set_nodelay(true);
    // An error is the end of one of the two, which the other is told by the end of its connection.
    let _ = copy_bidirectional(&mut client, &mut relay).await;
}

/// A connection to a ready relay; one that does not take it is not ready until its next check.
async fn connect(backends: &Mutex<Vec<Backend>>, key: Option<&str>) -> Option<TcpStream> {
    loop {
        let mut ready: Vec<_> = backends.lock().iter().filter(|b| b.is_ready()).cloned().collect();
        if ready.is_empty() {
            return None;
        }
        let places: Vec<_> = ready.iter().map(|b| b.at).collect();
        let wanted = key.and_then(|key| by_affinity(key, &places).into_iter().next());
        let at = wanted.and_then(|at| places.iter().position(|place| *place == at));
        let chosen = ready.swap_remove(at.unwrap_or_else(|| draw(places.len())));
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(chosen.at)).await {
            Ok(Ok(stream)) => return Some(stream),
            _ => chosen.set_ready(false),
        }
    }
}

fn draw(below: usize) -> usize {
    let n = getrandom::u32().unwrap_or(0);
    usize::try_from(n).unwrap_or(0) % below
}

async fn refuse(mut client: TcpStream) -> std::io::Result<()> {
    // Bytes that nobody read would take the answer with them.
    let mut request = vec![0; REFUSE_BYTES];
    let _ = client.read(&mut request).await?;
    client.write_all(NOBODY).await?;
    client.shutdown().await
}

#[cfg(test)]
#[path = "balancer_tests.rs"]
mod tests;

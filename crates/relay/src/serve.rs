//! Listeners, the accept loop, and a shutdown that tells every client.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use belay_adapters::{ClusterPlaces, KeyError, Keys, NatsOptions, Places, ResolveError, resolve};
use belay_core::Input;
use futures_util::future::join_all;
use hyper::{Request, body, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    config::{Config, INSTANCE_MAX},
    entropy,
    http::{self, Peer, Router},
    node::{Node, Parts},
    origin::Origins,
    registry::Handle,
    sweep,
};

/// How long a request's headers may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers of one request, in bytes and in number.
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// Rest of the accept loop after a failure such as too many open files: it must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often time-driven work of sessions is looked for.
const TICK: Duration = Duration::from_millis(250);

/// How often a message log that failed is asked whether it works again.
const RECHECK: Duration = Duration::from_millis(500);

/// Why the relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not free, or not ours.
    #[error("{what} {address}: {cause}; choose another with {flag}")]
    Bind { what: &'static str, address: SocketAddr, cause: std::io::Error, flag: &'static str },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] ResolveError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The admin token cannot be read or made.
    #[error("{path}: {cause}")]
    AdminToken { path: std::path::PathBuf, cause: std::io::Error },
}

/// A relay that runs.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    /// Address of the public listener.
    pub public: SocketAddr,
    /// Address of the admin listener.
    pub admin: SocketAddr,
}

/// Starts a relay: checks everything, then binds.
///
/// # Errors
/// [`ServeError`]; nothing is left running.
pub async fn serve(mut config: Config) -> Result<Server, ServeError> {
    let places = Places {
        store: &config.store,
        data_dir: &config.data_dir,
        sync: config.sync,
        cluster: cluster_places(&config),
    };
    let stores = resolve(places).await?;
    for note in &stores.notes {
        tracing::warn!("{note}");
    }
    let ephemeral = config.is_ephemeral();
    let keys = if ephemeral && config.token_keys.is_none() {
        Keys::ephemeral(&mut entropy::fill)
    } else {
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|cause| ServeError::AdminToken { path: config.data_dir.clone(), cause })?;
        let (tokens, store) = (config.token_keys.as_deref(), config.store_key.as_deref());
        Keys::open(&config.data_dir, tokens, store, &mut entropy::fill)?
    };
    let admin_token = match &config.admin_token {
        Some(token) => token.clone(),
        None if ephemeral => random_text(),
        None => made_admin_token(&config.data_dir)?,
    };
    let address = SocketAddr::new(config.host, config.port);
    let public = bind("public listener", address, "--host and --port").await?;
    let public_at = local(&public, address);
    let admin = if config.admin_on_public {
        None
    } else {
        Some(bind("admin listener", config.admin_listen, "--admin-listen").await?)
    };
    let admin_at = admin.as_ref().map_or(public_at, |admin| local(admin, config.admin_listen));
    if !ephemeral {
        tell_admin_address(&config.data_dir, admin_at);
    }
    if config.public_urls.is_empty() {
        config.public_urls.push(format!("http://localhost:{}", public_at.port()));
    }
    let origins =
        Origins::of_listener(config.host, public_at.port(), &machine(), &config.public_urls);
    let stopping = CancellationToken::new();
    let id = config.instance.clone();
    let parts = Parts { config, keys, stores, origins, admin_token, id, stopping };
    let node = Arc::new(Node::new(parts));
    node.tasks.spawn(accept(node.clone(), public, http::public(&node)));
    if let Some(admin) = admin {
        node.tasks.spawn(accept(node.clone(), admin, http::admin(&node)));
    }
    keep_time(&node);
    Ok(Server { node, public: public_at, admin: admin_at })
}

/// What a node shares with others; `None` if it is alone.
fn cluster_places(config: &Config) -> Option<ClusterPlaces<'_>> {
    let (bus, secret) = (config.bus.clone()?, config.bus_secret.clone()?);
    let mut nats = NatsOptions::new(bus, life(&config.instance), secret);
    nats.credentials.clone_from(&config.bus_credentials);
    nats.ca.clone_from(&config.bus_ca);
    nats.prefix.clone_from(&config.subject_prefix);
    nats.replicas = config.bus_replicas;
    nats.shards = config.bus_shards;
    nats.replay_window = config.bus_replay_window;
    nats.clock_skew = config.bus_clock_skew;
    let (key_prefix, store_ca) = (&*config.key_prefix, config.store_ca.as_deref());
    let (catalog, instance) = (config.catalog.as_deref()?, &*config.instance);
    let waits = |what: &str| tracing::warn!("still waiting for {what}");
    Some(ClusterPlaces { catalog, instance, key_prefix, store_ca, nats, waits })
}

/// A name for this life of a node: one that starts again is another.
fn life(instance: &str) -> String {
    let mut bytes = [0; 8];
    entropy::fill(&mut bytes);
    format!("{}-{:016x}", plain_name(instance), u64::from_le_bytes(bytes))
}

/// How an instance is called in its lives.
pub(crate) fn plain_name(instance: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    instance.chars().take(INSTANCE_MAX).map(plain).collect()
}

impl Server {
    /// Stops as a process does that is told to.
    pub async fn stop(self) {
        stop(&self.node).await;
        // Another process may listen there later; of a store in memory nothing was written.
        if !self.node.config.is_ephemeral() {
            let _ = std::fs::remove_file(self.node.config.data_dir.join(ADMIN_ADDRESS));
        }
    }

    /// Waits until an operator has the node exit after a drain, or it cannot go on ([`Server::failure`]).
    pub async fn exited(&self) {
        self.node.exit.cancelled().await;
    }

    /// Why this relay had to end by itself.
    pub fn failure(&self) -> Option<String> {
        self.node.stores.log.broken()
    }

    /// The bearer of the admin API.
    pub fn admin_token(&self) -> &str {
        &self.node.admin_token
    }
}

/// File of the data folder that names the admin listener.
pub const ADMIN_ADDRESS: &str = "admin-address";

/// Tells every client, flushes, and waits until all is written or the grace is over.
pub(crate) async fn stop(node: &Arc<Node>) {
    node.drain.keep(node.metrics.active_websockets());
    node.stopping.cancel();
    node.tasks.close();
    if tokio::time::timeout(node.config.shutdown_grace, node.tasks.wait()).await.is_err() {
        tracing::warn!(left = node.tasks.len(), "grace is over");
    }
    for handle in node.registry.all() {
        node.drive(&handle, Input::Flush).await;
    }
}

async fn bind(
    what: &'static str,
    address: SocketAddr,
    flag: &'static str,
) -> Result<TcpListener, ServeError> {
    let failed = |cause| ServeError::Bind { what, address, cause, flag };
    TcpListener::bind(address).await.map_err(failed)
}

fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

fn machine() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.into_iter().map(|interface| interface.ip()).collect()
}

fn random_text() -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut bytes = [0; 32];
    entropy::fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn made_admin_token(folder: &Path) -> Result<String, ServeError> {
    let path = folder.join("admin-token");
    let failed = |cause| ServeError::AdminToken { path: path.clone(), cause };
    match std::fs::read_to_string(&path) {
        Ok(token) if token.trim().len() >= 16 => Ok(token.trim().to_owned()),
        Ok(_) => write_admin_token(&path).map_err(failed),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            write_admin_token(&path).map_err(failed)
        }
        Err(cause) => Err(failed(cause)),
    }
}

/// Operators' commands on this machine find the admin listener by the data folder.
fn tell_admin_address(folder: &Path, mut at: SocketAddr) {
    if at.ip().is_unspecified() {
        at.set_ip(IpAddr::from([127, 0, 0, 1]));
    }
    let path = folder.join(ADMIN_ADDRESS);
    // Who reads it meanwhile reads all of it or nothing.
    let fresh = folder.join(format!("{ADMIN_ADDRESS}.new"));
    let written = std::fs::write(&fresh, format!("http://{at}\n"));
    if let Err(error) = written.and_then(|()| std::fs::rename(&fresh, &path)) {
        tracing::warn!(%error, path = %path.display(), "not written");
        let _ = std::fs::remove_file(&path);
    }
}

fn write_admin_token(path: &Path) -> std::io::Result<String> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let token = random_text();
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    Ok(token)
}

/// What a connection is told for which there is no place.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

async fn accept(node: Arc<Node>, listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(node.config.http_connections_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = node.stopping.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(place) = places.clone().try_acquire_owned() else {
                    node.metrics.http_refused.inc();
                    let _ = stream.try_write(FULL);
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let serving = connection(node.clone(), stream, peer.ip(), router.clone());
                node.tasks.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "no connection accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection, over any stream of bytes.
pub(crate) async fn connection<T>(node: Arc<Node>, stream: T, peer: IpAddr, router: Router)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let proxies = node.config.proxies.clone();
    let service = service_fn(move |mut request: Request<body::Incoming>| {
        let client = proxies.client(peer, request.headers());
        request.extensions_mut().insert(Peer(client));
        router.clone().oneshot(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = Box::pin(serving);
    tokio::select! {
        _ = serving.as_mut() => {}
        () = node.stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// Starts what a node does without being asked.
pub(crate) fn keep_time(node: &Arc<Node>) {
    node.tasks.spawn(tick(node.clone()));
    node.tasks.spawn(sweep::run(node.clone()));
    node.tasks.spawn(recheck(node.clone()));
    node.join_cluster();
}

async fn tell_time(node: &Arc<Node>, handle: &Arc<Handle>) {
    node.drive(handle, Input::Tick).await;
    for member in handle.half_revoked() {
        node.drive(handle, Input::Revoke { member }).await;
    }
}

/// Finds out when a message log that failed works again.
async fn recheck(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RECHECK) => {
                if let Some(why) = node.stores.log.broken() {
                    // Only a process that starts anew reads what the disk really holds.
                    tracing::error!(%why, "the message log cannot go on; the relay ends to be started again");
                    return node.exit.cancel();
                }
                node.recheck_log().await;
            }
            () = node.stopping.cancelled() => return,
        }
    }
}

/// Feeds time to the sessions that wait for it.
async fn tick(node: Arc<Node>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = node.stopping.cancelled() => return,
        }
        let now = node.now().mono;
        // Together, so that the store writes them in one go.
        let mut handles = node.registry.all();
        handles.retain(|handle| handle.is_due(&node.policy, now));
        join_all(handles.iter().map(|handle| tell_time(&node, handle))).await;
        drop(handles);
        node.registry.forget_idle().into_iter().for_each(|id| node.unwatch(id));
        node.metrics.sessions_loaded.set(i64::try_from(node.registry.len()).unwrap_or(i64::MAX));
    }
}

//! Sessions, presence, leases and limits in Redis (6.2 or later): one server, a master that Sentinels
//! name, or a cluster. One connection carries all operations.

mod address;
mod answer;
mod error;
mod find;
mod keys;
mod link;
mod presence;
mod record;
mod save;
mod script;
mod server;
mod sessions;
mod shared;
mod wire;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use address::Address;
use keys::Keys;
use link::Link;

pub use error::RedisError;

/// Where Redis is, and how keys are named there.
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// `redis://`, `rediss://`, or with Sentinels `redis+sentinel://[user:password@]host:port,host:port/master[/db]`
    /// and `rediss+sentinel://`.
    pub url: String,
    /// Stands before every key: 1 to 64 letters, digits and any of `._:-`.
    pub prefix: String,
    /// The authority that signed the server's certificate, as PEM; those of the system if there is none.
    pub ca: Option<Vec<u8>>,
}

impl RedisOptions {
    /// An address, and the prefix of keys there.
    pub fn new(url: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: prefix.into(), ca: None }
    }
}

impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisOptions").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The ports of `belay-core` on Redis. Clones share one connection.
///
/// A save that was answered is as safe as Redis keeps it: with `appendfsync everysec` a machine that dies
/// takes up to a second of saves with it, and so does a failover to a replica that was behind.
#[derive(Debug, Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: Link,
    keys: Keys,
    /// Whether a count of devices could not be corrected; only the first time is worth a word.
    drifted: AtomicBool,
}

impl RedisStore {
    /// Reads a URL, and connects to nothing.
    pub(crate) fn check_url(url: &str) -> Result<(), RedisError> {
        Address::parse(url, None).map(|_| ())
    }

    /// Connects once, and looks at the server; whoever calls decides whether to try again. Must be called
    /// within a Tokio runtime, where a task keeps the connection from then on. Also answers notes for the
    /// operator: what this server may lose.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn connect(options: RedisOptions) -> Result<(Self, Vec<String>), RedisError> {
        Self::at(Address::parse(&options.url, options.ca.as_deref())?, &options.prefix).await
    }

    /// The same for a Redis Cluster, of which some servers are named by their `redis://` URLs.
    ///
    /// # Errors
    /// [`RedisError`].
    pub async fn cluster(urls: &[String], prefix: &str) -> Result<(Self, Vec<String>), RedisError> {
        Self::at(Address::cluster(urls)?, prefix).await
    }

    async fn at(address: Address, prefix: &str) -> Result<(Self, Vec<String>), RedisError> {
        let keys = Keys::new(prefix)?;
        if address.is_tls() {
            // A provider that is there already is this one, too: no other is built in.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let named = address.to_string();
        let link = Link::open(address).await?;
        let notes = server::look(&link, &named).await?;
        let drifted = AtomicBool::new(false);
        Ok((Self { inner: Arc::new(Inner { link, keys, drifted }) }, notes))
    }

    /// Commands that were sent so far, for a metric.
    pub fn commands(&self) -> u64 {
        self.inner.link.commands()
    }

    /// Tells whether a correction of the count of devices was lost, so that it may be off since.
    pub fn device_count_drifted(&self) -> bool {
        self.inner.drifted.load(Ordering::Relaxed)
    }
}

//! The catalog of a cluster: the second place of revocations in PostgreSQL or SQLite, apart from the store,
//! because a store can be rolled back.

mod address;
mod error;
mod follow;
mod link;
mod pool;
mod schema;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use belay_core::ports::{Answer, Revocations, StoreError};
use belay_wire::MemberId;
use tokio::task::AbortHandle;

use address::Address;
use follow::{Follower, Known};
use pool::Pool;

pub use error::SqlError;

/// Characters of a node's name that are stored.
const NODE_LEN_MAX: usize = 64;

/// Revoked devices in the table `revoked_devices`, which only grows. Lookups answer from a copy in memory
/// that another node's addition reaches within a second while the database answers; while it does not,
/// the copy stays as it is and additions fail. A database that went back is given again what it lost.
#[derive(Clone)]
pub struct SqlRevocations {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    node: String,
    pool: Arc<Pool>,
    known: Arc<Known>,
    polls: AbortHandle,
}

/// How the copy of the revoked devices stands.
#[derive(Debug, Clone)]
pub struct CatalogState {
    /// Time since the last look that went well began: what others added before it is known.
    pub age: Duration,
    /// Why the last look failed, if it did.
    pub fault: Option<String>,
    /// Devices that are known to be revoked.
    pub revoked: usize,
    /// Devices that the database had lost and was given again, since the start.
    pub restored: u64,
    /// Rows that hold no device id, so that they revoke nothing.
    pub unreadable: u64,
}

impl SqlRevocations {
    /// Reads a URL, and connects to nothing.
    pub(crate) fn check_url(url: &str) -> Result<(), SqlError> {
        Address::parse(url).map(|_| ())
    }

    /// Opens `postgres://…` or `sqlite:<file>`, makes the tables that are not there, reads all of them and
    /// follows from then on. `node` is the name under which this node's additions are stored. Takes at
    /// most about 10 seconds until it fails.
    ///
    /// # Errors
    /// [`SqlError`], which says where and what to do, without a password.
    pub async fn open(url: &str, node: &str) -> Result<Self, SqlError> {
        let address = Address::parse(url)?;
        let node: String = node.chars().filter(|c| !c.is_control()).take(NODE_LEN_MAX).collect();
        let pool = Arc::new(Pool::new(address.clone()));
        pool.migrate().await?;
        let known = Arc::new(Known::new());
        let follower = Follower::start(pool.clone(), known.clone(), node.clone()).await?;
        let polls = tokio::spawn(follower.run()).abort_handle();
        Ok(Self { inner: Arc::new(Inner { address, node, pool, known, polls }) })
    }

    /// Checks that an address can be read, without opening anything.
    ///
    /// # Errors
    /// [`SqlError::Address`], without the URL, which may hold a password.
    pub fn check(url: &str) -> Result<(), SqlError> {
        Address::parse(url).map(|_| ())
    }

    /// Time since the last look that went well began. Below a second while the database answers.
    pub fn age(&self) -> Duration {
        self.inner.known.fresh.lock().elapsed()
    }

    /// How the copy stands, for metrics and health.
    pub fn state(&self) -> CatalogState {
        let known = &self.inner.known;
        CatalogState {
            age: self.age(),
            fault: known.fault.lock().as_ref().map(ToString::to_string),
            revoked: self.count(),
            restored: known.restored.load(Ordering::Relaxed),
            unreadable: known.unreadable.load(Ordering::Relaxed),
        }
    }
}

impl Revocations for SqlRevocations {
    fn add(&self, member: MemberId) -> Answer<()> {
        let inner = self.inner.clone();
        Box::pin(async move {
            inner.pool.add(member, &inner.node).await.map_err(StoreError::from)?;
            inner.known.revoked.write().insert(member);
            Ok(())
        })
    }

    fn contains(&self, member: MemberId) -> bool {
        self.inner.known.revoked.read().contains(&member)
    }

    fn count(&self) -> usize {
        self.inner.known.revoked.read().len()
    }
}

impl fmt::Debug for SqlRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlRevocations({}, {:?})", self.inner.address, self.state())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.polls.abort();
    }
}

//! Calls to the catalog: on few connections, each with a time limit and a bounded number of tries.

use std::time::Duration;

use belay_wire::MemberId;
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::{
    SqlError,
    address::Address,
    error::passes,
    link::{Entry, Link, Schema},
};

/// Connections of one node to its database.
const LINKS_MAX: usize = 4;
/// How long a call may take, with all of its tries.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one try may take: a connection whose other end is gone without a word leaves time for another.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);
/// How long making the tables may take: other nodes may do it at the same time.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Tries of one call. All calls are safe to repeat.
const TRIES_MAX: u32 = 4;
/// Tries of making the tables.
const START_TRIES_MAX: u32 = 20;
/// Pause before another try, times the number of tries so far.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// The connections to one catalog.
#[derive(Debug)]
pub(super) struct Pool {
    address: Address,
    idle: Mutex<Vec<Link>>,
    free: Semaphore,
}

impl Pool {
    pub(super) fn new(address: Address) -> Self {
        Self { address, idle: Mutex::default(), free: Semaphore::new(LINKS_MAX) }
    }

    /// Makes the tables that are not there yet.
    pub(super) async fn migrate(&self) -> Result<(), SqlError> {
        let once = || async {
            let mut link = self.open().await?;
            let schema = link.migrate().await?;
            self.idle.lock().push(link);
            Ok(schema)
        };
        match self.tries(START_TIMEOUT, START_TRIES_MAX, once).await? {
            Schema::Current => Ok(()),
            Schema::Newer { found, known } => {
                Err(SqlError::Newer { address: self.address.to_string(), found, known })
            }
        }
    }

    /// Adds a device; done when it is committed. Tells whether it was not there.
    pub(super) async fn add(&self, member: MemberId, node: &str) -> Result<bool, SqlError> {
        let once = || async {
            let mut link = self.open().await?;
            let added = link.add(member.to_string(), node).await?;
            self.idle.lock().push(link);
            Ok(added)
        };
        self.tries(CALL_TIMEOUT, TRIES_MAX, once).await
    }

    /// At most `limit` rows from a number on.
    pub(super) async fn since(&self, seq: i64, limit: i64) -> Result<Vec<Entry>, SqlError> {
        let once = || async {
            let mut link = self.open().await?;
            let rows = link.since(seq, limit).await?;
            self.idle.lock().push(link);
            Ok(rows)
        };
        self.tries(CALL_TIMEOUT, TRIES_MAX, once).await
    }

    async fn open(&self) -> Result<Link, sqlx::Error> {
        let idle = self.idle.lock().pop();
        match idle {
            Some(link) => Ok(link),
            None => Link::open(&self.address).await,
        }
    }

    async fn tries<T, F>(
        &self,
        limit: Duration,
        tries: u32,
        once: impl Fn() -> F,
    ) -> Result<T, SqlError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let Ok(_permit) = timeout(limit, self.free.acquire()).await else {
            return Err(self.unreachable("all connections were in use".to_owned()));
        };
        let mut tried = 0;
        let mut last = None;
        loop {
            let span = left().min(TRY_TIMEOUT);
            let (error, again) = match timeout(span, once()).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(cause)) => (SqlError::of(&self.address.to_string(), &cause), passes(&cause)),
                Err(_) => {
                    let cause = format!("no answer within {} ms", span.as_millis());
                    // A try that had no time says less than the one before it.
                    let cut = last.take().filter(|_| span < TRY_TIMEOUT);
                    (cut.unwrap_or_else(|| self.unreachable(cause)), true)
                }
            };
            // What broke one connection broke those that were opened before, too.
            self.idle.lock().clear();
            tried += 1;
            let pause = RETRY_PAUSE * tried;
            if !again || tried >= tries || left() <= pause {
                return Err(error);
            }
            last = Some(error);
            sleep(pause).await;
        }
    }

    fn unreachable(&self, cause: String) -> SqlError {
        SqlError::Unreachable { address: self.address.to_string(), cause }
    }
}

//! The copy of the revoked devices in memory, and what keeps it fresh.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use belay_wire::MemberId;
use parking_lot::{Mutex, RwLock};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{SqlError, link::Entry, pool::Pool};

/// How often it is asked what was added. An answer within half a second keeps the promise of a second.
const POLL_EVERY: Duration = Duration::from_millis(400);
/// How often all is read: finds what was written or removed past the numbering, by hand or by a restore.
const ALL_EVERY: Duration = Duration::from_mins(10);
/// Rows of one read.
const PAGE: i64 = 5_000;
/// Devices that one poll writes again.
const RESTORE_MAX: usize = 200;

/// What is known of the revoked devices.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) revoked: RwLock<HashSet<MemberId>>,
    /// When the last complete look began.
    pub(super) fresh: Mutex<Instant>,
    /// Why the last look or write failed, if it did.
    pub(super) fault: Mutex<Option<SqlError>>,
    /// Devices that the database had lost and was given again.
    pub(super) restored: AtomicU64,
    /// Rows whose text is no device id, as of the last full read.
    pub(super) unreadable: AtomicU64,
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            revoked: RwLock::default(),
            fresh: Mutex::new(Instant::now()),
            fault: Mutex::default(),
            restored: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
        }
    }

    /// Takes the devices of rows, those that can be read.
    fn take(&self, rows: &[Entry]) -> Vec<MemberId> {
        let members: Vec<MemberId> =
            rows.iter().filter_map(|(_, text)| text.parse().ok()).collect();
        let unreadable = rows.len() - members.len();
        self.unreadable.fetch_add(unreadable as u64, Ordering::Relaxed);
        if !members.is_empty() {
            self.revoked.write().extend(&members);
        }
        members
    }
}

/// Reads what was added, again and again.
#[derive(Debug)]
pub(super) struct Follower {
    pool: Arc<Pool>,
    known: Arc<Known>,
    node: String,
    /// The newest row that was read. A database that does not have it any more went back.
    last: Option<Entry>,
    all_at: Instant,
    /// Devices that the database had once and does not have any more.
    missing: Vec<MemberId>,
}

impl Follower {
    /// Reads everything once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn start(
        pool: Arc<Pool>,
        known: Arc<Known>,
        node: String,
    ) -> Result<Self, SqlError> {
        let (last, missing, all_at) = (None, Vec::new(), Instant::now());
        let mut follower = Self { pool, known, node, last, all_at, missing };
        follower.read_all().await?;
        *follower.known.fresh.lock() = all_at;
        Ok(follower)
    }

    /// Polls until it is aborted.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut polled = self.poll().await;
            // A database that was made anew has no tables.
            if matches!(polled, Err(SqlError::Refused { .. })) && self.pool.migrate().await.is_ok()
            {
                polled = self.poll().await;
            }
            *self.known.fault.lock() = polled.err();
        }
    }

    async fn poll(&mut self) -> Result<(), SqlError> {
        let began = Instant::now();
        let went_back = !self.read_new().await?;
        if went_back || self.all_at.elapsed() >= ALL_EVERY {
            self.read_all().await?;
            self.all_at = began;
        }
        *self.known.fresh.lock() = began;
        self.restore().await
    }

    /// Reads what follows the newest row; `false` if that row is not there.
    async fn read_new(&mut self) -> Result<bool, SqlError> {
        loop {
            let from = self.last.as_ref().map_or(0, |(seq, _)| *seq);
            let rows = self.pool.since(from, PAGE).await?;
            let new = match &self.last {
                None => &rows[..],
                Some(last) if rows.first() == Some(last) => &rows[1..],
                Some(_) => return Ok(false),
            };
            self.known.take(new);
            let is_end = rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            self.last = rows.last().cloned().or_else(|| self.last.take());
            if is_end {
                return Ok(true);
            }
        }
    }

    /// Reads all, and notes what was known and is not there.
    async fn read_all(&mut self) -> Result<(), SqlError> {
        let before = self.known.revoked.read().clone();
        let mut there = HashSet::new();
        let (mut from, mut last) = (0, None);
        self.known.unreadable.store(0, Ordering::Relaxed);
        loop {
            let rows = self.pool.since(from, PAGE).await?;
            there.extend(self.known.take(&rows));
            let is_end = rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            last = rows.last().cloned().or(last);
            if is_end {
                break;
            }
            from = last.as_ref().map_or(0, |(seq, _)| seq.saturating_add(1));
        }
        self.last = last;
        self.missing = before.difference(&there).copied().collect();
        Ok(())
    }

    /// Writes again what a database that was rolled back does not have.
    async fn restore(&mut self) -> Result<(), SqlError> {
        for _ in 0..RESTORE_MAX.min(self.missing.len()) {
            let Some(member) = self.missing.last() else { break };
            let added = self.pool.add(*member, &self.node).await?;
            self.missing.pop();
            self.known.restored.fetch_add(u64::from(added), Ordering::Relaxed);
        }
        Ok(())
    }
}

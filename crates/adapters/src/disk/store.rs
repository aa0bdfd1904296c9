//! Sessions in SQLite. One task owns the connection and commits what is queued as one group, so
//! one sync to disk covers all saves that came meanwhile.

use std::{path::Path, time::Duration};

use belay_core::{
    SessionRecord,
    ports::{Answer, SessionStore, StoreError},
    session::LeaseKey,
};
use belay_wire::SessionId;
use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    DiskError,
    row::{self, PROBE, SCHEMA, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_VERSION, unavailable},
};

/// Jobs that may wait; beyond it callers are told that the store is not available.
const QUEUE_LEN: usize = 4_096;
/// Jobs that one commit covers.
const GROUP_MAX: usize = 256;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Save(Box<SessionRecord>, Reply<()>),
    Load(SessionId, Reply<Option<SessionRecord>>),
    FindLease(LeaseKey, Reply<Vec<SessionId>>),
    List(Option<SessionId>, usize, Reply<Vec<SessionId>>),
    Count(Reply<usize>),
    CountDevices(Reply<usize>),
    Remove(SessionId, Reply<()>),
    Check(Reply<()>),
}

/// Sessions in `<data-dir>/belay.db`.
#[derive(Debug, Clone)]
pub struct DiskStore {
    jobs: mpsc::Sender<Job>,
}

impl DiskStore {
    /// Opens or makes the file and starts its task, which ends when the last handle is dropped.
    ///
    /// # Errors
    /// [`DiskError`], among others when a newer version wrote the file.
    pub async fn open(folder: &Path) -> Result<Self, DiskError> {
        let path = folder.join("belay.db");
        let sql = |cause| DiskError::Sql { path: path.clone(), cause };
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What is removed makes the files small again.
            .auto_vacuum(SqliteAutoVacuum::Full)
            .pragma("journal_size_limit", "4194304")
            .busy_timeout(Duration::from_secs(5));
        let mut connection = options.connect().await.map_err(sql)?;
        let found: i64 = sqlx::query("PRAGMA user_version")
            .fetch_one(&mut connection)
            .await
            .and_then(|row| row.try_get(0))
            .map_err(sql)?;
        if found > SCHEMA_VERSION {
            return Err(DiskError::Newer { path, found, known: SCHEMA_VERSION });
        }
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.map_err(sql)?;
        if found < 2 {
            sqlx::raw_sql(SCHEMA_2).execute(&mut connection).await.map_err(sql)?;
        }
        if found < 3 {
            sqlx::raw_sql(SCHEMA_3).execute(&mut connection).await.map_err(sql)?;
        }
        if found < 4 {
            sqlx::raw_sql(SCHEMA_4).execute(&mut connection).await.map_err(sql)?;
        }
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        tokio::spawn(run(connection, queue));
        Ok(Self { jobs })
    }

    /// Queues a job now; the future only waits for its end.
    fn queue<T: Send + 'static>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        let queued = self.jobs.try_send(job(reply));
        Box::pin(async move {
            queued.map_err(|_| StoreError::Unavailable("its queue is full".to_owned()))?;
            answer.await.unwrap_or_else(|_| Err(StoreError::Unavailable("it stopped".to_owned())))
        })
    }
}

impl SessionStore for DiskStore {
    fn save(&self, record: SessionRecord) -> Answer<()> {
        self.queue(|reply| Job::Save(Box::new(record), reply))
    }

    fn load(&self, id: SessionId) -> Answer<Option<SessionRecord>> {
        self.queue(|reply| Job::Load(id, reply))
    }

    fn find_lease(&self, key: LeaseKey) -> Answer<Vec<SessionId>> {
        self.queue(|reply| Job::FindLease(key, reply))
    }

    fn list(&self, after: Option<SessionId>, limit: usize) -> Answer<Vec<SessionId>> {
        self.queue(|reply| Job::List(after, limit, reply))
    }

    fn count(&self) -> Answer<usize> {
        self.queue(Job::Count)
    }

    fn count_devices(&self) -> Answer<usize> {
        self.queue(Job::CountDevices)
    }

    fn remove(&self, id: SessionId) -> Answer<()> {
        self.queue(|reply| Job::Remove(id, reply))
    }

    fn check(&self) -> Answer<()> {
        self.queue(Job::Check)
    }
}

/// What is told after the commit: the answer if it succeeded, else the commit's error.
type Told = Box<dyn FnOnce(Option<&StoreError>) + Send>;

async fn run(mut connection: SqliteConnection, mut queue: mpsc::Receiver<Job>) {
    while let Some(first) = queue.recv().await {
        let mut group = vec![first];
        while group.len() < GROUP_MAX
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
        let writes =
            group.iter().any(|job| matches!(job, Job::Save(..) | Job::Remove(..) | Job::Check(..)));
        let begun = if writes { exec(&mut connection, "BEGIN IMMEDIATE").await } else { Ok(()) };
        let mut told = Vec::with_capacity(group.len());
        for job in group {
            told.push(do_job(&mut connection, job, begun.as_ref().err()).await);
        }
        let ended = match (&begun, writes) {
            (Err(e), _) => Err(e.clone()),
            (Ok(()), true) => commit(&mut connection).await,
            (Ok(()), false) => Ok(()),
        };
        for tell in told {
            tell(ended.as_ref().err());
        }
    }
    let _ = connection.close().await;
}

async fn exec(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), StoreError> {
    sqlx::raw_sql(sql).execute(connection).await.map(|_| ()).map_err(unavailable)
}

async fn commit(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let committed = exec(connection, "COMMIT").await;
    if committed.is_err() {
        let _ = exec(connection, "ROLLBACK").await;
    }
    committed
}

async fn do_job(connection: &mut SqliteConnection, job: Job, failed: Option<&StoreError>) -> Told {
    if failed.is_some() {
        return match job {
            Job::Save(_, reply) | Job::Remove(_, reply) | Job::Check(reply) => told(reply, Ok(())),
            Job::Load(_, reply) => told(reply, Ok(None)),
            Job::Count(reply) | Job::CountDevices(reply) => told(reply, Ok(0)),
            Job::FindLease(_, reply) | Job::List(_, _, reply) => told(reply, Ok(Vec::new())),
        };
    }
    match job {
        Job::Save(record, reply) => told(reply, save(connection, &record).await),
        Job::Load(id, reply) => told(reply, row::load(connection, id).await),
        Job::FindLease(key, reply) => told(reply, find_lease(connection, key).await),
        Job::List(after, limit, reply) => told(reply, list(connection, after, limit).await),
        Job::Count(reply) => told(reply, count(connection, SESSIONS).await),
        Job::CountDevices(reply) => told(reply, count(connection, DEVICES).await),
        Job::Remove(id, reply) => told(reply, remove(connection, id).await),
        Job::Check(reply) => told(reply, check(connection).await),
    }
}

fn told<T: Send + 'static>(reply: Reply<T>, result: Result<T, StoreError>) -> Told {
    Box::new(move |failed| {
        let _ = reply.send(match failed {
            Some(error) => Err(error.clone()),
            None => result,
        });
    })
}

/// One save inside the group; its own savepoint, so that an error leaves no half of it.
async fn save(connection: &mut SqliteConnection, record: &SessionRecord) -> Result<(), StoreError> {
    exec(connection, "SAVEPOINT one").await?;
    let saved = row::save(connection, record).await;
    if saved.is_err() {
        let _ = exec(connection, "ROLLBACK TO one").await;
    }
    exec(connection, "RELEASE one").await?;
    match saved {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::Conflict),
        Err(e) => Err(unavailable(e)),
    }
}

async fn find_lease(
    connection: &mut SqliteConnection,
    key: LeaseKey,
) -> Result<Vec<SessionId>, StoreError> {
    let rows = match key {
        LeaseKey::Rendezvous(hash) => {
            sqlx::query("SELECT id FROM sessions WHERE lease_rendezvous_hash=?1")
                .bind(hash.0.to_vec())
                .fetch_all(connection)
                .await
        }
        LeaseKey::Desktop(hash) => {
            sqlx::query("SELECT id FROM sessions WHERE compat_desktop_hash=?1")
                .bind(hash.0.to_vec())
                .fetch_all(connection)
                .await
        }
        LeaseKey::Request(id) => {
            sqlx::query("SELECT id FROM sessions WHERE pairing IS NOT NULL AND instr(pairing, ?1)")
                .bind(id.to_string())
                .fetch_all(connection)
                .await
        }
        LeaseKey::Code { prefix, .. } => {
            sqlx::query("SELECT id FROM sessions WHERE lease_code_prefix=?1")
                .bind(String::from_utf8_lossy(&prefix).into_owned())
                .fetch_all(connection)
                .await
        }
    };
    ids(rows)
}

async fn list(
    connection: &mut SqliteConnection,
    after: Option<SessionId>,
    limit: usize,
) -> Result<Vec<SessionId>, StoreError> {
    const SQL: &str = "SELECT id FROM sessions WHERE ?1 IS NULL OR (created_at, id) >
        (SELECT created_at, id FROM sessions WHERE id=?1) ORDER BY created_at, id LIMIT ?2";
    let rows = sqlx::query(SQL)
        .bind(after.map(|id| id.to_string()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await;
    ids(rows)
}

fn ids(
    rows: Result<Vec<sqlx::sqlite::SqliteRow>, sqlx::Error>,
) -> Result<Vec<SessionId>, StoreError> {
    let rows = rows.map_err(unavailable)?;
    rows.iter()
        .map(|row| {
            let text: String = row.try_get(0).map_err(unavailable)?;
            text.parse().map_err(|_| StoreError::Damaged("malformed id".to_owned()))
        })
        .collect()
}

const SESSIONS: &str = "SELECT COUNT(*) FROM sessions";
const DEVICES: &str = "SELECT COUNT(*) FROM devices WHERE revoked_at IS NULL";

async fn count(connection: &mut SqliteConnection, what: &'static str) -> Result<usize, StoreError> {
    let row = sqlx::query(what).fetch_one(connection).await;
    let count: i64 = row.and_then(|row| row.try_get(0)).map_err(unavailable)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

async fn remove(connection: &mut SqliteConnection, id: SessionId) -> Result<(), StoreError> {
    for sql in ["DELETE FROM devices WHERE session=?1", "DELETE FROM sessions WHERE id=?1"] {
        sqlx::query(sql)
            .bind(id.to_string())
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
    }
    Ok(())
}

/// A write that needs room as a session does.
async fn check(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    exec(connection, PROBE).await
}

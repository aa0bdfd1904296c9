//! Sessions as rows that a person can read with `sqlite3`.

use std::str::FromStr;

use belay_core::{
    CompatRecord, DeviceRecord, HostRecord, LeaseRecord, Lineage, PairingRecord, SecretHash,
    SessionRecord, TokenState, Unknown, ports::StoreError,
};
use belay_wire::{PublicKey, SessionId, pair::DeviceInfo};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

/// Schema of version [`SCHEMA_VERSION`].
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, created_at INTEGER NOT NULL,
  host_name TEXT NOT NULL, host_platform TEXT NOT NULL, host_sign TEXT NOT NULL,
  host_agree TEXT NOT NULL, host_generation INTEGER NOT NULL, host_nonce_hash BLOB NOT NULL,
  host_committed_at INTEGER NOT NULL, host_seen_at INTEGER NOT NULL,
  lease_rendezvous_hash BLOB, lease_code_hash BLOB, lease_code_prefix TEXT,
  lease_expires_at INTEGER, lease_tries INTEGER, lease_taken INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_rendezvous ON sessions(lease_rendezvous_hash);
CREATE INDEX IF NOT EXISTS sessions_code ON sessions(lease_code_prefix);
CREATE INDEX IF NOT EXISTS sessions_created ON sessions(created_at, id);
CREATE TABLE IF NOT EXISTS devices (
  session TEXT NOT NULL, place INTEGER NOT NULL, member TEXT NOT NULL, name TEXT NOT NULL,
  platform TEXT NOT NULL, sign TEXT, agree TEXT, generation INTEGER NOT NULL,
  nonce_hash BLOB NOT NULL, committed_at INTEGER NOT NULL, added_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL, revoked_at INTEGER, PRIMARY KEY (session, place)
) STRICT, WITHOUT ROWID;
";

/// What version 2 added: sessions of the compat protocol, whose hosts have no key (empty texts).
pub(super) const SCHEMA_2: &str = "
BEGIN;
ALTER TABLE sessions ADD COLUMN compat_session_id TEXT;
ALTER TABLE sessions ADD COLUMN compat_desktop_hash BLOB;
ALTER TABLE sessions ADD COLUMN compat_join_hash BLOB;
ALTER TABLE sessions ADD COLUMN compat_join_expires_at INTEGER;
ALTER TABLE sessions ADD COLUMN compat_join_used INTEGER;
ALTER TABLE sessions ADD COLUMN compat_ws_url TEXT;
ALTER TABLE sessions ADD COLUMN compat_idle_secs INTEGER;
ALTER TABLE sessions ADD COLUMN compat_active_at INTEGER;
CREATE INDEX sessions_desktop ON sessions(compat_desktop_hash);
PRAGMA user_version = 2;
COMMIT;
";

/// What version 3 added: commands that their device has not heard the end of, as JSON; and a place for what
/// the check writes.
pub(super) const SCHEMA_3: &str = "
BEGIN;
ALTER TABLE devices ADD COLUMN lost TEXT;
CREATE TABLE probe (id INTEGER PRIMARY KEY, filler BLOB NOT NULL) STRICT;
PRAGMA user_version = 3;
COMMIT;
";

/// What version 4 added: pair requests as JSON, and why a device was revoked.
pub(super) const SCHEMA_4: &str = "
BEGIN;
ALTER TABLE sessions ADD COLUMN pairing TEXT;
ALTER TABLE devices ADD COLUMN revoked_because TEXT;
CREATE INDEX sessions_pairing ON sessions(id) WHERE pairing IS NOT NULL;
PRAGMA user_version = 4;
COMMIT;
";

/// Kept in SQLite's `user_version`.
pub(super) const SCHEMA_VERSION: i64 = 4;

/// Writes about as much as a session needs: where this fits, a session does.
pub(super) const PROBE: &str = "INSERT OR REPLACE INTO probe VALUES (1, randomblob(40960))";

fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(what.to_string())
}

pub(super) fn unavailable(e: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(e.to_string())
}

/// Writes the next version; `false` if another version is stored.
pub(super) async fn save(
    connection: &mut SqliteConnection,
    record: &SessionRecord,
) -> Result<bool, sqlx::Error> {
    const INSERT: &str = "INSERT OR IGNORE INTO sessions VALUES
        (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,
         ?18,?19,?20,?21,?22,?23,?24,?25,?26)";
    const UPDATE: &str = "UPDATE sessions SET version=?2, created_at=?3, host_name=?4,
        host_platform=?5, host_sign=?6, host_agree=?7, host_generation=?8, host_nonce_hash=?9,
        host_committed_at=?10, host_seen_at=?11, lease_rendezvous_hash=?12, lease_code_hash=?13,
        lease_code_prefix=?14, lease_expires_at=?15, lease_tries=?16, lease_taken=?17,
        compat_session_id=?18, compat_desktop_hash=?19, compat_join_hash=?20,
        compat_join_expires_at=?21, compat_join_used=?22, compat_ws_url=?23,
        compat_idle_secs=?24, compat_active_at=?25, pairing=?26
        WHERE id=?1 AND version=?27";
    let Some(before) = record.replaces() else { return Ok(false) };
    let (host, lease) = (&record.host, record.lease.as_ref());
    let compat = record.compat.as_ref();
    let prefix = lease.map(|l| String::from_utf8_lossy(&l.code_prefix).into_owned());
    let query = sqlx::query(if before == 0 { INSERT } else { UPDATE })
        .bind(record.id.to_string())
        .bind(int(record.version))
        .bind(int(record.created_at))
        .bind(&host.name)
        .bind(&host.platform)
        .bind(host.key.map_or(String::new(), |k| k.sign.to_string()))
        .bind(host.key.map_or(String::new(), |k| k.agree.to_string()))
        .bind(int(host.token.generation))
        .bind(host.token.nonce.0.to_vec())
        .bind(int(host.token.committed_at))
        .bind(int(host.seen_at))
        .bind(lease.map(|l| l.rendezvous.0.to_vec()))
        .bind(lease.map(|l| l.code.0.to_vec()))
        .bind(prefix)
        .bind(lease.map(|l| int(l.expires_at)))
        .bind(lease.map(|l| i64::from(l.tries)))
        .bind(lease.map(|l| i64::from(l.taken)))
        .bind(compat.map(|c| c.session_id.clone()))
        .bind(compat.map(|c| c.desktop_token.0.to_vec()))
        .bind(compat.map(|c| c.join_token.0.to_vec()))
        .bind(compat.map(|c| int(c.join_expires_at)))
        .bind(compat.map(|c| i64::from(c.join_used)))
        .bind(compat.map(|c| c.ws_url.clone()))
        .bind(compat.map(|c| int(c.idle_secs)))
        .bind(compat.map(|c| int(c.active_at)))
        .bind(pairing_as_text(record));
    let query = if before == 0 { query } else { query.bind(int(before)) };
    let changed = query.execute(&mut *connection).await?.rows_affected();
    if changed == 0 {
        return Ok(false);
    }
    save_devices(connection, record).await?;
    Ok(true)
}

async fn save_devices(
    connection: &mut SqliteConnection,
    record: &SessionRecord,
) -> Result<(), sqlx::Error> {
    let id = record.id.to_string();
    sqlx::query("DELETE FROM devices WHERE session=?1").bind(&id).execute(&mut *connection).await?;
    for (place, device) in record.devices.iter().enumerate() {
        sqlx::query(
            "INSERT INTO devices VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)",
        )
        .bind(&id)
        .bind(i64::try_from(place).unwrap_or(i64::MAX))
        .bind(device.member.to_string())
        .bind(&device.info.name)
        .bind(&device.info.platform)
        .bind(device.key.map(|k| k.sign.to_string()))
        .bind(device.key.map(|k| k.agree.to_string()))
        .bind(int(device.token.generation))
        .bind(device.token.nonce.0.to_vec())
        .bind(int(device.token.committed_at))
        .bind(int(device.added_at))
        .bind(int(device.seen_at))
        .bind(device.revoked_at.map(int))
        .bind(lost_as_text(device))
        .bind(&device.revoked_because)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn pairing_as_text(record: &SessionRecord) -> Option<String> {
    let text = || serde_json::to_string(&record.pairing).unwrap_or_default();
    (!record.pairing.is_empty()).then(text)
}

fn lost_as_text(device: &DeviceRecord) -> Option<String> {
    let text = || serde_json::to_string(&device.lost).unwrap_or_default();
    (!device.lost.is_empty()).then(text)
}

/// Reads a session.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    id: SessionId,
) -> Result<Option<SessionRecord>, StoreError> {
    let row = sqlx::query("SELECT * FROM sessions WHERE id=?1")
        .bind(id.to_string())
        .fetch_optional(&mut *connection)
        .await
        .map_err(unavailable)?;
    let Some(row) = row else { return Ok(None) };
    let devices = sqlx::query("SELECT * FROM devices WHERE session=?1 ORDER BY place")
        .bind(id.to_string())
        .fetch_all(&mut *connection)
        .await
        .map_err(unavailable)?;
    let devices = devices.iter().map(device).collect::<Result<_, _>>()?;
    Ok(Some(SessionRecord {
        id,
        version: uint(&row, "version")?,
        // One node needs none: nobody else takes the place of what a restored file lost.
        lineage: Lineage::default(),
        created_at: uint(&row, "created_at")?,
        host: HostRecord {
            name: get(&row, "host_name")?,
            platform: get(&row, "host_platform")?,
            key: host_key(&row)?,
            token: TokenState {
                generation: uint(&row, "host_generation")?,
                nonce: hash(&row, "host_nonce_hash")?,
                committed_at: uint(&row, "host_committed_at")?,
            },
            seen_at: uint(&row, "host_seen_at")?,
        },
        devices,
        lease: lease(&row)?,
        compat: compat(&row)?,
        pairing: get::<Option<String>>(&row, "pairing")?
            .map_or(Ok(PairingRecord::default()), |text| serde_json::from_str(&text))
            .map_err(damaged)?,
        unknown: Unknown::new(),
    }))
}

fn host_key(row: &SqliteRow) -> Result<Option<PublicKey>, StoreError> {
    let sign: String = get(row, "host_sign")?;
    if sign.is_empty() {
        return Ok(None);
    }
    Ok(Some(PublicKey { sign: text(row, "host_sign")?, agree: text(row, "host_agree")? }))
}

fn compat(row: &SqliteRow) -> Result<Option<CompatRecord>, StoreError> {
    let Some(session_id) = get::<Option<String>>(row, "compat_session_id")? else {
        return Ok(None);
    };
    Ok(Some(CompatRecord {
        session_id,
        desktop_token: hash(row, "compat_desktop_hash")?,
        join_token: hash(row, "compat_join_hash")?,
        join_expires_at: uint(row, "compat_join_expires_at")?,
        join_used: uint(row, "compat_join_used")? != 0,
        ws_url: get(row, "compat_ws_url")?,
        idle_secs: uint(row, "compat_idle_secs")?,
        active_at: uint(row, "compat_active_at")?,
        supports: None,
    }))
}

fn device(row: &SqliteRow) -> Result<DeviceRecord, StoreError> {
    let sign: Option<String> = get(row, "sign")?;
    let key = match sign {
        Some(_) => Some(PublicKey { sign: text(row, "sign")?, agree: text(row, "agree")? }),
        None => None,
    };
    let revoked_at: Option<i64> = get(row, "revoked_at")?;
    let lost: Option<String> = get(row, "lost")?;
    Ok(DeviceRecord {
        member: text(row, "member")?,
        info: DeviceInfo { name: get(row, "name")?, platform: get(row, "platform")? },
        key,
        token: TokenState {
            generation: uint(row, "generation")?,
            nonce: hash(row, "nonce_hash")?,
            committed_at: uint(row, "committed_at")?,
        },
        added_at: uint(row, "added_at")?,
        seen_at: uint(row, "seen_at")?,
        revoked_at: revoked_at.and_then(|at| u64::try_from(at).ok()),
        revoked_because: get(row, "revoked_because")?,
        unknown: Unknown::new(),
        lost: lost.map_or(Ok(Vec::new()), |text| serde_json::from_str(&text)).map_err(damaged)?,
    })
}

fn lease(row: &SqliteRow) -> Result<Option<LeaseRecord>, StoreError> {
    let present: Option<Vec<u8>> = get(row, "lease_rendezvous_hash")?;
    if present.is_none() {
        return Ok(None);
    }
    let prefix: String = get(row, "lease_code_prefix")?;
    Ok(Some(LeaseRecord {
        rendezvous: hash(row, "lease_rendezvous_hash")?,
        code: hash(row, "lease_code_hash")?,
        code_prefix: prefix.as_bytes().try_into().map_err(|_| damaged("lease_code_prefix"))?,
        expires_at: uint(row, "lease_expires_at")?,
        tries: u32::try_from(uint(row, "lease_tries")?).unwrap_or(u32::MAX),
        taken: uint(row, "lease_taken")? != 0,
    }))
}

fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(damaged)
}

fn uint(row: &SqliteRow, column: &str) -> Result<u64, StoreError> {
    let n: i64 = get(row, column)?;
    u64::try_from(n).map_err(|_| damaged(format!("negative {column}")))
}

fn text<T: FromStr>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    let text: String = get(row, column)?;
    text.parse().map_err(|_| damaged(format!("malformed {column}")))
}

fn hash(row: &SqliteRow, column: &str) -> Result<SecretHash, StoreError> {
    let bytes: Vec<u8> = get(row, column)?;
    let bytes = bytes.try_into().map_err(|_| damaged(format!("length of {column}")))?;
    Ok(SecretHash(bytes))
}

//! The tables of the catalog, and what differs between the databases that can hold them.

/// Statements of one database.
pub(super) struct Dialect {
    /// What every new connection sets for itself.
    pub(super) settle: &'static str,
    /// 1 if there is a table with the version.
    pub(super) is_made: &'static str,
    /// Begins a transaction that no other node that makes tables is in.
    pub(super) begin: &'static str,
    /// One text for each version, from the first on.
    pub(super) steps: &'static [&'static str],
    /// Adds a device (`$1`, by node `$2`) unless it is there. Whoever sees its number sees all smaller
    /// ones: they are given while no other add runs.
    pub(super) add: &'static str,
}

/// Makes the place of the version.
pub(super) const MAKE_VERSION: &str =
    "CREATE TABLE IF NOT EXISTS belay_schema (version BIGINT NOT NULL)";
/// Reads the version; no row: 0.
pub(super) const VERSION: &str = "SELECT version FROM belay_schema ORDER BY version DESC LIMIT 1";
/// Replaces it by `$1`.
pub(super) const FORGET_VERSION: &str = "DELETE FROM belay_schema";
pub(super) const SET_VERSION: &str = "INSERT INTO belay_schema (version) VALUES ($1)";

/// At most `$2` rows from `$1` on.
pub(super) const SINCE: &str =
    "SELECT seq, member FROM revoked_devices WHERE seq >= $1 ORDER BY seq LIMIT $2";

pub(super) const POSTGRES: Dialect = Dialect {
    // A statement of a node that has given up ends, also while it waits for a lock. A server that
    // answers before it wrote would break what `add` promises.
    settle: "SET statement_timeout = 900;
        SELECT set_config('synchronous_commit', 'on', false)
          WHERE current_setting('synchronous_commit') = 'off'",
    is_made: "SELECT COUNT(*) FROM (SELECT 1 WHERE to_regclass('belay_schema') IS NOT NULL) AS made",
    begin: "BEGIN; SELECT pg_advisory_xact_lock(7811880301)",
    steps: &["CREATE TABLE revoked_devices (
        member TEXT PRIMARY KEY,
        revoked_at BIGINT NOT NULL,
        node TEXT NOT NULL,
        seq BIGINT GENERATED ALWAYS AS IDENTITY UNIQUE
      )"],
    // The lock is taken before the row gets its number, and given back after others can see the row.
    add: "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(7811880302))
        INSERT INTO revoked_devices (member, revoked_at, node)
        SELECT $1, (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT, $2 FROM held
        ON CONFLICT (member) DO NOTHING",
};

pub(super) const SQLITE: Dialect = Dialect {
    settle: "SELECT 1",
    is_made: "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'belay_schema'",
    begin: "BEGIN IMMEDIATE",
    steps: &["CREATE TABLE revoked_devices (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        member TEXT NOT NULL UNIQUE,
        revoked_at INTEGER NOT NULL,
        node TEXT NOT NULL
      ) STRICT"],
    // One process writes at a time.
    add: "INSERT INTO revoked_devices (member, revoked_at, node)
        VALUES ($1, CAST(unixepoch('subsec') * 1000 AS INTEGER), $2)
        ON CONFLICT (member) DO NOTHING",
};

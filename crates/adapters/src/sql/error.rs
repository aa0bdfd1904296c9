//! What goes wrong with the catalog, in words.

use belay_core::ports::StoreError;

/// Why the catalog cannot be used. No text of it holds a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SqlError {
    /// The address cannot be read.
    #[error("the address of the catalog cannot be used: {0}")]
    Address(String),
    /// Nobody answers there, or not in time.
    #[error(
        "the catalog at {address} cannot be reached: {cause}; check that the database runs and that --catalog names it"
    )]
    Unreachable { address: String, cause: String },
    /// It answers, and does not do it.
    #[error(
        "the catalog at {address} refused: {cause}; check user, password and database in the URL (or the file and its folder), and that the user may make tables"
    )]
    Refused { address: String, cause: String },
    /// A newer version of belay made its tables.
    #[error(
        "the catalog at {address} was written by a newer version of belay (schema {found}, this one knows {known}); use that version"
    )]
    Newer { address: String, found: i64, known: i64 },
}

impl SqlError {
    /// Says what a database said.
    pub(super) fn of(address: &str, cause: &sqlx::Error) -> Self {
        let (address, text) = (address.to_owned(), cause.to_string());
        if matches!(cause, sqlx::Error::Database(_)) && !passes(cause) {
            Self::Refused { address, cause: text }
        } else {
            Self::Unreachable { address, cause: text }
        }
    }
}

impl From<SqlError> for StoreError {
    fn from(error: SqlError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What PostgreSQL says of a lost connection, no more connections, its end or start, a time limit, giving
/// way to another transaction, a lock that was not had, and of being a standby now; codes that begin so.
const POSTGRES_PASSES: [&str; 7] = ["08", "53300", "57P", "57014", "40", "55P03", "25006"];
/// What SQLite says, in the last byte of its code, while another process writes.
const SQLITE_PASSES: [u32; 2] = [5, 6];

/// Tells whether it may go well in a moment, over another connection.
pub(super) fn passes(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(said) = error else {
        return !matches!(error, sqlx::Error::Configuration(_) | sqlx::Error::Tls(_));
    };
    let code = said.code().unwrap_or_default();
    if said.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return code.parse().is_ok_and(|code: u32| SQLITE_PASSES.contains(&(code & 0xff)));
    }
    POSTGRES_PASSES.iter().any(|begin| code.starts_with(begin))
}

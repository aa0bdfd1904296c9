//! Addresses of the catalog.

use std::{fmt, time::Duration};

use sqlx::{
    ConnectOptions,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use url::Url;

use super::SqlError;

/// How long SQLite waits while another process writes.
const BUSY_TIMEOUT: Duration = Duration::from_millis(900);

/// Where the catalog is. Its `Display` names places, never a password.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) place: Place,
    shown: String,
}

#[derive(Clone)]
pub(super) enum Place {
    Postgres(Box<PgConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Address {
    /// Reads `postgres://…`, `postgresql://…` or `sqlite:<file>`.
    ///
    /// # Errors
    /// [`SqlError::Address`], without the URL, which may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, SqlError> {
        match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => postgres(url),
            Some(("sqlite", file)) => sqlite(file),
            Some((other, _)) if other.chars().all(|c| c.is_ascii_alphanumeric()) => {
                refused(&format!("\"{other}\" is not one of postgres and sqlite"))
            }
            _ => refused("it has no scheme; give postgres://USER@HOST/DATABASE or sqlite:FILE"),
        }
    }
}

fn refused<T>(why: &str) -> Result<T, SqlError> {
    Err(SqlError::Address(why.to_owned()))
}

fn postgres(text: &str) -> Result<Address, SqlError> {
    // The details of these errors can quote the URL.
    let Ok(url) = Url::parse(text) else {
        return refused(
            "it is not a URL; characters like / # @ and : in a password are written as %2F %23 %40 %3A",
        );
    };
    // A slash in a password cuts the URL there: what follows would be shown as its database.
    if url.path().contains('@') || url.fragment().is_some() {
        return refused(
            "an @ or # stands behind the host; in a password they are written as %40 and %23, and / as %2F",
        );
    }
    let Ok(options) = PgConnectOptions::from_url(&url) else {
        return refused("one of its parameters cannot be read");
    };
    let at = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let shown = format!("postgres://{}@{at}/{database}", options.get_username());
    let options = options.application_name("belay").disable_statement_logging();
    Ok(Address { place: Place::Postgres(Box::new(options)), shown })
}

fn sqlite(file: &str) -> Result<Address, SqlError> {
    let file = file.strip_prefix("//").unwrap_or(file);
    if file.is_empty() || file.starts_with(':') {
        return refused("sqlite: names no file");
    }
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    Ok(Address { place: Place::Sqlite(Box::new(options)), shown: format!("sqlite:{file}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_address_holds_no_password() {
        for url in [
            "postgres://ana:planted@db.example.org:5433/belay?sslmode=require",
            "postgresql://ana@db.example.org:5433/belay?password=planted&sslmode=prefer",
        ] {
            let address = Address::parse(url).expect("an address");
            assert_eq!(address.to_string(), "postgres://ana@db.example.org:5433/belay");
            assert!(!format!("{address:?}").contains("planted"));
        }
        assert_eq!(Address::parse("sqlite:/a/b").expect("an address").to_string(), "sqlite:/a/b");
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for url in [
            "",
            "/planted/file",
            "planted@host",
            "mysql://ana:planted@host/db",
            "postgres://ana:pl/planted@host/db",
            "postgres://ana:1/planted@host/db",
            "postgres://ana:1#planted@host/db",
            "postgres://ana:planted@host:port/db",
            "postgres://ana:planted@host/db?sslmode=planted",
            "sqlite:",
            "sqlite::memory:",
        ] {
            let error = Address::parse(url).expect_err(url).to_string();
            assert!(!error.contains("planted"), "{error}");
            assert!(error.len() > 60, "{error}");
        }
    }
}

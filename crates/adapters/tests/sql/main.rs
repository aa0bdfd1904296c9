//! The catalog's revocations on a real PostgreSQL and on SQLite.

mod faults;
mod nodes;
mod tls;

use std::{path::Path, sync::Arc, time::Duration};

use belay_adapters::{SqlError, SqlRevocations};
use belay_core::ports::{Revocations, contract};
use belay_servers::Postgres;
use belay_wire::MemberId;
use tokio::time::Instant;

/// How long anything may take before a test fails.
const SOON: Duration = Duration::from_secs(20);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary folder")
}

fn postgres(folder: &Path) -> Postgres {
    Postgres::start(&folder.join("postgres")).expect("PostgreSQL")
}

fn sqlite(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("catalog.db").display())
}

async fn open(url: &str, node: &str) -> SqlRevocations {
    SqlRevocations::open(url, node).await.expect("opens")
}

fn member(n: u32) -> MemberId {
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    MemberId::from_bytes(bytes)
}

/// Waits for something, and tells how long it took.
async fn until(what: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < SOON, "it did not happen in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn both_databases_keep_the_contract_also_when_opened_again() {
    let folder = folder();
    let server = postgres(folder.path());
    for url in [server.url(), sqlite(folder.path())] {
        contract::revocations(Arc::new(open(&url, "n1").await)).await;

        let again = open(&url, "n2").await;
        assert!(again.contains(MemberId::from_bytes([1; 16])));
        let state = again.state();
        assert_eq!((state.revoked, state.restored, state.unreadable), (1, 0, 0));
        assert!(state.fault.is_none() && state.age < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_with_its_address_and_what_to_do() {
    let url = format!(
        "postgres://ana:planted@127.0.0.1:{}/belay",
        belay_servers::free_port().expect("a port")
    );

    let error = SqlRevocations::open(&url, "n1").await.expect_err("nobody listens");

    let text = error.to_string();
    assert!(matches!(error, SqlError::Unreachable { .. }), "{error:?}");
    assert!(!text.contains("planted") && !format!("{error:?}").contains("planted"), "{error:?}");
    assert!(text.contains("postgres://ana@127.0.0.1:") && text.contains("--catalog"), "{text}");
}

#[tokio::test]
async fn what_the_database_refuses_is_told_at_once() {
    let folder = folder();
    let server = postgres(folder.path());
    let began = Instant::now();
    let error = SqlRevocations::open(&server.url().replace("/postgres", "/absent"), "n1").await;
    let error = error.expect_err("no such database");
    assert!(matches!(error, SqlError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("\"absent\" does not exist"), "{error}");
    let missing = format!("sqlite:{}", folder.path().join("absent/catalog.db").display());
    let error = SqlRevocations::open(&missing, "n1").await.expect_err("no such folder");
    assert!(matches!(error, SqlError::Refused { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused_and_left_alone() {
    use sqlx::Connection;
    let folder = folder();
    let server = postgres(folder.path());
    for url in [server.url(), sqlite(folder.path())] {
        drop(open(&url, "n1").await);
        let newer = "UPDATE belay_schema SET version = 99";
        if url.starts_with("sqlite") {
            let mut c = sqlx::SqliteConnection::connect(&url).await.expect("connects");
            sqlx::raw_sql(newer).execute(&mut c).await.expect("written");
        } else {
            let mut c = sqlx::PgConnection::connect(&url).await.expect("connects");
            sqlx::raw_sql(newer).execute(&mut c).await.expect("written");
        }

        let error = SqlRevocations::open(&url, "n1").await.expect_err("newer");

        assert!(matches!(error, SqlError::Newer { found: 99, known: 1, .. }), "{error:?}");
        assert!(error.to_string().contains("newer version of belay"), "{error}");
    }
}

//! Several nodes on one catalog.

use std::time::Duration;

use belay_adapters::SqlRevocations;
use belay_core::ports::Revocations;
use sqlx::Connection;

use crate::{folder, member, open, postgres, sqlite, until};

/// The copy of another node is promised to be behind a second at most; other tests share the processors.
const BOUND: Duration = Duration::from_secs(3);

#[tokio::test]
async fn what_one_node_revokes_the_other_knows_within_a_second() {
    let folder = folder();
    let server = postgres(folder.path());
    for url in [server.url(), sqlite(folder.path())] {
        let (one, two) = (open(&url, "n1").await, open(&url, "n2").await);
        for n in 0..5 {
            let (from, to) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
            from.add(member(n)).await.expect("added");
            assert!(from.contains(member(n)), "the node itself knows at once");

            let took = until(|| to.contains(member(n))).await;

            assert!(took < BOUND, "{url}: {took:?}");
            assert!(to.age() < BOUND, "{url}: {:?}", to.age());
        }
    }
}

#[tokio::test]
async fn nodes_that_start_at_once_make_the_tables_once_and_miss_nothing_of_each_other() {
    let folder = folder();
    let server = postgres(folder.path());
    for url in [server.url(), sqlite(folder.path())] {
        let mut starting = tokio::task::JoinSet::new();
        for n in 0..8 {
            let url = url.clone();
            starting.spawn(async move { SqlRevocations::open(&url, &format!("n{n}")).await });
        }
        let started = starting.join_all().await.into_iter().map(|node| node.expect("opens"));
        let nodes: Vec<_> = started.collect();

        let mut adding = tokio::task::JoinSet::new();
        for n in 0..40 {
            let node = nodes[n as usize % nodes.len()].clone();
            adding.spawn(async move { node.add(member(n)).await });
        }
        let failed: Vec<_> = adding.join_all().await.into_iter().filter_map(Result::err).collect();
        assert!(failed.is_empty(), "{url}: {failed:?}");

        let took = until(|| nodes.iter().all(|node| node.state().revoked == 40)).await;
        assert!(took < BOUND, "{url}: {took:?}");
    }
}

#[tokio::test]
async fn more_than_a_page_is_read_and_texts_that_are_no_device_are_counted() {
    let folder = folder();
    let server = postgres(folder.path());
    drop(open(&server.url(), "n1").await);
    let mut hand = sqlx::PgConnection::connect(&server.url()).await.expect("connects");
    // 22 characters of base64url; the last has spare bits, which must be zero.
    let rows = "INSERT INTO revoked_devices (member, revoked_at, node)
        SELECT lpad(n::TEXT, 21, '0') || 'A', 0, 'hand' FROM generate_series(1, 12000) AS n";
    sqlx::raw_sql(rows).execute(&mut hand).await.expect("written");
    let node = open(&server.url(), "n1").await;
    assert_eq!(node.state().revoked, 12_000);

    let more = "INSERT INTO revoked_devices (member, revoked_at, node)
        VALUES ('nobody', 0, 'hand'), ('000000000000000x00000A', 0, 'hand')";
    sqlx::raw_sql(more).execute(&mut hand).await.expect("written");

    until(|| node.state().revoked == 12_001).await;
    assert_eq!(node.state().unreadable, 1);
}

#[tokio::test]
async fn an_addition_gets_its_number_only_when_no_other_is_under_way() {
    let folder = folder();
    let server = postgres(folder.path());
    let node = open(&server.url(), "n1").await;
    let mut other = sqlx::PgConnection::connect(&server.url()).await.expect("connects");
    let half = "BEGIN; SELECT pg_advisory_xact_lock(7811880302);
        INSERT INTO revoked_devices (member, revoked_at, node) VALUES ('half', 0, 'n2')";
    sqlx::raw_sql(half).execute(&mut other).await.expect("written");
    let adding = tokio::spawn(node.add(member(1)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!adding.is_finished(), "it waits");

    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("committed");

    adding.await.expect("no panic").expect("added");
    let order = "SELECT string_agg(member, ' ' ORDER BY seq) FROM revoked_devices";
    let order: String = sqlx::query_scalar(order).fetch_one(&mut other).await.expect("read");
    assert_eq!(order, format!("half {}", member(1)));
}

#[tokio::test]
async fn a_database_that_went_back_is_given_again_what_it_lost() {
    let folder = folder();
    let server = postgres(folder.path());
    let (one, two) = (open(&server.url(), "n1").await, open(&server.url(), "n2").await);
    for n in 0..20 {
        one.add(member(n)).await.expect("added");
    }
    until(|| two.state().revoked == 20).await;
    drop(one);
    let mut hand = sqlx::PgConnection::connect(&server.url()).await.expect("connects");
    // As after a restore of an older copy: numbers are given again, to others.
    let back = "DELETE FROM revoked_devices WHERE seq > 8;
        ALTER TABLE revoked_devices ALTER COLUMN seq RESTART WITH 9;
        INSERT INTO revoked_devices (member, revoked_at, node)
          SELECT lpad(n::TEXT, 21, '0') || 'A', 0, 'hand' FROM generate_series(1, 12) AS n";
    sqlx::raw_sql(back).execute(&mut hand).await.expect("written");

    until(|| two.state().restored == 12).await;

    let fresh = open(&server.url(), "n3").await;
    assert!((0..20).all(|n| fresh.contains(member(n))));
    assert_eq!(fresh.state().revoked, 32);
    until(|| two.state().revoked == 32).await;
}

#[tokio::test]
async fn a_database_that_was_made_anew_is_given_everything_again() {
    let folder = folder();
    let server = postgres(folder.path());
    let (one, two) = (open(&server.url(), "n1").await, open(&server.url(), "n2").await);
    for n in 0..500 {
        one.add(member(n)).await.expect("added");
    }
    until(|| two.state().revoked == 500).await;
    let mut hand = sqlx::PgConnection::connect(&server.url()).await.expect("connects");
    let gone = "DROP TABLE belay_schema; DROP TABLE revoked_devices";
    sqlx::raw_sql(gone).execute(&mut hand).await.expect("dropped");

    until(|| one.state().restored + two.state().restored == 500).await;

    let fresh = open(&server.url(), "n3").await;
    assert!((0..500).all(|n| fresh.contains(member(n))));
    until(|| one.state().fault.is_none() && two.state().fault.is_none()).await;
    one.add(member(500)).await.expect("added");
}

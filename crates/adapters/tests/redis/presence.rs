//! Seats and lives of nodes, as they stand in Redis.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use belay_core::{
    ports::{Presence, Seat, SessionStore, contract},
    token::Principal,
};
use belay_wire::ConnectionId;

use crate::{server, store};

fn seat() -> Seat {
    Seat {
        principal: Principal::Host,
        connection: ConnectionId::from_bytes([1; 16]),
        node: "n1".to_owned(),
        generation: 0,
        instance: "i\"1".to_owned(),
        attempt: u64::MAX,
    }
}

fn unix_ms() -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(unix.as_millis()).expect("small")
}

#[tokio::test]
async fn each_change_of_seats_is_a_new_version_and_a_save_keeps_it() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let mut record = contract::sample(1, *b"AAA");
    let version = async || store.versions(vec![record.id]).await.expect("readable")[0];
    store.save(record.clone()).await.expect("stored");
    let first = version().await;

    let generation = store.sit(record.id, seat()).await.expect("seated");
    let second = version().await;
    store.leave(record.id, Principal::Host, generation).await.expect("left");
    let third = version().await;

    assert!(
        first.seats < second.seats && second.seats < third.seats,
        "{first:?} {second:?} {third:?}"
    );
    assert_eq!((first.record, third.record), (1, 1));
    record.version = 2;
    store.save(record.clone()).await.expect("stored");
    let after = store.versions(vec![record.id]).await.expect("readable")[0];
    assert_eq!((after.record, after.seats), (2, third.seats));
}

#[tokio::test]
async fn generations_stay_above_those_of_a_store_that_went_back() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let id = contract::sample(1, *b"AAA").id;
    let before = store.sit(id, seat()).await.expect("seated");
    assert!(before.abs_diff(unix_ms()) < 60_000, "{before}");

    redis.cli(&["FLUSHALL"]).expect("flushed");
    std::thread::sleep(Duration::from_millis(5));

    let after = store.sit(id, seat()).await.expect("seated");
    assert!(after > before, "{after} > {before}");
    let text = format!("0 {}", unix_ms() + 3_600_000);
    redis.cli(&["SET", &format!("test:{{{id}}}:version"), &text]).expect("written");
    let ahead = store.sit(id, seat()).await.expect("seated");
    assert!(ahead > unix_ms() + 3_000_000, "also of one whose clock was ahead: {ahead}");
}

#[tokio::test]
async fn seats_of_a_session_that_is_gone_end_by_themselves() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let record = contract::sample(1, *b"AAA");
    let ttl = |what: &str| {
        let key = format!("test:{{{}}}:{what}", record.id);
        redis.cli(&["TTL", &key]).expect("readable").parse::<i64>().expect("a number")
    };
    let generation = store.sit(record.id, seat()).await.expect("seated");
    assert!(ttl("seats") > 0 && ttl("version") > 0);
    store.leave(record.id, Principal::Host, generation).await.expect("left");
    assert!(ttl("version") > 0, "leaving does not make it last");
    store.sit(record.id, seat()).await.expect("seated");

    store.save(record.clone()).await.expect("stored");
    assert_eq!((ttl("seats"), ttl("version"), ttl("record")), (-1, -1, -1));
    store.sit(record.id, seat()).await.expect("seated");
    assert_eq!((ttl("seats"), ttl("version")), (-1, -1));

    let seats = store.seats(record.id).await.expect("readable");
    assert_eq!((seats[0].instance.as_str(), seats[0].attempt), ("i\"1", u64::MAX));
    store.remove(record.id).await.expect("removed");
    assert_eq!(store.seats(record.id).await.expect("readable"), []);
    assert_eq!(ttl("version"), -2, "nothing is left");
}

#[tokio::test]
async fn lives_that_ended_long_ago_are_forgotten() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let ended = |before: u64| (unix_ms() - before).to_string();
    redis
        .cli(&["ZADD", "test:nodes", &ended(90_000), "old", &ended(10_000), "newer"])
        .expect("written");

    let alive = store.renew("n1".to_owned(), Duration::from_secs(9)).await.expect("renewed");

    assert_eq!(alive.nodes, ["n1"]);
    assert!(alive.now_ms.abs_diff(unix_ms()) < 60_000);
    assert_eq!(redis.cli(&["ZRANGE", "test:nodes", "0", "9"]).expect("readable"), "newer\nn1");
}

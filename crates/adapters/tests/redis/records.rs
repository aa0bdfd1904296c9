//! What stands in Redis, and what else may stand there.

use std::{sync::Arc, time::Duration};

use belay_core::{
    ports::{Leases, Limits, Presence, SessionStore, StoreError, contract},
    session::LeaseKey,
};
use belay_servers::Redis;
use serde_json::{Value, json};

use crate::{server, store};

fn key(n: u8, what: &str) -> String {
    format!("test:{{{}}}:{what}", contract::sample(n, *b"AAA").id)
}

fn get(redis: &Redis, key: &str) -> String {
    redis.cli(&["GET", key]).expect("readable")
}

#[tokio::test]
async fn a_record_of_a_newer_version_is_left_as_it_is() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let record = contract::sample(1, *b"AAA");
    let newer = r#"{"v":2,"something":"else"}"#;
    redis.cli(&["SET", &key(1, "record"), newer]).expect("written");

    let refused = store.load(record.id).await.expect_err("newer");
    let text = refused.to_string();
    assert!(matches!(refused, StoreError::Newer { found: 2, known: 1 }), "{refused:?}");
    assert!(text.contains("format 2") && text.contains("run that version"), "{text}");
    let refused = store.save(record.clone()).await.expect_err("newer");
    assert!(matches!(refused, StoreError::Newer { found: 2, known: 1 }), "{refused:?}");
    let refused = store.remove(record.id).await.expect_err("newer");
    assert_eq!(refused.label(), "newer");

    assert_eq!(get(&redis, &key(1, "record")), newer);
}

#[tokio::test]
async fn what_a_newer_version_adds_survives_a_save() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let mut record = contract::sample(1, *b"AAA");
    store.save(record.clone()).await.expect("stored");
    let mut whole: Value = serde_json::from_str(&get(&redis, &key(1, "record"))).expect("JSON");
    assert_eq!(whole["v"], json!(1));
    whole["record"]["later"] = json!({"a": [1, "two"], "b": null});
    // Members in another order, as somebody may write them who edits by hand.
    let edited = format!(r#"{{"v":1,"record":{}}}"#, whole["record"]);
    redis.cli(&["SET", &key(1, "record"), &edited]).expect("written");

    record = store.load(record.id).await.expect("readable").expect("present");
    record.version = 2;
    store.save(record).await.expect("stored");

    let whole: Value = serde_json::from_str(&get(&redis, &key(1, "record"))).expect("JSON");
    assert_eq!(whole["record"]["later"], json!({"a": [1, "two"], "b": null}));
    assert_eq!(whole["record"]["version"], json!(2));
}

#[tokio::test]
async fn sessions_stay_and_ways_to_them_end() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    store.save(contract::sample(1, *b"AAA")).await.expect("stored");
    store.save(contract::compat_sample(2)).await.expect("stored");

    let ttl = |key: &str| redis.cli(&["TTL", key]).expect("readable").parse::<i64>().expect("one");
    for lasting in [key(1, "record"), key(1, "version"), key(2, "record"), "test:sessions".into()] {
        assert_eq!(ttl(&lasting), -1, "{lasting}");
    }
    assert_eq!(get(&redis, &key(1, "version")), "1 0");
    let keys = redis.cli(&["KEYS", "*"]).expect("readable");
    let ways: Vec<_> = keys.lines().filter(|key| !key.contains('{')).collect();
    assert_eq!(ways.len(), 4, "{keys}");
    for way in ways {
        match way.split(':').nth(1).expect("a kind") {
            "rendezvous" | "code" => assert!((86_000..=86_400).contains(&ttl(way)), "{way}"),
            "desktop" | "sessions" => assert_eq!(ttl(way), -1, "{way}"),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn what_else_stands_at_our_keys_is_told_and_kept() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    for (n, what) in (1..).zip(["record", "version"]) {
        redis.cli(&["RPUSH", &key(n, what), "foreign"]).expect("written");
        let refused = store.save(contract::sample(n, *b"AAA")).await.expect_err("foreign");
        assert!(matches!(refused, StoreError::Damaged(_)), "{what}: {refused:?}");
        assert_eq!(redis.cli(&["LRANGE", &key(n, what), "0", "9"]).expect("there"), "foreign");
    }
    for (n, bytes) in (3..).zip(["foreign", "{}", r#"{"v":1}"#, r#"{"v":1,"record":{"id":7}}"#, ""])
    {
        redis.cli(&["SET", &key(n, "record"), bytes]).expect("written");
        let id = contract::sample(n, *b"AAA").id;
        let refused = store.load(id).await.expect_err("no record");
        assert!(matches!(refused, StoreError::Damaged(_)), "{bytes}: {refused:?}");
        let refused = store.save(contract::sample(n, *b"AAA")).await.expect_err("foreign");
        assert!(matches!(refused, StoreError::Damaged(_)), "{bytes}: {refused:?}");
        assert_eq!(get(&redis, &key(n, "record")), bytes);
    }
    redis.cli(&["SET", &key(9, "version"), "seven"]).expect("written");
    let id = contract::sample(9, *b"AAA").id;
    assert_eq!(store.versions(vec![id]).await.expect_err("none").label(), "damaged");
    assert_eq!(
        store.save(contract::sample(9, *b"AAA")).await.expect_err("none").label(),
        "damaged"
    );
    redis.cli(&["HSET", &key(9, "seats"), "host", "somebody"]).expect("written");
    assert_eq!(store.seats(id).await.expect_err("no seat").label(), "damaged");

    let key = LeaseKey::Code {
        prefix: *b"BBB",
        hash: contract::sample(1, *b"BBB").lease.expect("one").code,
    };
    redis.cli(&["ZADD", "test:code:BBB", "1", "nobody"]).expect("written");
    assert_eq!(store.find_lease(key).await.expect_err("no session").label(), "damaged");
    redis.cli(&["SET", "test:code:BBB", "nobody"]).expect("written");
    assert_eq!(store.find_lease(key).await.expect_err("no set").label(), "damaged");
    redis.cli(&["SET", "test:limit:a", "never"]).expect("written");
    let taken = store.take("a".to_owned(), 1, Duration::from_secs(1), 1).await;
    assert_eq!(taken.expect_err("no time").label(), "damaged");
    redis.cli(&["SET", "test:{lease-sweep}:fence", "high"]).expect("written");
    let held = store.hold("sweep", "n1".to_owned(), Duration::from_secs(1)).await;
    assert_eq!(held.expect_err("no number").label(), "damaged");
    redis.cli(&["SET", "test:nodes", "n1"]).expect("written");
    let renewed = store.renew("n1".to_owned(), Duration::from_secs(1)).await;
    assert_eq!(renewed.expect_err("no set").label(), "damaged");
    redis.cli(&["SET", "test:devices", "many"]).expect("written");
    assert_eq!(store.count_devices().await.expect_err("no number").label(), "damaged");
}

#[tokio::test]
async fn a_way_that_cannot_be_written_is_told_and_the_record_is_kept() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    redis.cli(&["SET", "test:sessions", "foreign"]).expect("written");
    let mut record = contract::sample(1, *b"AAA");

    let refused = store.save(record.clone()).await.expect_err("not listed");
    assert_eq!(refused.label(), "damaged");
    redis.cli(&["DEL", "test:sessions"]).expect("removed");
    assert_eq!(store.load(record.id).await.expect("readable").expect("present").version, 1);
    record.version = 2;
    store.save(record.clone()).await.expect("stored");
    assert_eq!(store.list(None, 9).await.expect("readable"), [record.id], "the next save heals it");
}

#[tokio::test]
async fn an_entry_that_leads_nowhere_is_not_found_and_goes() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    for n in 1..=5 {
        store.save(contract::sample(n, *b"AAA")).await.expect("stored");
    }
    for what in ["record", "version"] {
        redis.cli(&["DEL", &key(2, what)]).expect("removed");
    }
    redis
        .cli(&["ZADD", "test:code:AAA", "XX", "5", &contract::sample(2, *b"AAA").id.to_string()])
        .expect("aged");

    let lease = contract::sample(2, *b"AAA").lease.expect("one");
    let found = store.find_lease(LeaseKey::Rendezvous(lease.rendezvous)).await;
    assert_eq!(found.expect("readable"), []);
    let code = LeaseKey::Code { prefix: *b"AAA", hash: lease.code };
    assert_eq!(store.find_lease(code).await.expect("readable").len(), 4);
    assert_eq!(redis.cli(&["ZCARD", "test:code:AAA"]).expect("readable"), "4");
    assert_eq!(store.count().await.expect("readable"), 5);
    let listed = store.list(None, 3).await.expect("readable");
    let expected = [1, 3, 4].map(|n| contract::sample(n, *b"AAA").id);
    assert_eq!(listed, expected, "oldest first, and a whole page");
    assert_eq!(store.count().await.expect("readable"), 4);
    let rest = store.list(Some(expected[2]), usize::MAX).await.expect("readable");
    assert_eq!(rest, [contract::sample(5, *b"AAA").id]);
    assert_eq!(store.list(Some(contract::sample(2, *b"AAA").id), 3).await.expect("readable"), []);
}

#[tokio::test]
async fn a_lost_version_key_is_made_anew_by_the_next_save() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let mut record = contract::sample(1, *b"AAA");
    store.save(record.clone()).await.expect("stored");
    redis.cli(&["DEL", &key(1, "version")]).expect("removed");

    for version in [1, 3] {
        record.version = version;
        let refused = store.save(record.clone()).await.expect_err("not the next");
        assert!(matches!(refused, StoreError::Conflict), "{refused:?}");
    }
    record.version = 2;
    store.save(record.clone()).await.expect("stored");

    assert_eq!(get(&redis, &key(1, "version")), "2 0");
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let (redis, _folder) = server(&[]);
    let store = store(&redis.url()).await;
    let mut record = contract::sample(1, *b"AAA");
    for version in 1..=3 {
        redis.cli(&["SCRIPT", "FLUSH"]).expect("flushed");
        record.version = version;
        record.devices.push(contract::device(u8::try_from(version).expect("small"), None));
        store.save(record.clone()).await.expect("stored");
        // One of them is known, the other is not.
        redis.cli(&["SCRIPT", "FLUSH"]).expect("flushed");
        store.check().await.expect("well");
    }
    assert_eq!(store.count_devices().await.expect("readable"), 3);
    redis.cli(&["SCRIPT", "FLUSH"]).expect("flushed");
    contract::cluster::presence(Arc::new(store.clone())).await;
    store.remove(record.id).await.expect("removed");
    assert_eq!(store.count_devices().await.expect("readable"), 0);
    assert!(!store.device_count_drifted());
}

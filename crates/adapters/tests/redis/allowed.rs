//! A user that may do what the documentation lists, and nothing else.

use std::sync::Arc;

use belay_core::ports::contract;

use super::{PREFIX, server, store};

/// The line of the documentation that makes the user.
fn documented() -> Vec<String> {
    let text = include_str!("../../../../docs/operations/cluster.md");
    let line = text.lines().find(|line| line.starts_with("ACL SETUSER")).expect("it is there");
    let words = line.split(' ').map(|word| match word {
        ">PASSWORD" => ">secret".to_owned(),
        "~belay:*" => format!("~{PREFIX}:*"),
        other => other.to_owned(),
    });
    words.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_and_no_more_than_that() {
    let (redis, _folder) = server(&[]);
    let words = documented();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    assert_eq!(redis.cli(&words).expect("answered").trim(), "OK");
    redis.cli(&["ACL", "SETUSER", "default", "off"]).expect("answered");
    let url = redis.url().replacen("redis://", "redis://belay:secret@", 1);

    let [one, other] = [store(&url).await, store(&url).await].map(Arc::new);
    contract::session_store(one.clone()).await;
    contract::shared_store(one.clone(), other.clone()).await;
    contract::cluster::presence(one.clone()).await;
    contract::cluster::leases(one.clone()).await;
    contract::cluster::limits(one.clone(), other).await;

    let forbidden = |command: &[&str]| {
        let all = [&["-u", &url][..], command].concat();
        let told = redis.cli(&all).unwrap_or_else(|error| format!("{error:#}"));
        assert!(told.contains("NOPERM"), "{command:?}: {told}");
    };
    for command in [&["KEYS", "*"][..], &["FLUSHALL"], &["GET", "other:key"], &["SHUTDOWN"]] {
        forbidden(command);
    }
}

//! Connecting: what is refused, and what an operator is told.

use belay_adapters::{RedisError, RedisOptions, RedisStore};
use belay_core::ports::SessionStore;
use belay_servers::{Redis, RedisGroup, free_port};

use crate::{PREFIX, server};

async fn connect(url: &str) -> Result<(RedisStore, Vec<String>), RedisError> {
    RedisStore::connect(RedisOptions::new(url, PREFIX)).await
}

fn with_login(redis: &Redis, login: &str) -> String {
    redis.url().replace("redis://", &format!("redis://{login}@"))
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_printed() {
    let (redis, _folder) = server(&["requirepass right-one"]);
    for login in [":wrong-one", "nobody:wrong-one"] {
        let refused = connect(&with_login(&redis, login)).await.expect_err("wrong");
        let text = format!("{refused} {refused:?}");
        assert!(matches!(refused, RedisError::Refused { .. }), "{text}");
        assert!(text.contains("password") && text.contains(&redis.port.to_string()), "{text}");
        assert!(!text.contains("wrong-one"), "{text}");
    }
    let refused = connect(&redis.url()).await.expect_err("none");
    assert!(matches!(refused, RedisError::Refused { .. }), "{refused}");

    let options = RedisOptions::new(with_login(&redis, ":right-one"), PREFIX);
    assert!(!format!("{options:?}").contains("right-one"), "{options:?}");
    let (store, notes) = RedisStore::connect(options).await.expect("right");
    assert_eq!(notes, Vec::<String>::new());
    assert!(!format!("{store:?}").contains("right-one"), "{store:?}");
    store.check().await.expect("well");
}

#[tokio::test]
async fn a_server_that_quotes_what_it_was_told_does_not_make_us_print_it() {
    let (redis, _folder) = server(&["rename-command AUTH gone"]);

    let refused = connect(&with_login(&redis, "ana:s3cret")).await.expect_err("no such command");

    let text = format!("{refused} {refused:?}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn who_does_not_answer_is_named_without_the_password() {
    let port = free_port().expect("a port");
    for url in [
        format!("redis://ana:secret@127.0.0.1:{port}"),
        format!("rediss://ana:secret@127.0.0.1:{port}"),
        format!("redis+sentinel://ana:secret@127.0.0.1:{port}/belay"),
        format!("redis://ana:secret@no-such-host.invalid:{port}"),
    ] {
        let refused = connect(&url).await.expect_err("nobody is there");
        let text = format!("{refused} {refused:?}");
        assert!(matches!(refused, RedisError::Unreachable { .. }), "{text}");
        assert!(text.contains(&port.to_string()) && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_prefix_with_braces_is_refused() {
    for prefix in ["", "{a}", "a b", "é"] {
        let options = RedisOptions::new("redis://127.0.0.1:1", prefix);
        let refused = RedisStore::connect(options).await.expect_err("refused");
        assert!(matches!(refused, RedisError::Prefix(_)), "{refused}");
    }
}

#[tokio::test]
async fn what_keeps_nothing_or_drops_keys_is_noted() {
    let (redis, _folder) = server(&["appendonly no", "maxmemory-policy allkeys-lru"]);
    let (_, notes) = connect(&redis.url()).await.expect("connected");
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("pair again") && notes[0].contains("restart"), "{notes:?}");
    assert!(notes[1].contains("allkeys-lru") && notes[1].contains("noeviction"), "{notes:?}");

    let (redis, _folder) = server(&["appendonly no", "save 60 1"]);
    let (_, notes) = connect(&redis.url()).await.expect("connected");
    assert_eq!(notes, Vec::<String>::new(), "snapshots keep it");
}

#[tokio::test]
async fn a_user_that_may_not_ask_gets_notes_too() {
    let (redis, _folder) = server(&[
        "appendonly no",
        "user ana on >pass ~* &* +@all -config",
        "user bea on >pass ~* &* +@all -config -info",
    ]);
    let (_, notes) = connect(&with_login(&redis, "ana:pass")).await.expect("connected");
    assert!(notes.len() == 1 && notes[0].contains("pair again"), "{notes:?}");
    redis.cli(&["BGSAVE"]).expect("started");
    let (store, notes) = connect(&with_login(&redis, "bea:pass")).await.expect("connected");
    assert!(notes.len() == 1 && notes[0].contains("INFO"), "{notes:?}");
    store.check().await.expect("well");
}

#[tokio::test]
async fn a_login_is_for_the_master_and_for_sentinels_that_want_one() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let group = RedisGroup::start(folder.path()).expect("group");
    for server in &group.servers {
        server.cli(&["CONFIG", "SET", "masterauth", "s3cret"]).expect("set");
        server.cli(&["CONFIG", "SET", "requirepass", "s3cret"]).expect("set");
    }
    let url = group.url().replace("sentinel://", "sentinel://:s3cret@");
    let (store, _) = connect(&url).await.expect("Sentinels without a password");
    store.check().await.expect("well");

    let refused = connect(&group.url()).await.expect_err("the master wants one");
    assert!(matches!(refused, RedisError::Refused { .. }), "{refused}");
    let refused = connect(&url.replace("/belay", "/other")).await.expect_err("no such master");
    let text = refused.to_string();
    assert!(text.contains("knows no master \"other\"") && !text.contains("s3cret"), "{text}");
    group.sentinel_cli(&["ACL", "SETUSER", "default", "resetpass", ">s3cret"]).expect("set");
    let first = &url[..url.find(',').expect("several")];
    let (store, _) = connect(&format!("{first}/belay")).await.expect("and one with it");
    store.check().await.expect("well");
}

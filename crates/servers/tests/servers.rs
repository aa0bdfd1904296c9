//! Each server starts, answers, survives a kill -9 with its port, and ends with its handle.

use std::net::TcpStream;

use belay_servers::{Nats, NatsCluster, NatsOptions, Postgres, Redis, RedisGroup};

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn servers_start_come_back_after_a_kill_and_end_with_their_handle() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut redis = Redis::start(&folder.path().join("redis"), &[]).expect("redis");
    let options = NatsOptions::default();
    let mut nats = Nats::start(&folder.path().join("nats"), &options).expect("nats");
    let mut postgres = Postgres::start(&folder.path().join("postgres")).expect("postgres");
    let ports = [redis.port, nats.port, postgres.port];
    assert!(ports.into_iter().all(listens));

    redis.process().kill();
    assert!(!listens(redis.port) && !redis.process().is_running());
    redis.restart().expect("redis again");
    nats.restart().expect("nats again");
    postgres.restart().expect("postgres again");
    assert!(ports.into_iter().all(listens));

    drop((redis, nats, postgres));
    assert!(!ports.into_iter().any(listens));
}

#[test]
fn groups_start_and_say_where_they_are() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let redis = RedisGroup::start(folder.path()).expect("redis");
    let nats = NatsCluster::start(folder.path(), &NatsOptions::default()).expect("nats");

    assert!(
        redis.url().starts_with("redis+sentinel://127.0.0.1:") && redis.url().ends_with("/belay")
    );
    assert_eq!(nats.url().matches("127.0.0.1:").count(), 3);
    nats.until_led().expect("a leader");
}

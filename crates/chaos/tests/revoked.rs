//! A device that is revoked at one node while it is connected at another that cannot reach the store.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use belay_chaos::{
    cluster::Admin,
    proxy::{End, Mode, Proxy},
};
use belay_client::{CredentialStore, Event};
use belay_relay::Config;
use belay_servers::{Nats, NatsOptions, Redis};
use belay_testkit::{
    Desk, Relay,
    cluster::{Balancer, shared_config},
    config, start_client,
};
use belay_wire::CloseCode;

/// A revocation is effective within a second. Other tests share the processors; what waits for a silent store
/// takes four.
const EFFECTIVE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_from_the_store_sends_a_revoked_device_away_and_does_not_let_it_in() {
    Box::pin(revoke_while(|way| {
        way.set(Mode::Refuse);
        way.end(End::Reset);
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_for_a_silent_store_does_so_too() {
    Box::pin(revoke_while(|way| way.set(Mode::HalfOpen))).await;
}

/// Revokes at one node while the way of the other one to the store is cut.
async fn revoke_while(cut: fn(&Proxy)) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let redis = Redis::start(&folder.path().join("redis"), &[]).expect("redis");
    let options = NatsOptions::default();
    let nats = Nats::start(&folder.path().join("nats"), &options).expect("nats");
    let there = SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port));
    let way = Proxy::start(there).await.expect("a free port");
    let balancer = Balancer::start(1);
    let mut relays = Vec::new();
    for (name, store) in [("well", redis.url()), ("cut", format!("redis://{}", way.address))] {
        let config = Config { instance: name.to_owned(), ..config() };
        let data = folder.path().join(name);
        let config = shared_config(config, &data, &store, &nats.url(), &balancer.url());
        relays.push(Relay::start(config).await);
    }
    let any = Relay::at(&balancer.url());
    balancer.set(&[relays[0].address()]);
    let mut desk = Desk::start(&any).await;
    balancer.set(&[relays[1].address()]);
    let mut phone = desk.pair(&any).await;

    cut(&way);
    // It is waited for by now.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let (url, token) = (format!("http://{}", relays[0].admin()), relays[0].admin_token());
    let admin = Admin::new(url, token.to_owned()).expect("a client");
    admin.revoke(desk.session.session, phone.id).await.expect("revoked");

    let code = tokio::time::timeout(EFFECTIVE, phone.until_stopped()).await;
    assert_eq!(code.ok(), Some(CloseCode::Revoked), "it is still connected");
    let kept = phone.credentials.load().expect("readable").expect("credentials");
    let kept = belay_client::MemoryCredentials::new(kept);
    let (_client, mut events) = start_client(&phone.identity, kept.into());
    let first = tokio::time::timeout(EFFECTIVE, events.recv()).await.ok().flatten();
    assert!(!matches!(first, Some(Event::Connected(_))), "it got in: {first:?}");
}

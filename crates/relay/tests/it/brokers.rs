//! Three brokers, of which some die: who writes nothing is told the truth, too, and once.

use std::time::{Duration, Instant};

use belay_client::{CredentialStore, Event};
use belay_relay::Config;
use belay_servers::{NatsCluster, NatsOptions};
use belay_testkit::{Desk, Member, Relay, cluster::Cluster, config};
use belay_wire::{Channel, Frame, RawJson};

/// Followers are missed within four seconds, and that counts after ten more; some time for a busy machine.
const TOLD: Duration = Duration::from_secs(30);

/// What follows would follow within this: a leader that nobody follows would have been found well again.
const QUIET: Duration = Duration::from_secs(6);

/// What a client is told of the relay's health from now on, and in the time after.
async fn told(member: &mut Member) -> Vec<String> {
    let mut codes = Vec::new();
    let mut until = Instant::now() + TOLD;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let Ok(event) = tokio::time::timeout(left, member.events.recv()).await else { break };
        if let Some(Event::Frame(frame)) = event
            && let Frame::Notice(notice) = *frame
        {
            codes.push(notice.code);
            until = Instant::now() + QUIET;
        }
    }
    codes
}

/// Waits until an operator is told, too.
async fn until_away(relay: &Relay) {
    let began = Instant::now();
    loop {
        let call = reqwest::Client::new().get(format!("http://{}/healthz", relay.admin()));
        let answer = call.bearer_auth(relay.admin_token()).send().await.expect("answers");
        let health: serde_json::Value = answer.json().await.expect("JSON");
        if health["cluster"]["bus"]["error"].is_string() {
            assert_eq!(health["reason"], "bus_unavailable");
            assert_eq!(health["log"]["ok"], false);
            return;
        }
        assert!(began.elapsed() < TOLD, "{health}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn without_a_majority_of_brokers_idle_clients_are_told_once_and_again_when_it_is_back() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut brokers = NatsCluster::start(folder.path(), &NatsOptions::default()).expect("nats");
    brokers.until_led().expect("a leader");
    let three = Config { bus: Some(brokers.url()), bus_replicas: 3, ..config() };
    let cluster = Cluster::start_of(3, three).await;
    let any = cluster.any();
    let addresses: Vec<_> = cluster.relays.iter().map(Relay::address).collect();
    cluster.balancer.set(&addresses[..2]);
    let mut desk = Desk::start(&any).await;
    let mut phone = desk.pair(&any).await;

    for broker in &brokers.servers[..2] {
        broker.process().kill();
    }
    assert_eq!(told(&mut phone).await, ["degraded"]);
    for relay in &cluster.relays {
        until_away(relay).await;
    }
    // This one did not know the session when the brokers died.
    cluster.balancer.set(&addresses[2..]);
    let credentials = phone.credentials.load().expect("readable").expect("there");
    let mut phone = Member::start(phone.identity.clone(), credentials).await;
    assert_eq!(told(&mut phone).await, ["degraded"]);

    for broker in &mut brokers.servers[..2] {
        broker.restart().expect("nats");
    }
    assert_eq!(told(&mut phone).await, ["recovered"]);
    let payload = RawJson::of(&7).expect("JSON");
    desk.client.send(Channel::Down, payload, None).expect("room");
    phone.until(|e| matches!(e, Event::Message(m) if m.payload.text() == "7")).await;
}

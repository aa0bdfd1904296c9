//! Three brokers, of which some die: who writes nothing is told the truth, too, and once.

use std::time::{Duration, Instant};

use belay_client::{CredentialStore, Event};
use belay_relay::Config;
use belay_servers::{Nats, NatsCluster, NatsOptions};
use belay_testkit::{Desk, Member, Relay, cluster::Cluster, config};
use belay_wire::{Channel, Frame, RawJson};

/// Followers are missed within four seconds, and that counts after ten more; some time for a busy machine.
const TOLD: Duration = Duration::from_secs(30);

/// How long a broker neither answers nor ends; others elect a leader within ten seconds, as a rule.
const STALL: Duration = Duration::from_secs(12);

/// Streams of a cluster, of which there are four of each direction.
const STREAMS: u64 = 8;

/// What follows would follow within this: a leader that nobody follows would have been found well again.
const QUIET: Duration = Duration::from_secs(6);

/// What a client is told of the relay's health from now on, and in the time after.
async fn told(member: &mut Member) -> Vec<String> {
    let mut codes = Vec::new();
    let mut until = Instant::now() + TOLD;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let Ok(event) = tokio::time::timeout(left, member.events.recv()).await else { break };
        if let Some(code) = event.and_then(notice) {
            codes.push(code);
            until = Instant::now() + QUIET;
        }
    }
    codes
}

/// What a client was told of the relay's health so far.
fn notices(member: &mut Member) -> Vec<String> {
    std::iter::from_fn(|| member.events.try_recv().ok()).filter_map(notice).collect()
}

fn notice(event: Event) -> Option<String> {
    let Event::Frame(frame) = event else { return None };
    let Frame::Notice(notice) = *frame else { return None };
    Some(notice.code)
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

#[tokio::test]
async fn a_broker_that_stalls_and_goes_on_is_told_once_at_most() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let brokers = NatsCluster::start(folder.path(), &NatsOptions::default()).expect("nats");
    brokers.until_led().expect("a leader");
    let three = Config { bus: Some(brokers.url()), bus_replicas: 3, ..config() };
    let cluster = Cluster::start_of(3, three).await;
    let mut members = Vec::new();
    for relay in &cluster.relays {
        let mut desk = Desk::start(relay).await;
        let phone = desk.pair(relay).await;
        members.push((desk, phone));
    }

    brokers.servers[0].process().pause();
    tokio::time::sleep(STALL).await;
    brokers.servers[0].process().unpause();
    tokio::time::sleep(STALL).await;

    for (desk, phone) in &mut members {
        let codes = notices(phone);
        assert!(codes.is_empty() || codes == ["degraded", "recovered"], "{codes:?}");
        let payload = RawJson::of(&7).expect("JSON");
        desk.client.send(Channel::Down, payload, None).expect("room");
        phone.until(|e| matches!(e, Event::Message(m) if m.payload.text() == "7")).await;
    }
}

/// Tells whether a broker has some of the streams, no client, and does not lead the brokers.
fn is_apart(broker: &Nats) -> bool {
    let told = |path| -> serde_json::Value {
        serde_json::from_str(&broker.monitor(path).expect("told")).expect("JSON")
    };
    let (streams, server) = (told("/jsz"), told("/varz"));
    let some = streams["streams"].as_u64().is_some_and(|n| 0 < n && n < STREAMS);
    let leads = streams["meta_cluster"]["leader"] == server["server_name"];
    some && !leads && server["connections"] == 0
}

/// Sends a number both ways.
fn speak((desk, phone): &(Desk, Member), n: u8) {
    let payload = || RawJson::of(&n).expect("JSON");
    desk.client.send(Channel::Down, payload(), None).expect("room");
    phone.client.send(Channel::Up(phone.id), payload(), None).expect("room");
}

#[tokio::test]
async fn streams_that_fail_take_the_sessions_in_them_along_and_no_others() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut brokers = NatsCluster::start(folder.path(), &NatsOptions::default()).expect("nats");
    brokers.until_led().expect("a leader");
    // One copy of each stream, so that each broker has some for itself.
    let cluster = Cluster::start_of(1, Config { bus: Some(brokers.url()), ..config() }).await;
    let relay = &cluster.relays[0];
    let mut pairs = Vec::new();
    for _ in 0..12 {
        let mut desk = Desk::start(relay).await;
        let phone = desk.pair(relay).await;
        pairs.push((desk, phone));
    }
    let apart = brokers.servers.iter_mut().find(|broker| is_apart(broker));
    let apart = apart.expect("eight streams are spread over three brokers");
    apart.process().kill();
    tokio::time::sleep(STALL).await;
    for pair in &pairs {
        speak(pair, 7);
    }
    tokio::time::sleep(STALL).await;

    let (mut failing, mut well) = (Vec::new(), 0);
    for pair in &mut pairs {
        let told = notices(&mut pair.1);
        match &told[..] {
            [] => well += 1,
            [code] if code == "degraded" => failing.push(pair),
            _ => panic!("{told:?}"),
        }
    }
    assert!(well > 0 && !failing.is_empty(), "{well} well, {} failing", failing.len());
    apart.restart().expect("nats");
    for pair in failing {
        speak(pair, 8);
        let (desk, phone) = pair;
        let last = |event: &Event| matches!(event, Event::Message(m) if m.payload.text() == "8");
        desk.until(last).await;
        phone.until(last).await;
    }
}

//! Three brokers, of which some die: who writes nothing is told the truth, too, and once.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use belay_client::{CredentialStore, Event};
use belay_relay::Config;
use belay_servers::{Nats, NatsCluster, NatsOptions};
use belay_testkit::{Desk, Member, Relay, cluster::Cluster, config};
use belay_wire::{Channel, Frame, RawJson};

/// Followers are missed within four seconds, and that counts after ten more; some time for a busy machine.
const TOLD: Duration = Duration::from_secs(30);

/// How long a broker neither answers nor ends; others elect a leader within ten seconds, as a rule.
const STALL: Duration = Duration::from_secs(12);

/// Streams of one broker that leave a shard to the others; there are four shards.
const SOME: RangeInclusive<u64> = 1..=3;
/// Sessions of which each shard has one.
const MANY: usize = 32;

/// A silent broker is left within three seconds, and nothing was stored for another one.
const LOST: Duration = Duration::from_secs(6);

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

fn is_notice(event: &Event) -> bool {
    matches!(event, Event::Frame(frame) if matches!(**frame, Frame::Notice(_)))
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
        let mut codes = notices(phone);
        if codes == ["degraded"] {
            codes.extend(notice(phone.until(is_notice).await));
        }
        assert!(codes.is_empty() || codes == ["degraded", "recovered"], "{codes:?}");
        let payload = RawJson::of(&7).expect("JSON");
        desk.client.send(Channel::Down, payload, None).expect("room");
        phone.until(|e| matches!(e, Event::Message(m) if m.payload.text() == "7")).await;
    }
}

/// What a broker says of itself.
#[derive(Debug)]
struct About {
    has_some_streams: bool,
    leads: bool,
    has_client: bool,
}

impl About {
    fn of(broker: &Nats) -> Self {
        let told = |path| -> serde_json::Value {
            serde_json::from_str(&broker.monitor(path).expect("told")).expect("JSON")
        };
        let (streams, server) = (told("/jsz"), told("/varz"));
        Self {
            has_some_streams: streams["streams"].as_u64().is_some_and(|n| SOME.contains(&n)),
            leads: streams["meta_cluster"]["leader"] == server["server_name"],
            has_client: server["connections"] != 0,
        }
    }
}

/// Sends a number both ways.
fn speak((desk, phone): &(Desk, Member), n: u8) {
    let payload = || RawJson::of(&n).expect("JSON");
    desk.client.send(Channel::Down, payload(), None).expect("room");
    phone.client.send(Channel::Up(phone.id), payload(), None).expect("room");
}

/// Kills one of three brokers that have the only copies of streams, perhaps after all were silent for long
/// enough that the connection is lost. What sessions were told that go on, and
/// that those that do not go on were told once that they do not.
async fn told_when_one_dies(all_stall: bool) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut brokers = NatsCluster::start(folder.path(), &NatsOptions::default()).expect("nats");
    brokers.until_led().expect("a leader");
    let cluster = Cluster::start_of(1, Config { bus: Some(brokers.url()), ..config() }).await;
    let relay = &cluster.relays[0];
    let mut pairs = Vec::new();
    for _ in 0..MANY {
        let mut desk = Desk::start(relay).await;
        let phone = desk.pair(relay).await;
        pairs.push((desk, phone));
    }
    let about: Vec<_> = brokers.servers.iter().map(About::of).collect();
    let dies = about.iter().position(|b| b.has_some_streams && !b.leads && !b.has_client);
    let dies = dies.unwrap_or_else(|| panic!("none fits: {about:?}"));
    if all_stall {
        brokers.servers.iter().for_each(|broker| broker.process().pause());
        tokio::time::sleep(LOST).await;
    }
    brokers.servers[dies].process().kill();
    brokers.servers.iter().for_each(|broker| broker.process().unpause());
    tokio::time::sleep(STALL).await;
    for pair in &pairs {
        speak(pair, 7);
    }
    tokio::time::sleep(STALL).await;

    let told = pairs.iter_mut().map(|(_, phone)| notices(phone));
    let (failing, well): (Vec<_>, Vec<_>) = told
        .collect::<Vec<_>>()
        .into_iter()
        .zip(&mut pairs)
        .partition(|(told, _)| told.last().is_some_and(|code| code == "degraded"));
    assert!(!well.is_empty() && !failing.is_empty(), "{} fail", failing.len());
    brokers.servers[dies].restart().expect("nats");
    for (told, pair) in failing {
        assert_eq!(told, ["degraded"]);
        speak(pair, 8);
        let (desk, phone) = pair;
        let last = |event: &Event| matches!(event, Event::Message(m) if m.payload.text() == "8");
        desk.until(last).await;
        phone.until(last).await;
    }
    well.into_iter().map(|(told, _)| told).collect()
}

#[tokio::test]
async fn streams_that_fail_take_the_sessions_in_them_along_and_no_others() {
    let told = Box::pin(told_when_one_dies(false)).await;

    assert!(told.iter().all(Vec::is_empty), "{told:?}");
}

#[tokio::test]
async fn streams_that_fail_are_not_told_as_back_when_the_others_are() {
    let told = Box::pin(told_when_one_dies(true)).await;

    assert!(told.iter().all(|told| *told == ["degraded", "recovered"]), "{told:?}");
}

//! Three nodes on real Redis and NATS: any of them serves any request of any session.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of many")]

use std::time::{Duration, Instant};

use belay_client::{CredentialStore, Credentials, Event};
use belay_testkit::{Desk, Member, Relay, cluster::Cluster};
use belay_wire::{Channel, CloseCode, RawJson};

/// What is told everywhere is told within this.
const SOON: Duration = Duration::from_secs(1);

fn text(event: &Event) -> Option<&str> {
    match event {
        Event::Message(message) => Some(message.payload.text()),
        _ => None,
    }
}

fn payload(n: u64) -> RawJson {
    RawJson::of(&n).expect("a number is JSON")
}

/// Sends everything that comes from now on to one relay.
fn only(cluster: &Cluster, n: usize) {
    cluster.balancer.set(&[cluster.relays[n].address()]);
}

/// A desktop at the first relay and a phone at the second.
async fn apart(cluster: &Cluster) -> (Desk, Member) {
    only(cluster, 0);
    let relay = cluster.any();
    let mut desk = Desk::start(&relay).await;
    only(cluster, 1);
    let phone = desk.pair(&relay).await;
    (desk, phone)
}

/// Starts a client again from what it has written down.
async fn again(member: &Member) -> Member {
    let credentials: Credentials = member.credentials.load().expect("readable").expect("there");
    Member::start(member.identity.clone(), credentials).await
}

#[tokio::test]
async fn a_phone_pairs_at_another_node_than_its_desktop_and_messages_go_both_ways() {
    let cluster = Cluster::start(3).await;
    let (mut desk, mut phone) = apart(&cluster).await;

    for n in 1..=50 {
        desk.client.send(Channel::Down, payload(n), None).expect("room");
        phone.client.send(Channel::Up(phone.id), payload(100 + n), None).expect("room");
    }

    for n in 1..=50 {
        let event = phone.until(|e| matches!(e, Event::Message(_))).await;
        assert_eq!(text(&event), Some(n.to_string().as_str()));
        let event = desk.until(|e| matches!(e, Event::Message(_))).await;
        assert_eq!(text(&event), Some((100 + n).to_string().as_str()));
    }
    let sockets = async |n: usize| {
        cluster.relays[n].numbers().await["activeWebSockets"].as_i64().expect("a number")
    };
    assert_eq!((sockets(0).await, sockets(1).await, sockets(2).await), (1, 1, 0));
}

#[tokio::test]
async fn a_revoke_at_any_node_ends_the_socket_at_another_within_a_second_with_and_without_bus() {
    let mut cluster = Cluster::start(3).await;
    let (mut desk, mut phone) = apart(&cluster).await;
    revoke(&cluster.relays[2], &desk, &phone).await;
    let began = Instant::now();
    assert_eq!(phone.until_stopped().await, CloseCode::Revoked);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());

    only(&cluster, 1);
    let mut second = desk.pair(&cluster.any()).await;
    cluster.nats.process().kill();
    revoke(&cluster.relays[2], &desk, &second).await;
    let began = Instant::now();
    assert_eq!(second.until_stopped().await, CloseCode::Revoked);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    cluster.nats.restart().expect("nats");
}

/// An operator removes a device.
async fn revoke(relay: &Relay, desk: &Desk, phone: &Member) {
    let (session, member) = (desk.session.session, phone.id);
    let url = format!("http://{}/admin/sessions/{session}/devices/{member}", relay.admin());
    let call = reqwest::Client::new().delete(url).bearer_auth(relay.admin_token());
    let answer = call.send().await.expect("answered");
    assert!(answer.status().is_success(), "{answer:?}");
}

#[tokio::test]
async fn the_newer_connection_of_a_device_takes_over_from_the_one_at_another_node() {
    let cluster = Cluster::start(2).await;
    let (desk, mut phone) = apart(&cluster).await;
    only(&cluster, 0);

    let mut newer = again(&phone).await;

    let began = Instant::now();
    assert_eq!(phone.until_stopped().await, CloseCode::TakenOver);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    desk.client.send(Channel::Down, payload(7), None).expect("room");
    newer.until(|e| text(e) == Some("7")).await;
}

#[tokio::test]
async fn clients_of_a_node_that_dies_go_on_at_another_and_miss_nothing() {
    let mut cluster = Cluster::start(3).await;
    let (mut desk, mut phone) = apart(&cluster).await;
    let targets = [0, 2].map(|n| cluster.relays[n].address());
    for n in 1..=20 {
        desk.client.send(Channel::Down, payload(n), None).expect("room");
    }
    phone.until(|e| text(e) == Some("10")).await;

    cluster.balancer.set(&targets);
    // As a crash does, it says nothing to anybody.
    let dead = cluster.relays.remove(1);
    dead.stop().await;
    for n in 21..=40 {
        desk.client.send(Channel::Down, payload(n), None).expect("room");
        phone.client.send(Channel::Up(phone.id), payload(n), None).expect("room");
    }

    phone.until(|e| text(e) == Some("40")).await;
    desk.until(|e| text(e) == Some("40")).await;
}

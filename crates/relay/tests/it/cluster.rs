//! Three nodes on real Redis and NATS: any of them serves any request of any session.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of many")]

use std::time::{Duration, Instant};

use belay_client::{CredentialStore, Credentials, Event, Identity};
use belay_testkit::{Desk, Member, Relay, cluster::Cluster};
use belay_wire::{Bytes32, Channel, CloseCode, Frame, RawJson, pair::RevealPair};

const SOON: Duration = Duration::from_secs(1);
/// What is told everywhere within a second may take this beside other tests; [`crate::revoke`] measures it.
const PATIENCE: Duration = Duration::from_secs(5);

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
async fn a_revoke_at_any_node_ends_the_socket_at_another_with_and_without_bus() {
    let mut cluster = Cluster::start(3).await;
    let (mut desk, mut phone) = apart(&cluster).await;
    revoke(&cluster.relays[2], &desk, &phone).await;
    let began = Instant::now();
    assert_eq!(phone.until_stopped().await, CloseCode::Revoked);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());

    only(&cluster, 1);
    let mut second = desk.pair(&cluster.any()).await;
    cluster.nats.process().kill();
    revoke(&cluster.relays[2], &desk, &second).await;
    let began = Instant::now();
    assert_eq!(second.until_stopped().await, CloseCode::Revoked);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
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
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
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

fn notice(event: &Event, code: &str) -> bool {
    matches!(event, Event::Frame(frame) if matches!(&**frame, Frame::Notice(n) if n.code == code))
}

async fn ready(relay: &Relay) -> (u16, serde_json::Value) {
    let answer = reqwest::get(format!("{}/readyz", relay.url)).await.expect("answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// Each node finds out by itself.
async fn until_unready(relay: &Relay, why: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, body) = ready(relay).await;
        if (status, body["reason"].as_str()) == (503, Some(why)) {
            return;
        }
        assert!(Instant::now() < deadline, "{status} {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn while_the_bus_is_away_messages_wait_clients_are_told_and_all_is_delivered_after() {
    let mut cluster = Cluster::start(2).await;
    let (desk, mut phone) = apart(&cluster).await;

    cluster.nats.process().kill();
    let began = Instant::now();
    phone.until(|e| notice(e, "degraded")).await;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    for n in 1..=20 {
        desk.client.send(Channel::Down, payload(n), None).expect("room");
    }
    until_unready(&cluster.relays[0], "bus_unavailable").await;

    cluster.nats.restart().expect("nats");
    let (mut got, mut recovered) = (Vec::new(), false);
    while got.len() < 20 || !recovered {
        let event = phone.until(|e| matches!(e, Event::Message(_)) || notice(e, "recovered")).await;
        match text(&event) {
            Some(text) => got.push(text.parse::<u64>().expect("a number")),
            None => recovered = true,
        }
    }
    assert_eq!(got, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn while_the_store_is_away_what_is_connected_goes_on_and_nothing_else_is_let_in() {
    let mut cluster = Cluster::start(2).await;
    let (mut desk, mut phone) = apart(&cluster).await;

    cluster.redis.process().kill();
    phone.until(|e| notice(e, "store_away")).await;
    desk.client.send(Channel::Down, payload(1), None).expect("room");
    phone.client.send(Channel::Up(phone.id), payload(2), None).expect("room");
    phone.until(|e| text(e) == Some("1")).await;
    desk.until(|e| text(e) == Some("2")).await;

    let (session, member) = (desk.session.session, phone.id);
    let url =
        format!("http://{}/admin/sessions/{session}/devices/{member}", cluster.relays[1].admin());
    let call = reqwest::Client::new().delete(url).bearer_auth(cluster.relays[1].admin_token());
    let refused = call.send().await.expect("answered");
    assert_eq!(refused.status().as_u16(), 503, "a revoke that did not happen is not told as done");
    until_unready(&cluster.relays[0], "store_unavailable").await;

    // For longer than a node that alone is cut off keeps its clients.
    tokio::time::sleep(Duration::from_secs(8)).await;
    cluster.redis.restart().expect("redis");
    let stays = |event: &Event| {
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
        notice(event, "store_back")
    };
    phone.until(stays).await;
    desk.client.send(Channel::Down, payload(3), None).expect("room");
    phone.until(|e| text(e) == Some("3")).await;
    let mut again = again(&phone).await;
    desk.client.send(Channel::Down, payload(4), None).expect("room");
    again.until(|e| text(e) == Some("4")).await;
}

#[tokio::test]
async fn a_session_that_the_store_lost_is_stored_again_by_nodes_that_know_it() {
    let mut cluster = Cluster::start(3).await;
    let (desk, mut phone) = apart(&cluster).await;

    cluster.redis.restart_empty().expect("redis");
    tokio::time::sleep(4 * SOON).await;
    let key = format!("belay:{{{}}}:version", desk.session.session);
    let version = || {
        let both = cluster.redis.cli(&["GET", &key]).expect("answered");
        both.split(' ').next().map(str::to_owned).expect("two versions")
    };
    let before = version();
    tokio::time::sleep(4 * SOON).await;
    assert_eq!(version(), before, "it was put back once");

    desk.client.send(Channel::Down, payload(1), None).expect("room");
    phone.until(|e| text(e) == Some("1")).await;
    only(&cluster, 2);
    let mut again = again(&phone).await;
    desk.client.send(Channel::Down, payload(2), None).expect("room");
    again.until(|e| text(e) == Some("2")).await;
    revoke(&cluster.relays[2], &desk, &again).await;
    assert_eq!(again.until_stopped().await, CloseCode::Revoked);
}

#[tokio::test]
async fn seats_that_the_store_lost_are_taken_again() {
    let cluster = Cluster::start(2).await;
    let (desk, mut phone) = apart(&cluster).await;
    let key = |what: &str| format!("belay:{{{}}}:{what}", desk.session.session);
    let (seats, version) = (key("seats"), key("version"));
    let redis = |command: &[&str]| cluster.redis.cli(command).expect("answered");
    assert_eq!(redis(&["HLEN", &seats]).trim(), "2");

    let versions = redis(&["GET", &version]);
    let record = versions.split(' ').next().expect("two versions");
    redis(&["DEL", &seats]);
    redis(&["SET", &version, &format!("{record} 1")]);

    tokio::time::sleep(2 * SOON).await;
    assert_eq!(redis(&["HLEN", &seats]).trim(), "2");
    while let Ok(event) = phone.events.try_recv() {
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
    }
    desk.client.send(Channel::Down, payload(1), None).expect("room");
    phone.until(|e| text(e) == Some("1")).await;
}

#[tokio::test]
async fn a_store_that_answers_late_is_not_waited_for_by_everybody() {
    let cluster = Cluster::start(1).await;
    let (_desk, mut phone) = {
        let mut desk = Desk::start(&cluster.any()).await;
        let phone = desk.pair(&cluster.any()).await;
        (desk, phone)
    };
    let client = reqwest::Client::new();
    let call = async || {
        let url = format!("{}/v1/pair/{}", cluster.balancer.url(), "A".repeat(22));
        let (public_key, opening) = (Identity::generate().public(), Bytes32([0; 32]));
        let body = RevealPair { public_key, opening };
        let began = Instant::now();
        let answer = client.post(url).json(&body).send().await.expect("answered");
        (answer.status().as_u16(), began.elapsed())
    };

    cluster.redis.process().pause();
    let _ = futures_util::future::join_all((0..80).map(|_| call())).await;
    phone.until(|e| notice(e, "store_away")).await;
    let (status, took) = call().await;
    assert_eq!(status, 503);
    // It is a second and more where it is waited for.
    assert!(took < Duration::from_millis(900), "{took:?}");

    cluster.redis.process().unpause();
    phone.until(|e| notice(e, "store_back")).await;
    let (status, _) = call().await;
    assert_ne!(status, 503);
}

#[tokio::test]
async fn a_node_is_drained_through_another_one_and_its_clients_miss_nothing() {
    let cluster = Cluster::start(2).await;
    let (desk, mut phone) = apart(&cluster).await;
    only(&cluster, 0);

    let body = serde_json::json!({
        "reason": "deploy", "max_session_age_seconds": 2, "node": "relay1",
    });
    let (status, told) = crate::drain::call(&cluster.relays[0], "start", Some(body)).await;
    assert_eq!((status, told["state"].as_str()), (202, Some("draining")), "{told}");
    for n in 1..=100 {
        desk.client.send(Channel::Down, payload(n), None).expect("room");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    for n in 1..=100 {
        let event = phone.until(|e| matches!(e, Event::Message(_))).await;
        assert_eq!(text(&event), Some(n.to_string().as_str()));
    }
    cluster.relays[1].until_number("activeWebSockets", 0).await;
    cluster.relays[0].until_number("activeWebSockets", 2).await;

    // To an operator it looks like what it is, and not like a network that broke.
    let url = format!("http://{}/admin/connections/closed", cluster.relays[1].admin());
    let call = reqwest::Client::new().get(url).bearer_auth(cluster.relays[1].admin_token());
    let closed: serde_json::Value =
        call.send().await.expect("answered").json().await.expect("JSON");
    let closed = closed["closed"].as_array().expect("a list");
    assert!(!closed.is_empty());
    for one in closed.iter().map(|one| &one["closed"]) {
        let code = one["code"].as_u64().expect("a goodbye");
        assert!(code == 1000 || code == u64::from(CloseCode::Moved.code()), "{one}");
        assert!(code != 1000 || one["because"].as_str().is_some_and(|b| b.contains("drained")));
    }
}

#[tokio::test]
async fn every_node_gives_the_same_answer_soon() {
    let cluster = Cluster::start(3).await;
    let (mut desk, _phone) = apart(&cluster).await;
    only(&cluster, 2);
    let _second = desk.pair(&cluster.any()).await;

    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut answers = Vec::new();
        for relay in &cluster.relays {
            let url =
                format!("http://{}/admin/sessions/{}/devices", relay.admin(), desk.session.session);
            let call = reqwest::Client::new().get(url).bearer_auth(relay.admin_token());
            let mut answer: serde_json::Value =
                call.send().await.expect("answered").json().await.expect("JSON");
            for device in answer["devices"].as_array_mut().expect("devices") {
                // Times of who is connected are not stored before it goes.
                device["seenAt"] = 0.into();
            }
            answers.push(answer);
        }
        let connected = answers[0]["devices"].as_array().expect("devices");
        let all = connected.iter().filter(|d| d["connected"] == true).count();
        if answers.iter().all(|answer| *answer == answers[0]) && all == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{answers:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_operator_sees_who_is_alive_and_how_what_they_share_stands() {
    let cluster = Cluster::start(2).await;
    let (_desk, _phone) = apart(&cluster).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let relay = &cluster.relays[0];
        let call = reqwest::Client::new().get(format!("http://{}/healthz", relay.admin()));
        let answer = call.bearer_auth(relay.admin_token()).send().await.expect("answered");
        let body: serde_json::Value = answer.json().await.expect("JSON");
        let shared = &body["cluster"];
        assert_eq!((&shared["bus"]["ok"], &shared["catalog"]["ok"]), (&true.into(), &true.into()));
        assert!(shared["storeCommands"].as_u64() > Some(0), "{body}");
        assert!(shared["bus"]["messages"].as_u64() > Some(0), "{body}");
        if shared["nodes"].as_array().is_some_and(|nodes| nodes.len() == 2) {
            break;
        }
        assert!(Instant::now() < deadline, "{body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

//! The hint that keeps what is of one session at one node: everything works with it off, on and wrong.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of many")]

use belay_client::{Event, Identity};
use belay_testkit::{
    Desk, Member, Relay,
    cluster::{Cluster, Heeds},
    config,
};
use belay_wire::{
    AFFINITY_HEADER, Channel, RawJson, affinity_key,
    pair::{CreateSession, HostInfo, SessionCreated},
};
use futures_util::future::join_all;
use reqwest::header::SET_COOKIE;

/// Messages each way.
const MESSAGES: u64 = 50;

async fn cluster(heeds: Heeds) -> Cluster {
    let on = heeds != Heeds::Not;
    let cluster = Cluster::start_of(3, belay_relay::Config { affinity: on, ..config() }).await;
    cluster.balancer.heed(heeds);
    cluster
}

async fn both_ways(desk: &mut Desk, phone: &mut Member) {
    let payload = |n: u64| RawJson::of(&n).expect("a number is JSON");
    let number = |event: &Event| match event {
        Event::Message(message) => message.payload.text().parse().ok(),
        _ => None::<u64>,
    };
    for n in 1..=MESSAGES {
        desk.client.send(Channel::Down, payload(n), None).expect("room");
        phone.client.send(Channel::Up(phone.id), payload(n), None).expect("room");
    }
    for n in 1..=MESSAGES {
        assert_eq!(number(&phone.until(|e| number(e).is_some()).await), Some(n));
        assert_eq!(number(&desk.until(|e| number(e).is_some()).await), Some(n));
    }
}

/// A number of all nodes together.
async fn count(cluster: &Cluster, name: &str) -> u64 {
    let read = |relay: &Relay| {
        let call = reqwest::Client::new()
            .get(format!("http://{}/metrics", relay.admin()))
            .bearer_auth(relay.admin_token());
        async move { call.send().await.expect("answered").text().await.expect("text") }
    };
    let all = join_all(cluster.relays.iter().map(read)).await;
    let line = |text: &String| {
        // `name{labels} value`
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<u64>().expect("a number")
    };
    all.iter().map(line).sum()
}

/// Counted a moment after a connection is told that it is in.
async fn until_noted(cluster: &Cluster, connections: u64) -> (u64, u64) {
    for _ in 0..100 {
        let hits = count(cluster, "affinity_hits_total").await;
        let misses = count(cluster, "affinity_misses_total").await;
        if hits + misses >= connections {
            return (hits, misses);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{connections} connections were never noted");
}

async fn sockets_per_node(cluster: &Cluster) -> Vec<i64> {
    let numbers = join_all(cluster.relays.iter().map(Relay::numbers)).await;
    numbers.iter().map(|n| n["activeWebSockets"].as_i64().expect("a number")).collect()
}

#[tokio::test]
async fn with_the_hint_a_session_is_at_one_node() {
    let cluster = cluster(Heeds::Well).await;
    for _ in 0..3 {
        let mut desk = Desk::start(&cluster.any()).await;
        let mut phone = desk.pair(&cluster.any()).await;
        both_ways(&mut desk, &mut phone).await;
        let sockets = sockets_per_node(&cluster).await;
        assert!(sockets.iter().any(|n| n % 2 == 0), "{sockets:?}");
        assert_eq!(sockets.iter().sum::<i64>(), 2, "{sockets:?}");
        drop((desk, phone));
        for relay in &cluster.relays {
            relay.until_number("activeWebSockets", 0).await;
        }
    }
    assert_eq!(until_noted(&cluster, 6).await.1, 0, "none was at another node");
}

#[tokio::test]
async fn with_a_hint_that_is_wrong_everything_works_and_it_is_counted() {
    let cluster = cluster(Heeds::Badly).await;
    let mut noted = (0, 0);
    for n in 1..=8 {
        let mut desk = Desk::start(&cluster.any()).await;
        let mut phone = desk.pair(&cluster.any()).await;
        both_ways(&mut desk, &mut phone).await;
        noted = until_noted(&cluster, 2 * n).await;
    }
    assert!(noted.1 > 0, "{noted:?}");
}

#[tokio::test]
async fn without_the_hint_everything_works_and_nothing_is_noted() {
    let cluster = cluster(Heeds::Not).await;
    let mut desk = Desk::start(&cluster.any()).await;
    let mut phone = desk.pair(&cluster.any()).await;
    both_ways(&mut desk, &mut phone).await;
    assert_eq!(count(&cluster, "affinity_hits_total").await, 0);
}

#[tokio::test]
async fn answers_about_a_session_carry_its_key_and_a_cookie_of_an_hour() {
    let cluster = cluster(Heeds::Well).await;
    let host = HostInfo {
        name: "desk".to_owned(),
        platform: "test".to_owned(),
        public_key: Identity::generate().public(),
    };
    let call = reqwest::Client::new().post(format!("{}/v1/sessions", cluster.balancer.url()));
    let answer = call.json(&CreateSession { host }).send().await.expect("answered");
    assert_eq!(answer.status().as_u16(), 201, "{answer:?}");
    let headers = answer.headers().clone();
    let created: SessionCreated = answer.json().await.expect("a session");
    let key = affinity_key(created.session);

    assert_eq!(headers[AFFINITY_HEADER], key.as_str());
    let cookie = headers[SET_COOKIE].to_str().expect("text");
    let expected =
        format!("belay_affinity={key}; Path=/; Max-Age=3600; Secure; HttpOnly; SameSite=Strict");
    assert_eq!(cookie, expected);

    let page = |cookie: &str| {
        let call = reqwest::Client::new().get(cluster.balancer.url());
        call.header("cookie", cookie.to_owned()).send()
    };
    let again = page(&format!("belay_affinity={key}")).await.expect("answered");
    assert_eq!(again.headers()[SET_COOKIE], expected.as_str(), "it lasts as long as it is used");
    for foreign in ["belay_affinity=<script>", "belay_affinity=0", "other=0123456789abcdef"] {
        let none = page(foreign).await.expect("answered");
        assert!(none.headers().get(SET_COOKIE).is_none(), "{foreign}: {none:?}");
    }
}

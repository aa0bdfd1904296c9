//! How long it takes from the call that removes a device, at a node that nobody is connected to, until its
//! socket at another node is closed; with the bus and without. `make revoke` tries it 100 times.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use belay_relay::Config;
use belay_testkit::{Desk, Member, Relay, cluster::Cluster, config, unix_ms};
use belay_wire::{CloseCode, MemberId, SessionId, compat::format_time};
use serde_json::json;

/// No device may stay connected for longer.
const LIMIT: Duration = Duration::from_secs(1);
/// Phones of one desktop.
const PHONES: usize = 20;
/// Time between two looks of a node at the store. Without the bus each try ends with such a look, so the
/// rest before the next one decides how long that takes: rests are spread over all of it.
const LOOKS_MS: u64 = 400;
/// By how much each rest differs from the one before, as part of that: the golden ratio spreads evenly.
const STEP_MS: u64 = 247;

#[expect(clippy::disallowed_methods, reason = "whoever runs it says how often it tries")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Phones at the second relay, of desktops at the first.
async fn phones(cluster: &Cluster, count: usize) -> (Vec<Desk>, Vec<(SessionId, Member)>) {
    let (mut desks, mut phones) = (Vec::new(), Vec::new());
    while phones.len() < count {
        cluster.balancer.set(&[cluster.relays[0].address()]);
        let mut desk = Desk::start(&cluster.any()).await;
        cluster.balancer.set(&[cluster.relays[1].address()]);
        for _ in 0..PHONES.min(count - phones.len()) {
            phones.push((desk.session.session, desk.pair(&cluster.any()).await));
        }
        desks.push(desk);
    }
    (desks, phones)
}

async fn revoke(http: &reqwest::Client, relay: &Relay, session: SessionId, member: MemberId) {
    let url = format!("http://{}/admin/sessions/{session}/devices/{member}", relay.admin());
    let call = http.delete(url).bearer_auth(relay.admin_token());
    let answer = call.send().await.expect("answered");
    assert!(answer.status().is_success(), "{answer:?}");
}

/// Removes one phone after the other; gives how long each of them stayed, sorted.
async fn remove(relay: &Relay, phones: &mut [(SessionId, Member)]) -> Vec<Duration> {
    let (mut times, http) = (Vec::new(), reqwest::Client::new());
    for (n, (session, phone)) in (1..).zip(phones) {
        tokio::time::sleep(Duration::from_millis(n * STEP_MS % LOOKS_MS)).await;
        let began = Instant::now();
        let ((), code) = tokio::join!(revoke(&http, relay, *session, phone.id), async {
            let code = phone.until_stopped().await;
            times.push(began.elapsed());
            code
        });
        assert_eq!(code, CloseCode::Revoked);
    }
    times.sort_unstable();
    times
}

fn row(bus: &str, times: &[Duration]) -> serde_json::Value {
    let ms = |thousandths: usize| {
        let rank = (times.len() * thousandths).div_ceil(1_000).max(1);
        times[rank - 1].as_millis()
    };
    json!({
        "commit": variable("BELAY_COMMIT").unwrap_or_default(),
        "started": format_time(unix_ms()),
        "bus": bus,
        "tries": times.len(),
        "over_1s": times.iter().filter(|time| **time > LIMIT).count(),
        "p50_ms": ms(500), "p90_ms": ms(900), "p99_ms": ms(990), "max_ms": ms(1_000),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_device_is_cut_off_everywhere_within_a_second() {
    let tries = variable("REVOKES").map_or(20, |n| n.parse().expect("a number"));
    let cluster = Cluster::start_of(3, Config { devices_max: PHONES, ..config() }).await;
    let (_desks, mut phones) = phones(&cluster, 2 * tries).await;

    let up = remove(&cluster.relays[2], &mut phones[..tries]).await;
    cluster.nats.process().kill();
    let down = remove(&cluster.relays[2], &mut phones[tries..]).await;

    let report = json!([row("up", &up), row("down", &down)]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/reports");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("revoke.json"), format!("{report:#}\n")).expect("written");
    // A run of its own measures; beside other tests it is no measurement.
    let limit = if variable("REVOKES").is_some() { LIMIT } else { 3 * LIMIT };
    for times in [&up, &down] {
        assert!(times.last().is_some_and(|slowest| *slowest <= limit), "{report:#}");
    }
}

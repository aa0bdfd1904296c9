//! The compat protocol: the reference desktop and phone of the testkit, step by step.

use std::time::{Duration, Instant};

use belay_testkit::compat::{Desktop, Net, Party as _, Wire};
use serde_json::{Value, json};

use crate::process::{Process, tell_memory, tell_times};

const SESSIONS: usize = 500;
const ROUND_TRIPS: u64 = 2_000;
/// Commands whose cost is measured, in bursts that the desktop reads.
const COMMANDS: u64 = 20_000;
const BURST: u64 = 100;

pub(crate) async fn measure(process: Process) {
    let empty = process.memory();
    let net = Net::native(&process.url);
    let mut pairs = Vec::new();
    for n in 0..SESSIONS {
        pairs.push(pair(&net, &format!("session-{n}-0123456789abcdef")).await);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    tell_memory(&empty, &process.memory(), 2 * SESSIONS);
    let (desktop, mut wire, mut phone) = pairs.swap_remove(0);
    let session = desktop.session_id;
    let mut times = Vec::new();
    for seq in 1..=ROUND_TRIPS {
        let started = Instant::now();
        phone.send(&select(&session, seq)).await;
        let mut command = wire.envelope().await;
        command["seq"] = json!(seq);
        wire.send(&command).await;
        phone.envelope().await;
        times.push(started.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tell_times("round trip", times);
    let before = process.cpu_ns();
    for burst in 0..COMMANDS / BURST {
        let first = ROUND_TRIPS + 1 + burst * BURST;
        for seq in first..first + BURST {
            phone.send(&select(&session, seq)).await;
        }
        for _ in 0..BURST {
            wire.envelope().await;
        }
    }
    let spent = process.cpu_ns() - before;
    println!("  CPU per thread.select     {} us", spent / COMMANDS / 1_000);
}

async fn pair(net: &Net, session: &str) -> (Desktop, Wire, Wire) {
    let mut desktop = Desktop::new(session);
    assert_eq!(net.post("/pair/start", &desktop.start()).await.status, 200);
    let mut wire = net.open().await;
    wire.auth(&desktop.token).await;
    let body = json!({ "sessionID": session, "joinToken": desktop.join_token });
    let joining = net.clone();
    let joining = tokio::spawn(async move { joining.post("/pair/join", &body).await });
    let request = wire.until("relay.pair_request").await;
    for answer in desktop.hears(&request) {
        wire.send(&answer).await;
    }
    wire.until("relay.pair_result").await;
    let joined = joining.await.expect("ran").body;
    let mut phone = net.open().await;
    phone.auth(joined["deviceSessionToken"].as_str().expect("a token")).await;
    wire.until("relay.device_count").await;
    (desktop, wire, phone)
}

fn select(session: &str, seq: u64) -> Value {
    json!({
        "schemaVersion": 2, "sessionID": session, "seq": seq, "timestamp": "2026-02-25T10:00:00Z",
        "payload": { "type": "command", "payload": {
            "name": "thread.select", "commandID": format!("cmd-{seq}"), "threadID": "t-1",
        } },
    })
}

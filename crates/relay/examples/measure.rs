//! Measures a relay process from outside: memory per idle socket, and the round trip phone →
//! desktop → phone on loopback. `make bench` runs it.

#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::time::{Duration, Instant};

use belay_client::Event;
use belay_testkit::{Desk, Member, Relay};
use belay_wire::{Channel, RawJson};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// Sessions of the memory measurement; each has a desktop and a phone.
const SESSIONS: usize = 500;
/// Round trips, one at a time.
const ROUND_TRIPS: usize = 2_000;

#[tokio::main]
async fn main() {
    let binary = std::env::args().nth(1).expect("the belay binary as argument");
    let folder = tempfile::tempdir().expect("temporary folder");
    let (child, url) = start(&binary, folder.path()).await;
    let pid = child.id().expect("it runs");
    let empty = resident(pid);
    let relay = Relay::at(&url);
    let mut pairs = Vec::new();
    for _ in 0..SESSIONS {
        let mut desk = Desk::start(&relay).await;
        let phone = desk.pair(&relay).await;
        pairs.push((desk, phone));
    }
    // The connections settle: presence is told, buffers are given back.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let full = resident(pid);
    let sockets = 2 * SESSIONS;
    println!("resident empty            {empty} bytes");
    println!("resident, {sockets} sockets   {full} bytes");
    println!("per idle socket           {} bytes", (full - empty) / sockets);
    let (desk, phone) = pairs.swap_remove(0);
    let mut times = round_trips(desk, phone).await;
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1_000].as_micros();
    println!("round trip, {} times     p50 {} us, p99 {} us", times.len(), at(500), at(990));
}

async fn start(binary: &str, folder: &std::path::Path) -> (Child, String) {
    let mut child = Command::new(binary)
        .args(["serve", "--exit-with-stdin", "--port=0", "--admin-listen=127.0.0.1:0"])
        .args(["--pair-per-minute=1000000", "--log-level=warn"])
        .arg(format!("--data-dir={}", folder.display()))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the relay starts");
    let stdout = child.stdout.take().expect("a pipe");
    let line = BufReader::new(stdout).lines().next_line().await.expect("readable");
    let port = line.expect("a line").replace("ready ", "");
    (child, format!("http://127.0.0.1:{port}"))
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("the kernel tells it");
    let kib: usize = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib * 1_024
}

/// Round trips phone → desktop → phone, one at a time.
async fn round_trips(mut desk: Desk, mut phone: Member) -> Vec<Duration> {
    let member = phone.id;
    let echo = tokio::spawn(async move {
        loop {
            let Event::Message(m) = desk.until(|e| matches!(e, Event::Message(_))).await else {
                unreachable!()
            };
            desk.client.applied(m.channel, m.position);
            desk.client.send(Channel::DownTo(member), m.payload, None).expect("room");
        }
    });
    let payload = RawJson::of(&"x".repeat(128)).expect("JSON");
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    while times.len() < ROUND_TRIPS {
        let started = Instant::now();
        phone.client.send(Channel::Up(member), payload.clone(), None).expect("room");
        let Event::Message(m) = phone.until(|e| matches!(e, Event::Message(_))).await else {
            unreachable!()
        };
        times.push(started.elapsed());
        phone.client.applied(m.channel, m.position);
        // Within the rate that a member may send.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    echo.abort();
    times
}

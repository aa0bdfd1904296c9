//! belay.v1: desktops and phones of our own client.

use std::time::{Duration, Instant};

use belay_client::Event;
use belay_testkit::{Desk, Member, Relay};
use belay_wire::{Channel, RawJson};

use crate::process::{Process, tell_memory, tell_times};

/// Sessions of the memory measurement; each has a desktop and a phone.
const SESSIONS: usize = 500;
/// Round trips, one at a time.
const ROUND_TRIPS: usize = 2_000;

pub(crate) async fn measure(process: Process) {
    let empty = process.memory();
    let relay = Relay::at(&process.url);
    let mut pairs = Vec::new();
    for _ in 0..SESSIONS {
        let mut desk = Desk::start(&relay).await;
        let phone = desk.pair(&relay).await;
        pairs.push((desk, phone));
    }
    // The connections settle: presence is told, buffers are given back.
    tokio::time::sleep(Duration::from_secs(3)).await;
    tell_memory(&empty, &process.memory(), 2 * SESSIONS);
    let (desk, phone) = pairs.swap_remove(0);
    tell_times("round trip", round_trips(desk, phone).await);
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

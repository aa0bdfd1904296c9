//! The broker's adapter against real servers.

#[path = "nats/bounds.rs"]
mod bounds;
#[path = "nats/bus.rs"]
mod bus;
#[path = "nats/contract.rs"]
mod contract;
#[path = "nats/faults.rs"]
mod faults;
#[path = "nats/raw.rs"]
mod raw;
#[path = "nats/streams.rs"]
mod streams;

#[path = "nats/tls.rs"]
mod tls;

use std::{
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use belay_adapters::{Nats, NatsOptions};
use belay_core::ports::{
    AppendError, ChannelId, LogEvent, MessageLog, Tail,
    contract::log::{channel, record},
};
use belay_servers::Nats as Server;
use belay_wire::{Channel, Secret};

pub(crate) const SECRET: &str = "a secret that all nodes know";

/// Options that tests start from.
pub(crate) fn options(url: &str, node: &str) -> NatsOptions {
    NatsOptions { shards: 2, ..NatsOptions::new(url, node, Secret::new(SECRET)) }
}

pub(crate) async fn connect(options: NatsOptions) -> Nats {
    let (nats, notes) = Nats::connect(options).await.expect("connects");
    assert_eq!(notes, [""; 0]);
    nats
}

pub(crate) async fn node(server: &Server, name: &str) -> Nats {
    connect(options(&server.url(), name)).await
}

pub(crate) fn start(folder: &Path) -> Server {
    Server::start(folder, &belay_servers::NatsOptions::default()).expect("nats")
}

pub(crate) fn down(n: u8) -> ChannelId {
    channel(n, |_| Channel::Down)
}

pub(crate) async fn append(log: &dyn MessageLog, id: ChannelId, n: u64) -> Tail {
    let tail = log.load(id).await.expect("readable").tail;
    log.append(id, tail, vec![record(n, 10)]).await.expect("stored")
}

/// Appends as the core does, until it is stored: what is there already is not appended again.
pub(crate) async fn append_patiently(
    log: &dyn MessageLog,
    id: ChannelId,
    n: u64,
    for_at_most: Duration,
) -> Tail {
    let deadline = Instant::now() + for_at_most;
    loop {
        let failed = match log.load(id).await {
            Ok(loaded) => {
                let records = loaded.entries.iter().flat_map(|e| &e.records);
                if records.map(|r| r.position.seq.value()).max() == Some(n) {
                    return loaded.tail;
                }
                match log.append(id, loaded.tail, vec![record(n, 10)]).await {
                    Ok(tail) => return tail,
                    Err(AppendError::Conflict) => "conflict".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => error.to_string(),
        };
        assert!(Instant::now() < deadline, "{failed}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a log tells from now on.
pub(crate) fn told(log: &Nats) -> mpsc::Receiver<LogEvent> {
    let (tell, told) = mpsc::sync_channel(10_000);
    log.subscribe(Arc::new(move |event| {
        let _ = tell.send(event);
    }));
    told
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, for_at_most: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + for_at_most;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

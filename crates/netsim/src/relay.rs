//! The relay as a host of the simulation.

use std::{collections::VecDeque, net::Ipv4Addr, sync::Arc, time::Duration};

use belay_adapters::Stores;
use belay_relay::{Config, embedded::Embedded};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{log::FaultyLog, world::World};

/// Name and port of the relay.
pub(crate) const RELAY: &str = "relay";
const PORT: u16 = 8787;

/// What an operator tells a relay.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Drain(Duration),
    EndDrain,
    /// What SIGTERM does.
    Stop,
}

/// Orders that the relay has not seen yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders(Arc<(Mutex<VecDeque<Order>>, Notify)>);

impl Orders {
    pub(crate) fn give(&self, order: Order) {
        self.0.0.lock().push_back(order);
        self.0.1.notify_one();
    }

    async fn next(&self) -> Order {
        loop {
            let order = self.0.0.lock().pop_front();
            match order {
                Some(order) => return order,
                None => self.0.1.notified().await,
            }
        }
    }
}

pub(crate) fn url() -> String {
    format!("http://{RELAY}:{PORT}")
}

/// Adds the relay; its log, store and keys outlive its crashes.
pub(crate) fn add(
    sim: &mut turmoil::Sim<'_>,
    world: &World,
    log: &Arc<FaultyLog>,
    orders: &Orders,
) {
    let stores = Stores { sessions: world.store.clone(), log: log.clone(), ..Stores::in_memory() };
    let (keys, orders) = (world.keys.clone(), orders.clone());
    sim.host(RELAY, move || run(keys.clone(), stores.clone(), orders.clone()));
}

async fn run(keys: belay_adapters::Keys, stores: Stores, orders: Orders) -> turmoil::Result {
    let config =
        Config { public_urls: vec![url()], store: "memory:".to_owned(), ..Config::default() };
    // What was said to the process before this one is not for this one.
    orders.0.0.lock().clear();
    let relay = Embedded::start(config, keys, stores);
    let listener = turmoil::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, peer) = accepted?;
                relay.serve(stream, peer.ip());
            }
            order = orders.next() => match order {
                Order::Drain(window) => relay.drain(window),
                Order::EndDrain => relay.end_drain(),
                Order::Stop => break,
            }
        }
    }
    drop(listener);
    relay.stop().await;
    Ok(())
}

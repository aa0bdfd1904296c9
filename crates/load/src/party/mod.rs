//! One end of a pair: it connects, answers pings, acknowledges, sends when told to, and comes back as the
//! client library does, of which it uses the ledger.

mod enter;
mod serve;
mod talk;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use belay_client::{Backoff, Ledger};
use belay_core::token::Principal;
use belay_wire::{Channel, Epoch};
use tokio::time::Instant;

use crate::{crowd::Crowd, link::CONNECT_TIMEOUT, world};

/// One end of a pair.
pub(crate) struct Party {
    crowd: Arc<Crowd>,
    pair: u64,
    relay: SocketAddr,
    principal: Principal,
    writes: Channel,
    /// The other end is at another relay.
    apart: bool,
    ledger: Ledger,
    attempt: u64,
    send_at: Option<Instant>,
}

impl Party {
    pub(crate) fn new(crowd: Arc<Crowd>, pair: u64, is_host: bool) -> Self {
        let (relay, apart) = crowd.place(pair, is_host);
        let member = world::member(pair);
        let (principal, writes) = if is_host {
            (Principal::Host, Channel::Down)
        } else {
            (Principal::Member(member), Channel::Up(member))
        };
        let (ledger, attempt) = (Ledger::default(), 0);
        Self { crowd, pair, relay, principal, writes, apart, ledger, attempt, send_at: None }
    }

    /// Lives until the process ends.
    pub(crate) async fn live(mut self) {
        let mut orders = self.crowd.orders();
        let mut backoff = Backoff::default();
        // The first time everybody waits for a place, later for nobody.
        let mut first = self.crowd.first.clone().acquire_owned().await.ok();
        loop {
            self.attempt += 1;
            let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect());
            match connecting.await.unwrap_or_else(|_| Err(anyhow::anyhow!("late"))) {
                Ok(socket) => {
                    drop(first.take());
                    backoff.reset();
                    self.crowd.connected.fetch_add(1, Ordering::Relaxed);
                    let ended = self.serve(socket, &mut orders).await;
                    self.crowd.connected.fetch_sub(1, Ordering::Relaxed);
                    if let Err(why) = ended {
                        self.crowd.count_drop(why);
                    }
                }
                Err(error) => {
                    self.crowd.count_failure(error.to_string());
                    self.ledger.unanswered(&mut draw);
                }
            }
            tokio::time::sleep(backoff.next(draw().0)).await;
        }
    }
}

fn draw() -> Epoch {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    Epoch(u64::from_le_bytes(bytes))
}

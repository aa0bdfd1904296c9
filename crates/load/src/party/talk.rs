//! What a party says and is told.

use std::{
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use belay_core::token::Principal;
use belay_wire::{Msg, Position, RawJson};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Party, draw};
use crate::{crowd::Orders, report::ratio};

/// Bytes of a message beside its time.
const FILL: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    /// When it was sent, Unix microseconds.
    t: u64,
    x: &'a str,
}

impl Party {
    /// Host and member speak by turns, each pair at a time of its own.
    pub(super) fn follow(&mut self, orders: &Orders) {
        let speaks = self.pair % 100 < orders.share;
        self.send_at = orders.every.filter(|_| speaks).map(|every| {
            let turn = if self.principal == Principal::Host { 0.0 } else { 1.0 };
            let own = ratio(draw().0 % 1_000, 1_000);
            Instant::now() + every.mul_f64(turn + own)
        });
    }

    pub(super) fn say(&mut self, every: Option<Duration>) {
        let Some(every) = every else { return self.send_at = None };
        self.send_at = self.send_at.map(|at| at + 2 * every);
        let Ok(payload) = RawJson::of(&Payload { t: now_us(), x: FILL }) else { return };
        let epoch = draw();
        match self.ledger.push(self.writes, payload, None, epoch) {
            Ok(_) => self.crowd.sent.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.crowd.unsent.fetch_add(1, Ordering::Relaxed),
        };
    }

    pub(super) fn take(&mut self, message: &Msg) {
        let at = Position::new(message.epoch, message.seq);
        self.ledger.applied(message.ch, at, std::time::Instant::now());
        if let Ok(Payload { t, .. }) = serde_json::from_str(message.p.text()) {
            self.crowd.note(now_us().saturating_sub(t), self.apart);
        }
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

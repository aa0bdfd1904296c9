//! What a party has written down: it outlives its processes.

use std::{collections::BTreeMap, time::Duration};

use belay_chaos::{
    audit::{self, Findings},
    lists::{Applied, Sent},
};
use belay_sim::Rng;
use belay_wire::{Channel, Position};

use crate::party::Party;

/// The lists of what was sent and applied, and what is known of the process that runs.
pub(crate) struct Notes {
    pub(crate) rng: Rng,
    pub(crate) sent: BTreeMap<Channel, BTreeMap<u64, Sent>>,
    /// Sent and not seen stored, where there is no outbox.
    pub(crate) unsure: Vec<(Channel, u64, Position)>,
    pub(crate) applied: BTreeMap<Channel, Vec<Applied>>,
    pub(crate) was_connected: bool,
    pub(crate) is_stored: bool,
    /// Reads nothing for so long.
    pub(crate) doze: Option<Duration>,
    pub(crate) given_up: u64,
    pub(crate) stopped: Option<String>,
}

impl Notes {
    pub(crate) fn new(rng: Rng, writes: &[Channel], reads: &[Channel]) -> Self {
        Self {
            rng,
            sent: writes.iter().map(|channel| (*channel, BTreeMap::new())).collect(),
            unsure: Vec::new(),
            applied: reads.iter().map(|channel| (*channel, Vec::new())).collect(),
            was_connected: false,
            is_stored: false,
            doze: None,
            given_up: 0,
            stopped: None,
        }
    }
}

impl Party {
    /// Its process has ended.
    pub(crate) fn crashed(&self) {
        let mut notes = self.notes.lock();
        notes.doze = None;
        notes.is_stored = false;
        for (channel, n, _) in std::mem::take(&mut notes.unsure) {
            notes.sent.entry(channel).or_default().insert(n, Sent::Unknown(n));
        }
    }

    pub(crate) fn doze(&self, time: Duration) {
        self.notes.lock().doze = Some(time);
    }

    pub(crate) fn was_connected(&self) -> bool {
        self.notes.lock().was_connected
    }

    /// Has applied something of all that it reads: from here on everything is owed to it.
    pub(crate) fn has_begun(&self) -> bool {
        self.notes.lock().applied.values().all(|lines| !lines.is_empty())
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.notes.lock().is_stored
    }

    pub(crate) fn stopped(&self) -> Option<String> {
        self.notes.lock().stopped.clone()
    }

    /// Messages that were sent, and those given up of them.
    pub(crate) fn sent(&self) -> (u64, u64) {
        let notes = self.notes.lock();
        (notes.sent.values().map(|sent| sent.len() as u64).sum(), notes.given_up)
    }

    /// What a reader of a channel that this party writes has missed.
    pub(crate) fn compare(&self, channel: Channel, reader: &Self) -> Findings {
        let sent = self.notes.lock().sent.get(&channel).cloned().unwrap_or_default();
        let notes = reader.notes.lock();
        audit::compare(&sent, notes.applied.get(&channel).map_or(&[], Vec::as_slice))
    }
}

//! Volatile messages of one channel: the newest per key, never stored.

use belay_wire::{Epoch, Frame, Position, Seq, VOLATILE_KEYS_MAX, Vol};
use bytes::Bytes;

#[derive(Debug)]
struct Entry {
    key: String,
    epoch: Epoch,
    after: Seq,
    vseq: u64,
    stamp: u64,
    bytes: Bytes,
}

/// The newest volatile message of each key, oldest first.
#[derive(Debug, Default)]
pub struct Volatiles {
    entries: Vec<Entry>,
    stamp: u64,
}

/// What became of a volatile message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Kept until the next of its key.
    Kept,
    /// A newer one of its key is here.
    Outdated,
    /// It replaced one that some reader may not have been sent, or pushed out the oldest key.
    Replaced,
}

impl Volatiles {
    /// Keeps a message if it is the newest of its key.
    pub fn put(&mut self, vol: Vol) -> Put {
        let known = self.entries.iter().position(|e| e.key == vol.key);
        if let Some(at) = known {
            let held = &self.entries[at];
            if held.epoch == vol.epoch && held.vseq >= vol.vseq {
                return Put::Outdated;
            }
            self.entries.remove(at);
        } else if self.entries.len() >= VOLATILE_KEYS_MAX {
            self.entries.remove(0);
        }
        self.stamp += 1;
        self.entries.push(Entry {
            key: vol.key.clone(),
            epoch: vol.epoch,
            after: vol.after,
            vseq: vol.vseq,
            stamp: self.stamp,
            bytes: Frame::from(vol).encode().into(),
        });
        if known.is_some() { Put::Replaced } else { Put::Kept }
    }

    /// A durable message with this key outdates the volatile ones before it.
    pub fn outdate(&mut self, key: &str) {
        self.entries.retain(|e| e.key != key);
    }

    /// The stamp of the newest message: readers compare it with the one they were last served.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The messages newer than `stamp` that a reader at `at` may take. Returns the stamp up to
    /// which it was served: one that waits for its place holds the rest back.
    pub fn since(&self, stamp: u64, at: Option<Position>, mut send: impl FnMut(&Bytes)) -> u64 {
        let mut served = stamp;
        for entry in self.entries.iter().filter(|e| e.stamp > stamp) {
            let Some(at) = at else { return self.stamp };
            if at.epoch == entry.epoch && at.seq < entry.after {
                return served;
            }
            if at.epoch == entry.epoch {
                send(&entry.bytes);
            }
            served = entry.stamp;
        }
        served.max(self.stamp)
    }
}

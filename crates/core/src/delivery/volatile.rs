//! Volatile messages of one channel: the newest per key, never stored.

use std::collections::VecDeque;

use belay_wire::{Epoch, Frame, Position, Seq, VOLATILE_KEYS_MAX, Vol, binary::VolHeader};
use bytes::Bytes;

/// A volatile message as its readers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The whole frame.
    Text(Bytes),
    /// Header and payload: the number of the channel differs between readers.
    Binary { header: String, payload: Bytes },
}

/// One volatile message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volatile {
    pub key: String,
    pub epoch: Epoch,
    /// The last durable number when it was made.
    pub after: Seq,
    pub vseq: u64,
    pub body: Body,
}

impl Volatile {
    /// A binary one, of a channel's open epoch.
    pub fn binary(epoch: Epoch, vseq: u64, header: VolHeader, payload: Bytes) -> Self {
        let body = Body::Binary { header: header.encode(), payload };
        Self { key: header.key, epoch, after: header.after, vseq, body }
    }
}

impl From<Vol> for Volatile {
    fn from(vol: Vol) -> Self {
        let (key, epoch, after, vseq) = (vol.key.clone(), vol.epoch, vol.after, vol.vseq);
        Self { key, epoch, after, vseq, body: Body::Text(Frame::from(vol).encode().into()) }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    message: Volatile,
    stamp: u64,
}

/// The newest volatile message of each key, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Volatiles {
    entries: Vec<Entry>,
    stamp: u64,
    /// Keys of the newest durable messages, with their place: what was made before them is outdated.
    durable: VecDeque<(String, Position)>,
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
    pub fn put(&mut self, message: Volatile) -> Put {
        let is_later = |(key, at): &(String, Position)| {
            *key == message.key && at.epoch == message.epoch && at.seq > message.after
        };
        if self.durable.iter().any(is_later) {
            return Put::Outdated;
        }
        let known = self.entries.iter().position(|e| e.message.key == message.key);
        if let Some(at) = known {
            let held = &self.entries[at].message;
            if held.epoch == message.epoch && held.vseq >= message.vseq {
                return Put::Outdated;
            }
            self.entries.remove(at);
        }
        let full = known.is_none() && self.entries.len() >= VOLATILE_KEYS_MAX;
        if full {
            self.entries.remove(0);
        }
        self.stamp += 1;
        self.entries.push(Entry { message, stamp: self.stamp });
        if known.is_some() || full { Put::Replaced } else { Put::Kept }
    }

    /// A durable message with this key outdates the volatile ones before it.
    pub fn outdate(&mut self, key: &str, at: Position) {
        self.entries.retain(|e| e.message.key != key);
        self.durable.retain(|(known, _)| known != key);
        self.durable.push_back((key.to_owned(), at));
        if self.durable.len() > VOLATILE_KEYS_MAX {
            self.durable.pop_front();
        }
    }

    /// The stamp of the newest message: readers compare it with the one they were last served.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The messages newer than `stamp` that a reader at `at` may take. Returns the stamp up to
    /// which it was served: one that waits for its place holds the rest back.
    pub fn since(&self, stamp: u64, at: Option<Position>, mut send: impl FnMut(&Volatile)) -> u64 {
        let mut served = stamp;
        for entry in self.entries.iter().filter(|e| e.stamp > stamp) {
            let Some(at) = at else { return self.stamp };
            if at.epoch == entry.message.epoch && at.seq < entry.message.after {
                return served;
            }
            if at.epoch == entry.message.epoch {
                send(&entry.message);
            }
            served = entry.stamp;
        }
        served.max(self.stamp)
    }
}

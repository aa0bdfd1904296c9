//! The streams: which there are, and making those that are missing.

mod health;
mod make;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use self::make::Trouble;
use super::{
    answer::CallError,
    names::{Names, Place},
    options::{NatsError, NatsOptions},
    wire::{REQUEST_TIMEOUT, Wire},
};

/// Time between tries to find or make a stream.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// A stream that was looked for is not looked for again before this.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Streams that are asked about at once.
const AT_ONCE: usize = 16;
/// How long a broker that just started may take until it makes and reads streams.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A stream as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) incarnation: u64,
}

/// What the broker says of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) config: Value,
    pub(super) state: State,
    cluster: Option<Cluster>,
}

#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub(super) last_seq: u64,
}

#[derive(Debug, Deserialize)]
struct Cluster {
    #[serde(default)]
    leader: String,
    #[serde(default)]
    replicas: Vec<Replica>,
}

/// A copy of a stream at another server than its leader.
#[derive(Debug, Deserialize)]
struct Replica {
    #[serde(default)]
    offline: bool,
    /// Nanoseconds since the leader heard of it.
    #[serde(default)]
    active: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// 0: not known.
    incarnation: AtomicU64,
    /// The greatest sequence that was seen in it.
    seen: AtomicU64,
    looked: tokio::sync::Mutex<Option<Instant>>,
    /// Why nothing could be written when it was checked last.
    fault: Mutex<Option<String>>,
}

/// All streams of one prefix.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) names: Names,
    wire: Arc<Wire>,
    options: NatsOptions,
    slots: Vec<Slot>,
    /// What was found and not told yet.
    notes: Mutex<BTreeSet<String>>,
}

impl Streams {
    pub(super) fn new(wire: Arc<Wire>, options: NatsOptions) -> Self {
        let names = Names::new(&options.prefix, options.shards);
        let slots = names.places().map(|_| Slot::default()).collect();
        Self { names, wire, options, slots, notes: Mutex::default() }
    }

    fn slot(&self, place: Place) -> &Slot {
        &self.slots[Names::index(place) % self.slots.len()]
    }

    /// Finds or makes all of them; tells what differs from what is wanted.
    pub(super) async fn open(&self) -> Result<Vec<String>, NatsError> {
        let deadline = Instant::now() + START_PATIENCE;
        let open = |place| async move {
            loop {
                match self.find_or_make(place).await {
                    Ok(_) => return Ok(()),
                    Err(Trouble::Final(error)) => return Err(error),
                    Err(Trouble::Call(error)) if Instant::now() > deadline => {
                        let subjects = self.names.subjects(place);
                        return Err(NatsError::Stream { subjects, reason: error.to_string() });
                    }
                    Err(Trouble::Call(_)) => sleep(RETRY_AFTER).await,
                }
            }
        };
        let places: Vec<_> = self.names.places().map(open).collect();
        let mut opened = stream::iter(places).buffer_unordered(AT_ONCE);
        while let Some(result) = opened.next().await {
            result?;
        }
        Ok(self.take_notes())
    }

    /// What was found since it was asked last.
    pub(super) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock()).into_iter().collect()
    }

    /// The stream at a place as far as it is known, else as it is found or made.
    pub(super) async fn current(&self, place: Place) -> Result<Stream, CallError> {
        match self.known(place) {
            Some(stream) => Ok(stream),
            None => self.look_again(place, 0).await,
        }
    }

    pub(super) fn known(&self, place: Place) -> Option<Stream> {
        let incarnation = self.slot(place).incarnation.load(Ordering::Acquire);
        let name = || self.names.stream(place, incarnation);
        (incarnation != 0).then(|| Stream { name: name(), incarnation })
    }

    /// Something was stored in it.
    pub(super) fn saw(&self, place: Place, incarnation: u64, sequence: u64) {
        let slot = self.slot(place);
        if slot.incarnation.load(Ordering::Acquire) == incarnation {
            slot.seen.fetch_max(sequence, Ordering::AcqRel);
        }
    }

    /// Takes the last sequence of a stream, and gives the greatest that was seen before.
    pub(super) fn swap_seen(&self, place: Place, sequence: u64) -> u64 {
        self.slot(place).seen.swap(sequence, Ordering::AcqRel)
    }

    /// The stream that was known as `incarnation` is not there: finds or makes another one. Many may ask
    /// at once, one looks.
    pub(super) async fn look_again(
        &self,
        place: Place,
        incarnation: u64,
    ) -> Result<Stream, CallError> {
        let slot = self.slot(place);
        let mut looked = slot.looked.lock().await;
        if let Some(stream) = self.known(place)
            && (stream.incarnation != incarnation
                || looked.is_some_and(|at| at.elapsed() < LOOK_PAUSE))
        {
            return Ok(stream);
        }
        let found = self.find_or_make(place).await;
        *looked = Some(Instant::now());
        found.map_err(|trouble| match trouble {
            Trouble::Call(error) => error,
            Trouble::Final(error) => CallError::Garbled(error.to_string()),
        })
    }

    /// State and configuration of a stream, from its leader.
    pub(super) async fn info(&self, stream: &Stream) -> Result<Info, CallError> {
        let operation = format!("STREAM.INFO.{}", stream.name);
        self.wire.call(&operation, &Value::Null, REQUEST_TIMEOUT).await
    }
}

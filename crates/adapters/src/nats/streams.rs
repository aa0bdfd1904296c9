//! The streams: which there are, and making those that are missing.

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
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    names::{Names, Place},
    options::{NatsError, NatsOptions},
    settings,
    wire::{CallError, REQUEST_TIMEOUT, Wire, codes},
};

/// How long the broker may take to make a stream: with replicas they must choose a leader.
const MAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Tries to find or make a stream, if nodes do it at once.
const TRIES: usize = 5;
/// Time between them.
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
}

impl Info {
    /// Tells whether somebody can write it.
    pub(super) fn is_led(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| !cluster.leader.is_empty())
    }
}

#[derive(Debug, Default)]
struct Slot {
    /// 0: not known.
    incarnation: AtomicU64,
    /// The greatest sequence that was seen in it.
    seen: AtomicU64,
    looked: tokio::sync::Mutex<Option<Instant>>,
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

    async fn find_or_make(&self, place: Place) -> Result<Stream, Trouble> {
        let mut last = CallError::Nobody;
        for _ in 0..TRIES {
            let found = match self.find(place).await? {
                Some(stream) => self.check(place, &stream).await.map(|()| stream),
                None => self.make(place).await,
            };
            match found {
                Ok(stream) => {
                    let slot = self.slot(place);
                    let before = slot.incarnation.swap(stream.incarnation, Ordering::AcqRel);
                    if before != stream.incarnation {
                        slot.seen.store(0, Ordering::Release);
                    }
                    return Ok(stream);
                }
                // Another node made it in this moment.
                Err(Trouble::Call(CallError::Refused {
                    code: code @ (codes::OVERLAP | codes::NAME_EXISTS | codes::STREAM_NOT_FOUND),
                    description,
                })) => last = CallError::Refused { code, description },
                Err(other) => return Err(other),
            }
            sleep(RETRY_AFTER).await;
        }
        Err(Trouble::Call(last))
    }

    async fn find(&self, place: Place) -> Result<Option<Stream>, Trouble> {
        #[derive(Deserialize)]
        struct Found {
            streams: Option<Vec<String>>,
        }
        let subjects = self.names.subjects(place);
        let filter = json!({ "subject": subjects });
        let found: Found = self.wire.call("STREAM.NAMES", &filter, REQUEST_TIMEOUT).await?;
        let mut names = found.streams.unwrap_or_default().into_iter();
        let Some(name) = names.next() else { return Ok(None) };
        match (self.names.incarnation(place, &name), names.next()) {
            (Some(incarnation), None) => Ok(Some(Stream { name, incarnation })),
            (Some(_), Some(stream)) => Err(Trouble::Final(NatsError::Taken { stream, subjects })),
            (None, _) => Err(Trouble::Final(NatsError::Taken { stream: name, subjects })),
        }
    }

    /// Tells whether a stream is as it should be.
    async fn check(&self, place: Place, stream: &Stream) -> Result<(), Trouble> {
        let info = self.info(stream).await?;
        let wanted = settings::wanted(&self.options, &self.names, place, stream.incarnation);
        settings::check_shards(&self.options, &info.config).map_err(Trouble::Final)?;
        let differ = settings::drift(&wanted, &info.config);
        if !differ.is_empty() {
            let note = format!("stream {} differs from what is configured: {differ}", stream.name);
            self.notes.lock().insert(note);
        }
        Ok(())
    }

    /// State and configuration of a stream, from its leader.
    pub(super) async fn info(&self, stream: &Stream) -> Result<Info, CallError> {
        let operation = format!("STREAM.INFO.{}", stream.name);
        self.wire.call(&operation, &Value::Null, REQUEST_TIMEOUT).await
    }

    async fn make(&self, place: Place) -> Result<Stream, Trouble> {
        let mut bytes = [0; 8];
        let drawn = getrandom::fill(&mut bytes);
        drawn.map_err(|e| Trouble::Call(CallError::Garbled(e.to_string())))?;
        // 0 is the incarnation of logs that were never read.
        let incarnation = u64::from_be_bytes(bytes).max(1);
        let config = settings::wanted(&self.options, &self.names, place, incarnation);
        let name = self.names.stream(place, incarnation);
        let operation = format!("STREAM.CREATE.{name}");
        match self.wire.call::<Value>(&operation, &config, MAKE_TIMEOUT).await {
            Ok(_) => Ok(Stream { name, incarnation }),
            Err(CallError::Refused { code, description })
                if code == codes::REPLICAS
                    || (code == codes::NO_PEERS && self.options.replicas > 1) =>
            {
                let wanted = self.options.replicas;
                Err(Trouble::Final(NatsError::Replicas { wanted, reason: description }))
            }
            Err(error) => Err(Trouble::Call(error)),
        }
    }

    /// Asks all streams whether they can be written.
    pub(super) async fn check_all(&self) -> Result<(), String> {
        let check = |place| async move {
            let stream = self.current(place).await.map_err(|e| e.to_string())?;
            let info = match self.info(&stream).await {
                Err(error) if error.is_gone() => {
                    let stream = self.look_again(place, stream.incarnation).await;
                    let stream = stream.map_err(|e| e.to_string())?;
                    self.info(&stream).await
                }
                other => other,
            };
            let info = info.map_err(|e| format!("{}: {e}", stream.name))?;
            if info.is_led() { Ok(()) } else { Err(format!("{} has no leader", stream.name)) }
        };
        let checks: Vec<_> = self.names.places().map(check).collect();
        let mut checks = stream::iter(checks).buffer_unordered(AT_ONCE);
        while let Some(result) = checks.next().await {
            result?;
        }
        Ok(())
    }
}

/// What stands against a stream.
enum Trouble {
    /// Trying again may help.
    Call(CallError),
    /// It needs an operator.
    Final(NatsError),
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

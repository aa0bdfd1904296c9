//! A message log that outlives its relay, takes its time, and fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use belay_adapters::MemoryLog;
use belay_core::{
    delivery::Record,
    ports::{
        AppendError, ChannelId, Listener, Loaded, LogAnswer, LogUnavailable, MessageLog, Tail,
    },
};
use belay_sim::Rng;
use parking_lot::Mutex;

/// Longest time from the call until an entry is stored, and from there to the answer, milliseconds.
const PART_MS_MAX: u64 = 15;

/// What becomes of an append.
#[derive(Clone, Copy)]
enum Fate {
    Stored,
    Refused,
    /// It is stored, and the answer says that this is not known.
    StoredUnknown,
    /// It is not stored, and the answer says that this is not known.
    LostUnknown,
}

/// Entries in memory behind a slow and faulty disk.
#[derive(Debug)]
pub(crate) struct FaultyLog {
    inner: Arc<MemoryLog>,
    rng: Mutex<Rng>,
    down: AtomicBool,
}

impl FaultyLog {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = Mutex::new(Rng::new(seed));
        Self { inner: Arc::default(), rng, down: AtomicBool::new(false) }
    }

    /// From now on nothing can be stored, or everything again.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Release);
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.rng.lock().below(PART_MS_MAX + 1))
    }

    fn fate(&self) -> Fate {
        let drawn = self.rng.lock().below(1_000);
        match drawn {
            _ if self.down.load(Ordering::Acquire) => Fate::Refused,
            0..5 => Fate::Refused,
            5..8 => Fate::StoredUnknown,
            8..11 => Fate::LostUnknown,
            _ => Fate::Stored,
        }
    }
}

impl MessageLog for FaultyLog {
    fn append(
        &self,
        id: ChannelId,
        expected: Tail,
        records: Vec<Record>,
    ) -> LogAnswer<Tail, AppendError> {
        let (fate, before, after) = (self.fate(), self.pause(), self.pause());
        let inner = self.inner.clone();
        Box::pin(async move {
            tokio::time::sleep(before).await;
            let answer = match fate {
                Fate::Refused => Err(AppendError::Refused("simulated".to_owned())),
                Fate::LostUnknown => Err(AppendError::Unknown("simulated".to_owned())),
                Fate::Stored => inner.append(id, expected, records).await,
                Fate::StoredUnknown => {
                    let answer = inner.append(id, expected, records).await;
                    answer.and(Err(AppendError::Unknown("simulated".to_owned())))
                }
            };
            tokio::time::sleep(after).await;
            answer
        })
    }

    fn load(&self, id: ChannelId) -> LogAnswer<Loaded> {
        let (pause, inner) = (self.pause(), self.inner.clone());
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            inner.load(id).await
        })
    }

    fn subscribe(&self, listener: Listener) {
        self.inner.subscribe(listener);
    }

    fn purge(&self, id: ChannelId, before: u64) -> LogAnswer<()> {
        self.inner.purge(id, before)
    }

    fn forget(&self, id: ChannelId) -> LogAnswer<()> {
        self.inner.forget(id)
    }

    fn check(&self) -> LogAnswer<()> {
        let down = self.down.load(Ordering::Acquire);
        let answer = if down { Err(LogUnavailable("simulated".to_owned())) } else { Ok(()) };
        Box::pin(std::future::ready(answer))
    }
}

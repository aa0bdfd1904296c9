//! Appends: one message each, stored only if its channel ends where the caller believes.

use std::{sync::Arc, time::Duration};

use async_nats::HeaderMap;
use belay_core::{
    delivery::Record,
    ports::{AppendError, ChannelId, Tail},
};
use bytes::Bytes;
use serde::Deserialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};

use super::{
    Inner,
    answer::{CallError, codes, read},
    entry,
};

/// How long the broker may take to store an entry.
pub(super) const APPEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses before an append is sent again that another one of its channel held up.
const PAUSE_MIN: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(400);
/// How long it may take to find out why nobody took it.
const WHY_TIMEOUT: Duration = Duration::from_secs(2);
/// Appends in flight; more are refused.
const APPENDS_MAX: usize = 4_096;
/// Their bytes, in units of [`UNIT`].
const UNITS_MAX: usize = 64 * 1024;
/// Bytes that one permit stands for.
const UNIT: usize = 1024;
/// Bytes that an entry takes besides those of its records.
const RECORD_OVERHEAD: usize = 64;

/// The room for appends in flight.
#[derive(Debug)]
pub(super) struct Flight {
    appends: Arc<Semaphore>,
    units: Arc<Semaphore>,
}

impl Default for Flight {
    fn default() -> Self {
        let semaphore = |n| Arc::new(Semaphore::new(n));
        Self { appends: semaphore(APPENDS_MAX), units: semaphore(UNITS_MAX) }
    }
}

/// One append's part of it.
pub(super) struct Room {
    _append: OwnedSemaphorePermit,
    _units: OwnedSemaphorePermit,
}

impl Flight {
    pub(super) fn enter(&self, records: &[Record]) -> Result<Room, AppendError> {
        let bytes: usize = records.iter().map(|r| r.bytes.len() + RECORD_OVERHEAD).sum();
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let full = |_| AppendError::Refused("too much waits to be stored".to_owned());
        Ok(Room {
            _append: self.appends.clone().try_acquire_owned().map_err(full)?,
            _units: self.units.clone().try_acquire_many_owned(units).map_err(full)?,
        })
    }
}

#[derive(Deserialize)]
struct Stored {
    seq: u64,
}

impl Inner {
    /// Appends one entry.
    pub(super) async fn append(
        &self,
        id: ChannelId,
        expected: Tail,
        records: Vec<Record>,
    ) -> Result<Tail, AppendError> {
        let mut payload = Vec::new();
        crate::record::encode(&records, &mut payload);
        let payload = Bytes::from(payload);
        let deadline = Instant::now() + APPEND_TIMEOUT;
        let mut pause = PAUSE_MIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.append_once(id, expected, payload.clone(), left).await {
                // Another entry of the channel is being stored by the replicas. Once it is, this one stands
                // against it; if they have no majority, nothing can be stored.
                Err(CallError::Refused { code: codes::IN_FLIGHT, .. }) if left > pause => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Ok(tail) => return Ok(tail),
                Err(CallError::Nobody) => return Err(self.why_nobody(id, expected).await),
                Err(error) => return Err(classify(&error)),
            }
        }
    }

    async fn append_once(
        &self,
        id: ChannelId,
        expected: Tail,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Tail, CallError> {
        let names = &self.streams.names;
        let place = names.place(id);
        let stream = names.stream(place, expected.incarnation);
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Stream", stream.as_str());
        headers.insert(entry::EXPECTED, expected.offset.to_string().as_str());
        let subject = names.subject(id);
        let answer = self.wire.request(subject, Some(headers), payload, timeout).await?;
        let Stored { seq: offset } = read(&answer.payload)?;
        if offset <= expected.offset {
            return Err(CallError::Garbled(format!("it was stored as {offset}")));
        }
        let tail = Tail { offset, ..expected };
        self.streams.saw(place, tail.incarnation, offset);
        Ok(tail)
    }

    /// Nobody took an entry: its stream has no leader now, or is gone.
    async fn why_nobody(&self, id: ChannelId, expected: Tail) -> AppendError {
        let place = self.streams.names.place(id);
        let look = self.streams.look_again(place, expected.incarnation);
        match tokio::time::timeout(WHY_TIMEOUT, look).await {
            Ok(Ok(stream)) if stream.incarnation != expected.incarnation => AppendError::Conflict,
            _ => AppendError::Refused(CallError::Nobody.to_string()),
        }
    }
}

fn classify(error: &CallError) -> AppendError {
    match error {
        CallError::Refused { code, .. }
            if [codes::OTHER_SEQUENCE, codes::OTHER_STREAM].contains(code) =>
        {
            AppendError::Conflict
        }
        // A broker that answers so has stored nothing.
        CallError::Refused { .. }
        | CallError::Away
        | CallError::TooLarge
        | CallError::Nobody
        | CallError::Newer(_) => AppendError::Refused(error.to_string()),
        CallError::Late | CallError::Lost | CallError::Garbled(_) => {
            AppendError::Unknown(error.to_string())
        }
    }
}

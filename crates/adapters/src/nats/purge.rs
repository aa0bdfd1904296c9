//! Purges: at most one in flight per channel, and the newest wins.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
    time::Duration,
};

use belay_core::ports::{ChannelId, LogUnavailable};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

use super::{Inner, answer::CallError};

/// How long one purge may take.
const PURGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Tries of one purge.
const TRIES: usize = 2;
/// Channels with a purge; more are refused.
const CHANNELS_MAX: usize = 4_096;
/// Purges in flight.
const AT_ONCE: usize = 64;
/// Callers that wait for one channel.
const CALLERS_MAX: usize = 64;

type Answer = Result<(), LogUnavailable>;

#[derive(Debug, Default)]
struct Slot {
    before: u64,
    /// The log that it is about: an offset means nothing in another one.
    incarnation: u64,
    callers: Vec<oneshot::Sender<Answer>>,
}

/// The purges that wait or run.
#[derive(Debug)]
pub(super) struct Purges {
    slots: Mutex<HashMap<ChannelId, Slot>>,
    turns: Semaphore,
}

impl Default for Purges {
    fn default() -> Self {
        Self { slots: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

impl Inner {
    /// Queues a purge; `Err` if too many wait.
    pub(super) fn queue_purge(
        self: &Arc<Self>,
        id: ChannelId,
        before: u64,
    ) -> Result<oneshot::Receiver<Answer>, LogUnavailable> {
        let full = || Err(LogUnavailable("too many purges wait".to_owned()));
        let (tell, answer) = oneshot::channel();
        let stream = self.streams.known(self.streams.names.place(id));
        let incarnation = stream.map_or(0, |stream| stream.incarnation);
        let mut slots = self.purges.slots.lock();
        let many = slots.len() >= CHANNELS_MAX;
        match slots.entry(id) {
            hash_map::Entry::Occupied(mut slot) => {
                let slot = slot.get_mut();
                if slot.callers.len() >= CALLERS_MAX {
                    return full();
                }
                let same = slot.incarnation == incarnation;
                slot.before = if same { slot.before.max(before) } else { before };
                slot.incarnation = incarnation;
                slot.callers.push(tell);
            }
            hash_map::Entry::Vacant(_) if many => return full(),
            hash_map::Entry::Vacant(slot) => {
                slot.insert(Slot { before, incarnation, callers: vec![tell] });
                let inner = self.clone();
                self.runtime.spawn(async move { inner.run_purges(id).await });
            }
        }
        Ok(answer)
    }

    async fn run_purges(&self, id: ChannelId) {
        let Ok(_turn) = self.purges.turns.acquire().await else { return };
        loop {
            let (slot, callers) = {
                let mut slots = self.purges.slots.lock();
                match slots.get_mut(&id) {
                    Some(slot) if !slot.callers.is_empty() => {
                        ((slot.before, slot.incarnation), std::mem::take(&mut slot.callers))
                    }
                    _ => {
                        slots.remove(&id);
                        return;
                    }
                }
            };
            let answer = self.purge(id, slot.0, slot.1).await;
            let answer = answer.map_err(|error| LogUnavailable(error.to_string()));
            for caller in callers {
                let _ = caller.send(answer.clone());
            }
        }
    }

    /// Purges what lies before an entry, and never the last one.
    async fn purge(&self, id: ChannelId, before: u64, incarnation: u64) -> Result<(), CallError> {
        let place = self.streams.names.place(id);
        let subject = self.streams.names.subject(id);
        let mut result = Ok(());
        for _ in 0..TRIES {
            let stream = self.streams.current(place).await?;
            if incarnation != 0 && stream.incarnation != incarnation {
                return Ok(());
            }
            // What was seen as tail stays, unless the log went back, which is a doubt that clears it.
            let seen = self.watch.tail(id).filter(|t| t.incarnation == stream.incarnation);
            let before = match seen {
                Some(tail) if before <= tail.offset => before,
                _ => match self.last(&stream, &subject).await? {
                    Some(last) => before.min(last.sequence),
                    None => return Ok(()),
                },
            };
            let body = json!({ "filter": subject, "seq": before });
            let operation = format!("STREAM.PURGE.{}", stream.name);
            match self.wire.call::<Value>(&operation, &body, PURGE_TIMEOUT).await {
                Ok(_) => return Ok(()),
                // A stream that was made anew holds nothing that is to be purged.
                Err(error) if error.is_gone() => {
                    self.streams.look_again(place, stream.incarnation).await?;
                    return Ok(());
                }
                Err(error @ CallError::Away) => return Err(error),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Purges a whole channel.
    pub(super) async fn forget(&self, id: ChannelId) -> Result<(), CallError> {
        let place = self.streams.names.place(id);
        let body = json!({ "filter": self.streams.names.subject(id) });
        let mut result = Ok(());
        for _ in 0..TRIES {
            let stream = self.streams.current(place).await?;
            let operation = format!("STREAM.PURGE.{}", stream.name);
            match self.wire.call::<Value>(&operation, &body, PURGE_TIMEOUT).await {
                Ok(_) => {
                    self.watch.forget(id);
                    return Ok(());
                }
                Err(error) if error.is_gone() => {
                    self.streams.look_again(place, stream.incarnation).await?;
                    result = Err(error);
                }
                Err(error @ CallError::Away) => return Err(error),
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

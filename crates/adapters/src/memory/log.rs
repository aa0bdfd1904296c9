//! Channel logs in memory: they end with their process.

use std::{collections::BTreeMap, sync::Arc};

use belay_core::{
    delivery::Record,
    ports::{
        AppendError, ChannelId, Entry, Listener, Loaded, LogAnswer, LogEvent, LogUnavailable,
        MessageLog, Tail,
    },
};
use parking_lot::Mutex;

/// Logs that several nodes of one process may share.
#[derive(Clone, Default)]
pub struct MemoryLog {
    channels: Arc<Mutex<BTreeMap<ChannelId, Loaded>>>,
    listeners: Arc<Mutex<Vec<Listener>>>,
}

impl std::fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLog")
            .field("channels", &self.channels.lock().len())
            .finish_non_exhaustive()
    }
}

impl MessageLog for MemoryLog {
    fn append(
        &self,
        id: ChannelId,
        expected: Tail,
        records: Vec<Record>,
    ) -> LogAnswer<Tail, AppendError> {
        let mut channels = self.channels.lock();
        let log = channels.entry(id).or_default();
        if log.tail != expected {
            return done(Err(AppendError::Conflict));
        }
        log.tail.offset += 1;
        let tail = log.tail;
        let entry = Entry { offset: tail.offset, records };
        log.entries.push(entry.clone());
        drop(channels);
        let previous = expected.offset;
        let event = LogEvent::Stored { id, previous, tail, entry };
        self.listeners.lock().iter().for_each(|tell| tell(event.clone()));
        done(Ok(tail))
    }

    fn load(&self, id: ChannelId) -> LogAnswer<Loaded> {
        done(Ok(self.channels.lock().get(&id).cloned().unwrap_or_default()))
    }

    fn subscribe(&self, listener: Listener) {
        self.listeners.lock().push(listener);
    }

    fn purge(&self, id: ChannelId, before: u64) -> LogAnswer<()> {
        if let Some(log) = self.channels.lock().get_mut(&id) {
            let tail = log.tail.offset;
            log.entries.retain(|entry| entry.offset >= before || entry.offset == tail);
        }
        done(Ok(()))
    }

    fn forget(&self, id: ChannelId) -> LogAnswer<()> {
        self.channels.lock().remove(&id);
        done(Ok(()))
    }

    fn check(&self) -> LogAnswer<()> {
        done::<(), LogUnavailable>(Ok(()))
    }
}

fn done<T: Send + 'static, E: Send + 'static>(result: Result<T, E>) -> LogAnswer<T, E> {
    Box::pin(std::future::ready(result))
}

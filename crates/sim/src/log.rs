//! The stored logs, which refuse, answer late or not, go back and get lost.

use std::collections::BTreeMap;

use belay_core::{
    delivery::{Ask, Record, RecordKind},
    ports::{AppendError, Entry, Loaded, Tail},
    session::LogTold,
};
use belay_wire::Channel;

use crate::client::number;

/// All channels of one session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logs {
    channels: BTreeMap<Channel, Loaded>,
}

/// What an ask led to.
pub(crate) struct Done {
    pub(crate) told: Option<LogTold>,
    /// What other nodes are told: the offset before, the new tail and the entry.
    pub(crate) stored: Option<(u64, Tail, Entry)>,
}

impl Logs {
    pub(crate) fn carry_out(&mut self, channel: Channel, ask: Ask) -> Done {
        let log = self.channels.entry(channel).or_default();
        let told = match ask {
            Ask::Load => LogTold::Loaded(Ok(log.clone())),
            Ask::Append { expected, records } => {
                if expected != log.tail {
                    let told = Some(LogTold::Appended(Err(AppendError::Conflict)));
                    return Done { told, stored: None };
                }
                let stored = append(log, records);
                let told = LogTold::Appended(Ok(log.tail));
                return Done { told: Some(told), stored: Some(stored) };
            }
            Ask::Purge { before } => {
                let tail = log.tail.offset;
                log.entries.retain(|entry| entry.offset >= before || entry.offset == tail);
                return Done { told: None, stored: None };
            }
            Ask::Forget => {
                self.channels.remove(&channel);
                return Done { told: None, stored: None };
            }
        };
        Done { told: Some(told), stored: None }
    }

    /// The last entries of a channel are gone; positions are given again. Gives their payloads.
    pub(crate) fn go_back(&mut self, channel: Channel, entries: usize) -> Vec<Record> {
        let Some(log) = self.channels.get_mut(&channel) else { return Vec::new() };
        let keep = log.entries.len().saturating_sub(entries).max(1).min(log.entries.len());
        let gone = log.entries.split_off(keep);
        log.tail.offset = log.entries.last().map_or(0, |entry| entry.offset);
        gone.into_iter().flat_map(|entry| entry.records).collect()
    }

    /// A channel is empty, in another incarnation. Gives what was in it.
    pub(crate) fn lose(&mut self, channel: Channel) -> Vec<Record> {
        let Some(log) = self.channels.get_mut(&channel) else { return Vec::new() };
        let tail = Tail { incarnation: log.tail.incarnation + 1, offset: 0 };
        let gone = std::mem::replace(log, Loaded { tail, entries: Vec::new() });
        gone.entries.into_iter().flat_map(|entry| entry.records).collect()
    }

    /// The messages of a channel that an expiry among these records takes.
    pub(crate) fn expired(&self, channel: Channel, records: &[Record]) -> Vec<Record> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "one kind of many")]
        let to = records.iter().find_map(|record| match record.kind {
            RecordKind::Expired { to } => Some(to),
            _ => None,
        });
        let (Some(to), Some(log)) = (to, self.channels.get(&channel)) else { return Vec::new() };
        let all: Vec<_> = log.entries.iter().flat_map(|entry| &entry.records).collect();
        let end = all.iter().rposition(|record| record.position == to).map_or(0, |at| at + 1);
        all[..end].iter().map(|record| (*record).clone()).collect()
    }

    /// What a channel holds, oldest first.
    pub(crate) fn records(&self, channel: Channel) -> impl Iterator<Item = &Record> {
        let entries = self.channels.get(&channel).into_iter().flat_map(|log| &log.entries);
        entries.flat_map(|entry| &entry.records)
    }

    /// How many entries a channel has.
    pub(crate) fn entries(&self, channel: Channel) -> usize {
        self.channels.get(&channel).map_or(0, |log| log.entries.len())
    }

    pub(crate) fn names(&self) -> Vec<Channel> {
        self.channels.keys().copied().collect()
    }
}

/// The number of a stored message.
pub(crate) fn number_of(record: &Record) -> Option<usize> {
    let payload = String::from_utf8_lossy(record.payload());
    let payload = serde_json::from_str(&payload).ok().filter(|_| record.is_message())?;
    Some(number(&payload))
}

fn append(log: &mut Loaded, records: Vec<Record>) -> (u64, Tail, Entry) {
    let previous = log.tail.offset;
    log.tail.offset += 1;
    let entry = Entry { offset: log.tail.offset, records };
    log.entries.push(entry.clone());
    (previous, log.tail, entry)
}

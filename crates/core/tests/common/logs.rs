//! The logs of a session's channels, which always do what they are asked.

use std::collections::BTreeMap;

use belay_core::{
    Input,
    delivery::Ask,
    ports::{AppendError, Entry, Loaded},
    session::LogTold,
};
use belay_wire::Channel;

/// What is stored.
#[derive(Default)]
pub(crate) struct Logs {
    channels: BTreeMap<Channel, Loaded>,
}

impl Logs {
    /// Does what is asked and gives the answers.
    pub(crate) fn carry_out(&mut self, asks: Vec<(Channel, Ask)>) -> Vec<Input> {
        asks.into_iter().filter_map(|(channel, ask)| self.one(channel, ask)).collect()
    }

    fn one(&mut self, channel: Channel, ask: Ask) -> Option<Input> {
        let log = self.channels.entry(channel).or_default();
        let told = match ask {
            Ask::Load => LogTold::Loaded(Ok(log.clone())),
            Ask::Append { expected, .. } if expected != log.tail => {
                LogTold::Appended(Err(AppendError::Conflict))
            }
            Ask::Append { records, .. } => {
                log.tail.offset += 1;
                log.entries.push(Entry { offset: log.tail.offset, records });
                LogTold::Appended(Ok(log.tail))
            }
            Ask::Purge { before } => {
                let tail = log.tail.offset;
                log.entries.retain(|entry| entry.offset >= before || entry.offset == tail);
                return None;
            }
            Ask::Forget => {
                self.channels.remove(&channel);
                return None;
            }
        };
        Some(Input::Log { channel, told })
    }
}

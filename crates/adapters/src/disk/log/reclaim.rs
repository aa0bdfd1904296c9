//! Space is given back segment by segment, oldest first, so that a purge never outlives what it purged.
//! What a slow channel still needs of an old segment is written again at the end.

use std::{
    os::unix::fs::FileExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use belay_core::ports::ChannelId;

use super::{
    format::{self, Found, Frame},
    index::{Index, Place},
    writer::{Writer, sync_folder},
};
use crate::record;

impl Writer {
    /// Removes the oldest segment if nothing of it is needed, or if most of the whole log is not.
    pub(super) fn reclaim(&mut self) {
        loop {
            let (oldest, live) = {
                let index = self.index.lock();
                let Some((number, segment)) = index.segments.first_key_value() else { return };
                let (total, live) = index.sizes();
                let wasteful = total > (2 * live).max(4 * self.options.segment_bytes);
                if *number == self.number || (segment.live > 0 && !wasteful) {
                    return;
                }
                (*number, segment.live)
            };
            if live > 0 && !self.move_on(oldest) {
                return;
            }
            if self.remove(oldest).is_err() {
                return;
            }
        }
    }

    /// Writes what is needed of a segment at the end; `false` if that was not possible.
    fn move_on(&mut self, number: u64) -> bool {
        let needed = {
            let mut index = self.index.lock();
            drop_aged(&mut index, number, self.options.down_age);
            index.live_in(number)
        };
        let file = self.index.lock().segments.get(&number).map(|segment| segment.file.clone());
        let Some(file) = file else { return false };
        let mut bytes = Vec::new();
        let mut moved: Vec<(ChannelId, Place)> = Vec::new();
        for (id, place) in needed {
            let mut frame = vec![0; place.len as usize];
            if file.read_exact_at(&mut frame, u64::from(place.at)).is_err() {
                return false;
            }
            let at = u32::try_from(self.len + bytes.len() as u64).unwrap_or(u32::MAX);
            moved.push((id, Place { segment: self.number, at, ..place }));
            bytes.extend_from_slice(&frame);
        }
        if !bytes.is_empty() && self.write_moved(&bytes).is_err() {
            return false;
        }
        let mut index = self.index.lock();
        for (id, place) in moved {
            index.insert(id, place);
        }
        if let Some(segment) = index.segments.get_mut(&self.number) {
            segment.len = self.len;
        }
        true
    }

    fn remove(&mut self, number: u64) -> std::io::Result<()> {
        let segment = self.index.lock().segments.remove(&number);
        if let Some(segment) = segment {
            std::fs::remove_file(&segment.path)?;
            sync_folder(&self.folder)?;
        }
        Ok(())
    }
}

/// Sessions that sleep do not purge: what is too old in a host's channels goes with its segment.
fn drop_aged(index: &mut Index, number: u64, age: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest = u64::try_from(now.saturating_sub(age).as_millis()).unwrap_or(0);
    let Some(file) = index.segments.get(&number).map(|segment| segment.file.clone()) else {
        return;
    };
    for (id, place) in index.live_in(number) {
        if !id.channel.is_written_by_host() {
            continue;
        }
        let mut bytes = vec![0; place.len as usize];
        if file.read_exact_at(&mut bytes, u64::from(place.at)).is_err() {
            continue;
        }
        let Found::Frame(Frame::Entry { records, .. }, _) = format::read(&bytes.into()) else {
            continue;
        };
        let records = record::decode(records).unwrap_or_default();
        if records.last().is_some_and(|record| record.at < oldest) {
            index.purge(id, place.offset + 1);
        }
    }
}

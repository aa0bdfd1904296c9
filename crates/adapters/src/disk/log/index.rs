//! Where the entries of each channel stand: in memory, rebuilt at start.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::File,
    path::PathBuf,
    sync::Arc,
};

use belay_core::ports::ChannelId;

/// One entry in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) segment: u64,
    /// Where its frame begins, and how long it is.
    pub(super) at: u32,
    pub(super) len: u32,
}

/// A segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) len: u64,
    /// Bytes of entries that are still retained.
    pub(super) live: u64,
}

/// All channels and segments.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) channels: HashMap<ChannelId, VecDeque<Place>>,
    pub(super) segments: BTreeMap<u64, Segment>,
}

impl Index {
    /// The last offset of a channel, 0 if it has none.
    pub(super) fn tail(&self, id: ChannelId) -> u64 {
        self.channels.get(&id).and_then(|places| places.back()).map_or(0, |place| place.offset)
    }

    /// An entry stands at a place; one that was moved stands there no longer.
    pub(super) fn insert(&mut self, id: ChannelId, place: Place) {
        let places = self.channels.entry(id).or_default();
        let at = places.partition_point(|p| p.offset < place.offset);
        let moved = places.get_mut(at).filter(|p| p.offset == place.offset);
        let former = moved.map(|there| std::mem::replace(there, place));
        if former.is_none() {
            places.insert(at, place);
        }
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live += u64::from(place.len);
        }
        if let Some(former) = former {
            self.drop_live(former);
        }
    }

    /// Drops the entries before an offset, never the last.
    pub(super) fn purge(&mut self, id: ChannelId, before: u64) {
        while let Some(places) = self.channels.get_mut(&id)
            && places.len() > 1
            && places.front().is_some_and(|place| place.offset < before)
            && let Some(place) = places.pop_front()
        {
            self.drop_live(place);
        }
    }

    /// Drops a channel.
    pub(super) fn forget(&mut self, id: ChannelId) {
        for place in self.channels.remove(&id).into_iter().flatten() {
            self.drop_live(place);
        }
    }

    fn drop_live(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live = segment.live.saturating_sub(u64::from(place.len));
        }
    }

    /// Entries of a segment that are retained.
    pub(super) fn live_in(&self, segment: u64) -> Vec<(ChannelId, Place)> {
        let mut live: Vec<_> = self
            .channels
            .iter()
            .flat_map(|(id, places)| places.iter().map(|place| (*id, *place)))
            .filter(|(_, place)| place.segment == segment)
            .collect();
        live.sort_unstable_by_key(|(_, place)| place.at);
        live
    }

    /// Bytes of all segments, and of what is retained in them.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let segments = self.segments.values();
        segments.fold((0, 0), |(len, live), s| (len + s.len, live + s.live))
    }
}

//! Names at the broker. Ids are made of letters, digits, `-` and `_`, so none of them can leave its place.

use belay_core::ports::ChannelId;
use belay_wire::{Channel, MemberId, SessionId};

/// The member token of the one channel that has no member.
const NO_MEMBER: &str = "d";

/// Which way the messages of a stream go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Down,
    Up,
}

impl Way {
    fn letter(self) -> char {
        match self {
            Self::Down => 'd',
            Self::Up => 'u',
        }
    }

    pub(super) fn of(channel: Channel) -> Self {
        if channel.is_written_by_host() { Self::Down } else { Self::Up }
    }
}

/// A stream's place; its incarnation makes it a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) way: Way,
    pub(super) shard: u16,
}

/// Builds and reads names.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    shards: u16,
}

impl Names {
    pub(super) fn new(prefix: &str, shards: u16) -> Self {
        Self { prefix: prefix.to_owned(), shards: shards.max(1) }
    }

    pub(super) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.shards).flat_map(|shard| [Way::Down, Way::Up].map(move |way| Place { way, shard }))
    }

    /// The number of a place in the order of [`Names::places`].
    pub(super) fn index(place: Place) -> usize {
        2 * usize::from(place.shard) + usize::from(place.way == Way::Up)
    }

    /// Ids are random or hashes, so that a checksum spreads them evenly; all nodes must agree on it.
    pub(super) fn shard(&self, session: SessionId) -> u16 {
        let hash = crc32fast::hash(session.as_bytes()) % u32::from(self.shards);
        u16::try_from(hash).unwrap_or_default()
    }

    pub(super) fn place(&self, id: ChannelId) -> Place {
        Place { way: Way::of(id.channel), shard: self.shard(id.session) }
    }

    /// Where a channel is stored.
    pub(super) fn subject(&self, id: ChannelId) -> String {
        let ChannelId { session, channel } = id;
        let (letter, shard) = (Way::of(channel).letter(), self.shard(session));
        match channel.member() {
            None => format!("{}.{letter}.{shard}.{session}.{NO_MEMBER}", self.prefix),
            Some(member) => format!("{}.{letter}.{shard}.{session}.{member}", self.prefix),
        }
    }

    /// All channels of one session in one stream.
    pub(super) fn channels(&self, way: Way, session: SessionId) -> String {
        format!("{}.{}.{}.{session}.*", self.prefix, way.letter(), self.shard(session))
    }

    /// All subjects of a stream.
    pub(super) fn subjects(&self, place: Place) -> String {
        format!("{}.{}.{}.*.*", self.prefix, place.way.letter(), place.shard)
    }

    /// Where a stream tells what it stored: below [`Names::session`].
    pub(super) fn told(&self, place: Place) -> String {
        let letter = place.way.letter();
        format!("{}.s.{{{{wildcard(1)}}}}.log.{letter}.{{{{wildcard(2)}}}}", self.prefix)
    }

    /// All that is told of a session.
    pub(super) fn session(&self, session: SessionId) -> String {
        format!("{}.s.{session}.>", self.prefix)
    }

    /// What nodes tell each other of a session.
    pub(super) fn bus(&self, session: SessionId) -> String {
        format!("{}.s.{session}.bus", self.prefix)
    }

    /// Where a node hears itself.
    pub(super) fn node(&self, node: &str) -> String {
        format!("{}.n.{node}", self.prefix)
    }

    /// The name of a stream.
    pub(super) fn stream(&self, place: Place, incarnation: u64) -> String {
        format!("{}{incarnation:016x}", self.stem(place))
    }

    fn stem(&self, place: Place) -> String {
        let prefix = self.prefix.to_ascii_uppercase();
        format!("{prefix}_{}_{}_", place.way.letter().to_ascii_uppercase(), place.shard)
    }

    /// The incarnation in a stream's name; `None` if it is no name of ours at this place.
    pub(super) fn incarnation(&self, place: Place, stream: &str) -> Option<u64> {
        let digits = stream.strip_prefix(&self.stem(place))?;
        let known = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        known.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
    }

    /// Tells whether a stream's name begins as ours do.
    pub(super) fn is_ours(&self, stream: &str) -> bool {
        let Some(rest) = stream.strip_prefix(&self.prefix.to_ascii_uppercase()) else {
            return false;
        };
        rest.starts_with("_D_") || rest.starts_with("_U_")
    }

    /// The channel that is stored at a subject.
    pub(super) fn channel(&self, subject: &str) -> Option<ChannelId> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?;
        let parts: Vec<&str> = rest.split('.').collect();
        let [letter, shard, session, member] = parts[..] else { return None };
        let session: SessionId = session.parse().ok()?;
        let member_of = || member.parse::<MemberId>().ok();
        let channel = match letter {
            "d" if member == NO_MEMBER => Channel::Down,
            "d" => Channel::DownTo(member_of()?),
            "u" => Channel::Up(member_of()?),
            _ => return None,
        };
        (shard == self.shard(session).to_string()).then_some(ChannelId { session, channel })
    }

    /// The session that a subject tells of, and what follows.
    pub(super) fn told_of<'a>(&self, subject: &'a str) -> Option<(SessionId, &'a str)> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".s.")?;
        let (session, rest) = rest.split_once('.')?;
        Some((session.parse().ok()?, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_nothing_else_is() {
        let names = Names::new("belay", 4);
        let session = SessionId::from_bytes([7; 16]);
        let member = MemberId::from_bytes([9; 16]);
        for channel in [Channel::Down, Channel::DownTo(member), Channel::Up(member)] {
            let id = ChannelId { session, channel };
            let subject = names.subject(id);
            assert_eq!(names.channel(&subject), Some(id), "{subject}");
            let place = names.place(id);
            let stream = names.stream(place, 0xab);
            assert_eq!(names.incarnation(place, &stream), Some(0xab), "{stream}");
            assert!(names.is_ours(&stream));
        }
        let (text, shard) = (session.to_string(), names.shard(session));
        for wrong in [
            String::new(),
            "belay".to_owned(),
            format!("belay.x.{shard}.{text}.d"),
            format!("belay.d.{}.{text}.d", shard + 1),
            format!("belay.d.{shard}.{text}.d.d"),
            format!("belay.u.{shard}.{text}.d"),
            format!("other.d.{shard}.{text}.d"),
            format!("belay.d.{shard}.nobody.d"),
        ] {
            assert_eq!(names.channel(&wrong), None, "{wrong}");
        }
        assert_eq!(names.told_of(&names.bus(session)), Some((session, "bus")));
        assert_eq!(names.told_of("belay.s.nobody.bus"), None);
        let place = Place { way: Way::Down, shard: 0 };
        assert_eq!(names.incarnation(place, "BELAY_D_0_00000000000000g1"), None);
        let all: Vec<_> = names.places().map(Names::index).collect();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
    }
}

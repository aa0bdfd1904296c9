//! Names of channels. Each has exactly one writer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ts_rs::TS;

use crate::MemberId;

/// An ordered stream with exactly one writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, TS)]
#[ts(type = "string")]
pub enum Channel {
    /// Host to all members: `down`.
    Down,
    /// Host to one member: `down/<member>`.
    DownTo(MemberId),
    /// One member to the host: `up/<member>`.
    Up(MemberId),
}

impl Channel {
    /// Tells whether the host writes this channel.
    pub fn is_written_by_host(self) -> bool {
        !matches!(self, Self::Up(_))
    }

    /// The member that this channel belongs to, if it belongs to one.
    pub fn member(self) -> Option<MemberId> {
        match self {
            Self::Down => None,
            Self::DownTo(member) | Self::Up(member) => Some(member),
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("down"),
            Self::DownTo(member) => write!(f, "down/{member}"),
            Self::Up(member) => write!(f, "up/{member}"),
        }
    }
}

impl FromStr for Channel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a channel: down, down/<member> or up/<member>";
        match text.split_once('/') {
            None if text == "down" => Ok(Self::Down),
            Some(("down", member)) => member.parse().map(Self::DownTo).map_err(|_| EXPECTED),
            Some(("up", member)) => member.parse().map(Self::Up).map_err(|_| EXPECTED),
            _ => Err(EXPECTED),
        }
    }
}

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_round_trip_and_others_are_refused() {
        let member = MemberId::from_bytes([7; 16]);
        for channel in [Channel::Down, Channel::DownTo(member), Channel::Up(member)] {
            assert_eq!(channel.to_string().parse(), Ok(channel));
        }
        for text in ["", "cast", "down/", "up", "up/x", "down/*", "side/BwcHBwcHBwcHBwcHBwcHBw"] {
            assert!(text.parse::<Channel>().is_err(), "{text}");
        }
    }
}

//! Positions in channels: epoch and sequence number.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ts_rs::TS;

use crate::Channel;

/// One memory of a writer: 64 random bits, written as 16 hexadecimal digits (JSON numbers end at
/// 2^53).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, TS)]
#[ts(type = "string")]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({self})")
    }
}

impl FromStr for Epoch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected an epoch of 16 lower-case hexadecimal digits";
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 16 || !text.bytes().all(lower_hex) {
            return Err(EXPECTED);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| EXPECTED)
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Number of a message in its epoch, from 1; 0 means "before the first". At most 2^53 − 1, so that
/// every JSON reader keeps it exact.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, TS)]
#[serde(transparent)]
#[ts(type = "number")]
pub struct Seq(u64);

impl Seq {
    /// Before the first message.
    pub const ZERO: Self = Self(0);
    /// The greatest number, 2^53 − 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Makes a number; `None` above [`Seq::MAX`].
    pub const fn new(n: u64) -> Option<Self> {
        if n <= Self::MAX.0 { Some(Self(n)) } else { None }
    }

    /// The number after this one; stays at [`Seq::MAX`].
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < Self::MAX.0 { Self(self.0 + 1) } else { self }
    }

    /// The number before this one; stays at 0.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The plain number.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seq({})", self.0)
    }
}

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u64::deserialize(deserializer)?;
        Self::new(n).ok_or_else(|| serde::de::Error::custom("expected a number up to 2^53-1"))
    }
}

/// A place in a channel: everything up to `seq` of `epoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The writer's memory that numbered the message.
    pub epoch: Epoch,
    /// The number in that epoch.
    pub seq: Seq,
    /// In `auth.base` only: this epoch was never announced before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[ts(optional, as = "Option<bool>")]
    pub fresh: bool,
}

impl Position {
    /// A position of an epoch that is not being announced.
    pub const fn new(epoch: Epoch, seq: Seq) -> Self {
        Self { epoch, seq, fresh: false }
    }
}

/// Positions of several channels.
pub type Positions = BTreeMap<Channel, Position>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_sixteen_lower_case_digits() {
        assert_eq!("00000000000000ff".parse(), Ok(Epoch(255)));
        assert_eq!(Epoch(255).to_string(), "00000000000000ff");
        for text in ["ff", "00000000000000FF", "+0000000000000ff", ""] {
            assert!(text.parse::<Epoch>().is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_end_at_two_to_the_53() {
        assert!(serde_json::from_str::<Seq>("9007199254740991").is_ok());
        assert!(serde_json::from_str::<Seq>("9007199254740992").is_err());
        assert!(serde_json::from_str::<Seq>("-1").is_err());
        assert_eq!(Seq::MAX.next(), Seq::MAX);
    }
}

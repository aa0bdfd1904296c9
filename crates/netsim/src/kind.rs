//! Kinds of faults.

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing passes, and what was under way is lost: its connections never work again.
    Partition,
    /// The same from the party to the relay only.
    Deaf,
    /// The same from the relay to the party only.
    Mute,
    /// Nothing passes, and nothing is lost.
    Hold,
    Slow,
    PartyCrash,
    /// A party reads nothing.
    Doze,
    RelayCrash,
    /// SIGTERM, and another process.
    RelayRestart,
    /// A drain that is cancelled.
    Drain,
    /// A drain, and another process.
    DrainRestart,
    LogDown,
}

pub(crate) const KINDS: [Kind; 12] = [
    Kind::Partition,
    Kind::Deaf,
    Kind::Mute,
    Kind::Hold,
    Kind::Slow,
    Kind::PartyCrash,
    Kind::Doze,
    Kind::RelayCrash,
    Kind::RelayRestart,
    Kind::Drain,
    Kind::DrainRestart,
    Kind::LogDown,
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Deaf => "partition_to_relay",
            Self::Mute => "partition_from_relay",
            Self::Hold => "hold",
            Self::Slow => "latency",
            Self::PartyCrash => "client_crash",
            Self::Doze => "slow_reader",
            Self::RelayCrash => "relay_crash",
            Self::RelayRestart => "relay_restart",
            Self::Drain => "drain",
            Self::DrainRestart => "drain_restart",
            Self::LogDown => "log_refuses",
        }
    }

    /// Two of the same place do not happen at once.
    pub(crate) fn place(self, party: usize) -> (u8, usize) {
        match self {
            Self::Partition | Self::Deaf | Self::Mute | Self::Hold => (0, party),
            Self::Slow => (1, party),
            Self::PartyCrash | Self::Doze => (2, party),
            Self::RelayCrash | Self::RelayRestart | Self::Drain | Self::DrainRestart => (3, 0),
            Self::LogDown => (4, 0),
        }
    }
}

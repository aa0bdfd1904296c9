//! The small worlds: who takes part, what may fail, and how often.

use belay_wire::Channel;

use crate::node::MEMBERS;

/// What may go wrong. Each time costs one of a world's faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A connection ends; what is under way to the client is lost, what is under way to the node may arrive.
    Cut,
    /// A node dies and starts again at once.
    Crash,
    /// A client dies and goes on with what it wrote down.
    Restart,
    /// A writer dies, and what it wrote down is gone.
    ForgetWriter,
    /// The same of a reader.
    ForgetReader,
    /// The log does not do what it is asked.
    Refuse,
    /// It does not say whether it stored something, and stores it now, later or never.
    Unknown,
    /// The last entry of the log is gone.
    GoBack,
    /// The log is empty.
    Lose,
    /// Everybody sleeps until all that is stored is too old.
    Sleep,
    /// A node does not hear what another stored.
    LoseBus,
    /// It hears it twice.
    DoubleBus,
    /// It hears the second before the first.
    Reorder,
}

/// Where a world begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// All are connected, and nothing was sent.
    Connected,
    /// A message was applied, all nodes died and started again, and everybody is about to come back.
    Interrupted,
}

/// One small world.
#[derive(Debug, Clone)]
pub struct Setup {
    pub name: &'static str,
    pub begin: Begin,
    pub nodes: usize,
    /// The host is 0, the members follow.
    pub clients: &'static [usize],
    pub channel: Channel,
    /// Messages that its writer sends.
    pub pushes: u8,
    /// Messages that the log keeps.
    pub kept: usize,
    pub faults: u8,
    pub kinds: &'static [Fault],
}

impl Setup {
    /// The client that writes.
    pub(super) fn writer(&self) -> usize {
        let member = self.channel.member().filter(|_| !self.channel.is_written_by_host());
        let place = MEMBERS.iter().position(|m| Some(*m) == member);
        place.map_or(0, |at| at + 1)
    }

    /// The same with so many faults more.
    #[must_use]
    pub fn with_more_faults(self, more: u8) -> Self {
        Self { faults: self.faults + more, ..self }
    }
}

const UP: Channel = Channel::Up(MEMBERS[0]);
const DOWN: Channel = Channel::Down;
const TO_MEMBER: Channel = Channel::DownTo(MEMBERS[0]);

/// All of them, as small as a quick run needs them.
pub fn setups() -> Vec<Setup> {
    use Begin::{Connected, Interrupted};
    use Fault::{
        Crash, Cut, DoubleBus, ForgetReader, ForgetWriter, GoBack, Lose, LoseBus, Refuse, Reorder,
        Restart, Sleep, Unknown,
    };
    let new = |name, begin, channel, pushes, kept, kinds| Setup {
        name,
        begin,
        nodes: 1,
        clients: &[0, 1],
        channel,
        pushes,
        kept,
        faults: 1,
        kinds,
    };
    vec![
        new("a log that fails", Connected, DOWN, 2, 8, &[Crash, Cut, Refuse, Unknown, Restart]),
        new("a log that is damaged", Interrupted, DOWN, 1, 8, &[GoBack, Lose, Cut]),
        new("a small log", Interrupted, DOWN, 2, 1, &[Cut, Sleep]),
        new("former lives", Interrupted, DOWN, 2, 8, &[ForgetWriter, ForgetReader, Restart]),
        new("commands", Interrupted, UP, 2, 1, &[Cut, Crash, Sleep, Unknown]),
        Setup {
            faults: 2,
            ..new("former lives of a member", Interrupted, UP, 1, 8, &[ForgetWriter])
        },
        Setup { clients: &[0, 1, 2], ..new("two readers", Connected, DOWN, 1, 8, &[Cut, Crash]) },
        Setup {
            nodes: 2,
            ..new("two nodes", Connected, TO_MEMBER, 1, 8, &[Cut, LoseBus, DoubleBus, Reorder])
        },
        Setup {
            nodes: 2,
            ..new("commands at two nodes", Connected, UP, 1, 8, &[Crash, Unknown, GoBack])
        },
    ]
}

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
    /// A client dies, and what it wrote down is gone.
    Forget,
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

/// One small world.
#[derive(Debug, Clone)]
pub struct Setup {
    pub name: &'static str,
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
    /// A node hears of its own appends, too.
    pub echo: bool,
}

impl Setup {
    /// The client that writes.
    pub(super) fn writer(&self) -> usize {
        let Some(member) = self.channel.member().filter(|_| !self.channel.is_written_by_host())
        else {
            return 0;
        };
        MEMBERS.iter().position(|m| *m == member).map_or(0, |at| at + 1)
    }
}

const UP: Channel = Channel::Up(MEMBERS[0]);
const TO_MEMBER: Channel = Channel::DownTo(MEMBERS[0]);

/// All of them, with so many faults more than a quick run has.
pub fn setups(more: u8) -> Vec<Setup> {
    use Fault::{
        Crash, Cut, DoubleBus, Forget, GoBack, LoseBus, Lose, Refuse, Reorder, Restart, Sleep,
        Unknown,
    };
    let one = |name, channel, clients, pushes, kept, faults, kinds| Setup {
        name,
        nodes: 1,
        clients,
        channel,
        pushes,
        kept,
        faults: faults + more,
        kinds,
        echo: false,
    };
    let two = |name, channel, clients, pushes, faults, kinds| Setup {
        nodes: 2,
        ..one(name, channel, clients, pushes, 8, faults, kinds)
    };
    vec![
        one("a log that fails", Channel::Down, &[0, 1], 2, 8, 1, &[Crash, Cut, Refuse, Unknown]),
        one("a log that is damaged", Channel::Down, &[0, 1], 2, 8, 1, &[Cut, GoBack, Lose, Crash]),
        one("two readers and a small log", Channel::Down, &[0, 1, 2], 3, 1, 1, &[Cut, Sleep]),
        one("former lives of a writer", Channel::Down, &[0, 1], 2, 8, 2, &[Cut, Forget, Restart]),
        one("commands", UP, &[0, 1], 2, 1, 1, &[Cut, Crash, Sleep, Forget, Unknown]),
        one("a former life's commands", UP, &[0, 1], 2, 8, 4, &[Cut, Forget]),
        Setup {
            echo: true,
            ..two("two nodes", TO_MEMBER, &[0, 1], 2, 1, &[Cut, LoseBus, DoubleBus, Reorder, Unknown])
        },
        two("commands at two nodes", UP, &[0, 1], 2, 1, &[Cut, Crash, LoseBus, Unknown, GoBack]),
    ]
}

//! What writers sent against what readers applied or were told, message by message.

use std::collections::{BTreeMap, BTreeSet};

use belay_wire::Channel;

/// What delivery promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// An acknowledged message reaches its readers, or they are told that it is gone.
    Arrives,
    /// Nothing is applied twice or out of order.
    InOrder,
    /// What is gone is told, with its bounds.
    Told,
    /// Once nothing fails any more, everything is settled, and nobody connects for ever.
    Rests,
}

/// Something that must not happen, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub promise: Promise,
    pub text: String,
}

/// What became of a message at its writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its writer holds it or has seen it stored.
    Owed,
    /// Its writer lost its memory, or was told that it will not arrive.
    Excused,
}

#[derive(Debug, Clone)]
struct Sent {
    fate: Fate,
    /// Its writer saw it stored.
    acknowledged: bool,
    /// The memory that sent it is gone.
    orphan: bool,
    /// The log lost it and has not got it again.
    lost: bool,
    /// Readers that applied it, in whichever memory, or were told of a gap after it was stored.
    applied: u8,
    /// It was in the log once.
    was_stored: bool,
}

/// What one reader's memory holds of one channel.
#[derive(Debug, Default, Clone)]
struct Read {
    /// Index of the last message that was applied.
    last: Option<usize>,
    /// A gap was told since.
    told: bool,
    /// Nothing was applied in this memory yet.
    new: bool,
}

/// What a client knows at one time.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    read: BTreeMap<Channel, Read>,
    sent: BTreeMap<Channel, usize>,
}

/// All messages of a schedule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Audit {
    sent: BTreeMap<Channel, Vec<Sent>>,
    read: BTreeMap<(usize, Channel), Read>,
    /// Channels whose log lost something.
    damaged: BTreeSet<Channel>,
    pub(crate) applied: u64,
    pub(crate) gaps: u64,
    pub(crate) violation: Option<Violation>,
}

impl Audit {
    /// What a client's application holds now of all that it reads and wrote.
    pub(crate) fn snapshot(&self, reader: usize) -> Snapshot {
        let read = self.read.iter().filter(|((r, _), _)| *r == reader);
        let sent = self.sent.iter().map(|(channel, sent)| (*channel, sent.len()));
        Snapshot {
            read: read.map(|((_, channel), read)| (*channel, read.clone())).collect(),
            sent: sent.collect(),
        }
    }

    /// A client goes on from an older copy of itself.
    pub(crate) fn go_back(&mut self, reader: usize, writes: &[Channel], to: &Snapshot) {
        self.read.retain(|(r, _), _| *r != reader);
        let read = to.read.iter().map(|(channel, read)| ((reader, *channel), read.clone()));
        self.read.extend(read);
        for channel in writes {
            let held = to.sent.get(channel).copied().unwrap_or(0);
            for sent in self.sent.entry(*channel).or_default().iter_mut().skip(held) {
                // What it sends again stands after these in the log, and before them in its own order.
                sent.orphan = true;
                sent.fate = Fate::Excused;
            }
        }
    }

    /// A writer takes a message; gives the number that is its payload.
    pub(crate) fn push(&mut self, channel: Channel) -> usize {
        let sent = self.sent.entry(channel).or_default();
        sent.push(Sent {
            fate: Fate::Owed,
            acknowledged: false,
            orphan: false,
            lost: false,
            applied: 0,
            was_stored: false,
        });
        sent.len() - 1
    }

    /// The last push was not taken.
    pub(crate) fn take_back(&mut self, channel: Channel) {
        self.sent.entry(channel).or_default().pop();
    }

    pub(crate) fn excuse(&mut self, channel: Channel, number: usize) {
        if let Some(sent) = self.sent.get_mut(&channel).and_then(|s| s.get_mut(number)) {
            sent.fate = Fate::Excused;
        }
    }

    /// The writer of a channel lost its memory.
    pub(crate) fn writer_lost(&mut self, channel: Channel) {
        for sent in self.sent.entry(channel).or_default() {
            sent.orphan = true;
            if !sent.acknowledged || sent.lost {
                sent.fate = Fate::Excused;
            }
        }
    }

    /// The relay told the writer that this is stored.
    pub(crate) fn acknowledged(&mut self, channel: Channel, number: usize) {
        if let Some(sent) = self.sent.get_mut(&channel).and_then(|s| s.get_mut(number)) {
            sent.acknowledged = true;
        }
    }

    /// A message is in the log.
    pub(crate) fn stored(&mut self, channel: Channel, number: usize) {
        if let Some(sent) = self.sent.get_mut(&channel).and_then(|s| s.get_mut(number)) {
            sent.lost = false;
            sent.was_stored = true;
        }
    }

    /// The log of a channel loses something.
    pub(crate) fn damage(&mut self, channel: Channel) {
        self.damaged.insert(channel);
    }

    /// The log lost a message: nobody can bring it back if its writer has forgotten it, too.
    pub(crate) fn log_lost(&mut self, channel: Channel, number: usize) {
        if let Some(sent) = self.sent.get_mut(&channel).and_then(|s| s.get_mut(number)) {
            sent.lost = true;
            if sent.orphan {
                sent.fate = Fate::Excused;
            }
        }
    }

    /// The whole log of a channel is gone, and with it the knowledge of what had left it before.
    pub(crate) fn log_gone(&mut self, channel: Channel) {
        let count = self.sent.get(&channel).map_or(0, Vec::len);
        (0..count).for_each(|number| self.log_lost(channel, number));
    }

    /// A reader begins without memory.
    pub(crate) fn reader_lost(&mut self, reader: usize, channel: Channel) {
        self.read.insert((reader, channel), Read { new: true, ..Read::default() });
    }

    /// Tells whether a reader that has its memory waits for a message of a log that lost nothing.
    pub(crate) fn awaits(&self, reader: usize, channel: Channel, number: usize) -> bool {
        let sent = self.sent.get(&channel).and_then(|sent| sent.get(number));
        let is_owed = sent.is_some_and(|s| s.fate == Fate::Owed && s.applied & (1 << reader) == 0);
        let is_new = self.read.get(&(reader, channel)).is_some_and(|read| read.new);
        is_owed && !is_new && !self.damaged.contains(&channel)
    }

    /// A reader was told that something is gone.
    pub(crate) fn told(&mut self, reader: usize, channel: Channel) {
        self.gaps += 1;
        for sent in self.sent.entry(channel).or_default().iter_mut().filter(|s| s.was_stored) {
            sent.applied |= 1 << reader;
        }
        self.read.entry((reader, channel)).or_default().told = true;
    }

    pub(crate) fn apply(&mut self, reader: usize, channel: Channel, number: usize) {
        self.applied += 1;
        if let Some(sent) = self.sent.get_mut(&channel).and_then(|s| s.get_mut(number)) {
            sent.applied |= 1 << reader;
        }
        let read = self.read.entry((reader, channel)).or_default();
        let before = std::mem::replace(read, Read { last: Some(number), told: false, new: false });
        // Who was told a gap starts anew; a log that lost what closed an epoch shows it once more.
        let starts_anew = before.told && self.damaged.contains(&channel);
        if before.last.is_some_and(|last| number <= last) && !starts_anew {
            let last = before.last.unwrap_or(0);
            let text = format!("{channel}: reader {reader} applied {number} after {last}");
            return self.fail(Promise::InOrder, text);
        }
        if !before.told && !before.new {
            self.check_between(reader, channel, before.last, number);
        }
    }

    fn check_between(&mut self, reader: usize, channel: Channel, last: Option<usize>, end: usize) {
        let start = last.map_or(0, |last| last + 1);
        let sent = self.sent.get(&channel).map_or(&[][..], |sent| sent);
        let owed = |number: &usize| {
            sent.get(*number)
                .is_some_and(|s| s.fate == Fate::Owed && s.applied & (1 << reader) == 0)
        };
        if let Some(missing) = (start..end).find(owed) {
            let acknowledged = sent.get(missing).is_some_and(|s| s.acknowledged);
            let promise = if acknowledged { Promise::Arrives } else { Promise::Told };
            let text = format!("{channel}: reader {reader} was not told that {missing} is missing");
            self.fail(promise, text);
        }
    }

    /// Nothing moves any more: what is owed must have come, or been told.
    pub(crate) fn finish(&mut self, reader: usize, channel: Channel) {
        let read = self.read.entry((reader, channel)).or_default().clone();
        let end = self.sent.get(&channel).map_or(0, Vec::len);
        if !read.told && !read.new {
            self.check_between(reader, channel, read.last, end);
        }
    }

    pub(crate) fn fail(&mut self, promise: Promise, text: String) {
        self.violation.get_or_insert(Violation { promise, text });
    }
}

//! The outbox on disk: what a client writes is there before it is on the wire, so a process that was
//! killed goes on under the same names. One line a change, with its checksum; one owner by a lock.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use belay_wire::{Channel, Epoch, Seq};
use serde::{Deserialize, Serialize};

use crate::{
    identity::write_private,
    ledger::Ledger,
    writer::{Entry, Kept, Writer},
};

const VERSION: u32 = 1;
/// The file is written anew when it is so much larger than what it held last time.
const GROWTH_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Outbox { version: u32 },
    Whole(Kept),
    Push { channel: Channel, entry: Entry },
    Touched { channel: Channel, seq: Seq },
    Welcomed { channel: Channel },
    Gone { channel: Channel, before: Seq },
    Forget { channel: Channel },
}

/// How much of a writer is in the file.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rewrites: u64,
    epoch: Epoch,
    next: Seq,
    touched: Seq,
    base: Seq,
    is_shared: bool,
}

impl Seen {
    fn of(writer: &Writer) -> Self {
        Self {
            rewrites: writer.rewrites(),
            epoch: writer.base().epoch,
            next: writer.head().seq.next(),
            touched: writer.touched(),
            base: writer.base().seq,
            is_shared: writer.is_shared(),
        }
    }
}

/// An outbox in a file. Holds the lock of its owner as long as it lives.
#[derive(Debug)]
pub struct OutboxFile {
    path: PathBuf,
    file: File,
    len: u64,
    /// Length after it was written anew.
    base_len: u64,
    is_dirty: bool,
    /// A sync failed: what is on disk is not known.
    is_doubtful: bool,
    seen: BTreeMap<Channel, Seen>,
    writers: Vec<Writer>,
    _lock: File,
}

impl OutboxFile {
    /// Opens or makes it.
    ///
    /// # Errors
    /// `WouldBlock`: another process owns it. `InvalidData`: it is damaged, or of another version; a last line
    /// that was cut short is no damage, what it told was never sent.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(path.with_extension("lock"))?;
        lock.try_lock().map_err(|_| {
            let text = format!("{} is in use by another process", path.display());
            Error::new(ErrorKind::WouldBlock, text)
        })?;
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let kept = read(&text).map_err(|why| {
            Error::new(ErrorKind::InvalidData, format!("{}: {why}", path.display()))
        })?;
        let writers: Vec<_> = kept.into_values().map(Writer::restored).collect();
        let (file, len) = rewrite(path, writers.iter())?;
        let seen = writers.iter().map(|w| (w.channel(), Seen::of(w))).collect();
        let path = path.to_owned();
        Ok(Self {
            path,
            file,
            len,
            base_len: len,
            is_dirty: false,
            is_doubtful: false,
            seen,
            writers,
            _lock: lock,
        })
    }

    /// The writers that were found, once.
    pub(crate) fn take_writers(&mut self) -> Vec<Writer> {
        std::mem::take(&mut self.writers)
    }

    /// Writes down what changed. It outlives the process; [`OutboxFile::unsynced`] says whether it outlives the
    /// machine.
    pub(crate) fn record(&mut self, ledger: &Ledger) -> std::io::Result<()> {
        let (mut text, mut changes) = (Vec::new(), BTreeMap::new());
        for writer in ledger.writers() {
            let (channel, now) = (writer.channel(), Seen::of(writer));
            if self.seen.get(&channel) != Some(&now) {
                lines(self.seen.get(&channel), &now, writer, &mut text)?;
                changes.insert(channel, Some(now));
            }
        }
        let is_there = |channel: &Channel| ledger.writers().any(|w| w.channel() == *channel);
        for channel in self.seen.keys().filter(|channel| !is_there(channel)) {
            put(&Line::Forget { channel: *channel }, &mut text)?;
            changes.insert(*channel, None);
        }
        if text.is_empty() && !self.is_doubtful {
            return Ok(());
        }
        if self.is_doubtful || self.len > 2 * self.base_len + GROWTH_BYTES {
            (self.file, self.len) = rewrite(&self.path, ledger.writers())?;
            self.base_len = self.len;
            (self.is_dirty, self.is_doubtful) = (false, false);
        } else if let Err(error) = self.file.write_all(&text) {
            self.file.set_len(self.len)?;
            return Err(error);
        } else {
            self.len += text.len() as u64;
            self.is_dirty = true;
        }
        for (channel, seen) in changes {
            match seen {
                Some(seen) => self.seen.insert(channel, seen),
                None => self.seen.remove(&channel),
            };
        }
        Ok(())
    }

    /// A sync failed: trying it again would lie, so all of it is to be written anew.
    pub(crate) fn doubt(&mut self) {
        self.is_doubtful = true;
    }

    /// The file, if something of it is not on disk yet: sync it before anything goes on the wire.
    pub(crate) fn unsynced(&mut self) -> std::io::Result<Option<File>> {
        std::mem::take(&mut self.is_dirty).then(|| self.file.try_clone()).transpose()
    }
}

/// What changed of one writer.
fn lines(
    before: Option<&Seen>,
    now: &Seen,
    writer: &Writer,
    text: &mut Vec<u8>,
) -> std::io::Result<()> {
    let channel = writer.channel();
    let same = |seen: &&Seen| seen.rewrites == now.rewrites && seen.epoch == now.epoch;
    let Some(before) = before.filter(same).filter(|seen| seen.next <= now.next) else {
        return put(&Line::Whole(writer.kept()), text);
    };
    for entry in writer.entries().filter(|entry| entry.seq >= before.next) {
        put(&Line::Push { channel, entry: entry.clone() }, text)?;
    }
    if before.touched != now.touched {
        put(&Line::Touched { channel, seq: now.touched }, text)?;
    }
    if before.is_shared != now.is_shared {
        put(&Line::Welcomed { channel }, text)?;
    }
    if before.base != now.base {
        put(&Line::Gone { channel, before: now.base }, text)?;
    }
    Ok(())
}

fn put(line: &Line, text: &mut Vec<u8>) -> std::io::Result<()> {
    let json = serde_json::to_string(line).map_err(Error::other)?;
    writeln!(text, "{:08x} {json}", crc32fast::hash(json.as_bytes()))
}

/// Writes the file anew, whole or not at all.
fn rewrite<'a>(
    path: &Path,
    writers: impl Iterator<Item = &'a Writer>,
) -> std::io::Result<(File, u64)> {
    let mut text = Vec::new();
    put(&Line::Outbox { version: VERSION }, &mut text)?;
    for writer in writers {
        put(&Line::Whole(writer.kept()), &mut text)?;
    }
    write_private(path, &text)?;
    Ok((OpenOptions::new().append(true).open(path)?, text.len() as u64))
}

/// What the lines tell.
fn read(text: &[u8]) -> Result<BTreeMap<Channel, Kept>, String> {
    let mut kept = BTreeMap::new();
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        match parse(line) {
            Some(Line::Outbox { version }) if version != VERSION => {
                return Err(format!(
                    "it is of version {version}, and this program reads {VERSION}"
                ));
            }
            Some(line) if at > 0 || matches!(line, Line::Outbox { .. }) => {
                apply(line, &mut kept).ok_or_else(|| damaged(at))?;
            }
            // The process or the machine ended while it was written.
            None if lines.peek().is_none() && at > 0 => {}
            Some(_) | None => return Err(damaged(at)),
        }
    }
    Ok(kept)
}

fn damaged(at: usize) -> String {
    format!("line {} is damaged; move the file away to begin with an empty outbox", at + 1)
}

fn parse(line: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (sum, json) = line.split_once(' ')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32fast::hash(json.as_bytes())).then(|| serde_json::from_str(json).ok()).flatten()
}

/// `None`: the line does not fit to those before it.
fn apply(line: Line, kept: &mut BTreeMap<Channel, Kept>) -> Option<()> {
    match line {
        Line::Outbox { .. } => {}
        Line::Whole(whole) => {
            kept.insert(whole.channel, whole);
        }
        Line::Push { channel, entry } => {
            let of = kept.get_mut(&channel).filter(|of| of.next == entry.seq)?;
            of.next = entry.seq.next();
            of.outbox.push_back(entry);
        }
        Line::Touched { channel, seq } => kept.get_mut(&channel)?.touched = seq,
        Line::Welcomed { channel } => kept.get_mut(&channel)?.shared = None,
        Line::Gone { channel, before } => {
            let outbox: &mut VecDeque<Entry> = &mut kept.get_mut(&channel)?.outbox;
            outbox.retain(|entry| entry.seq >= before);
        }
        Line::Forget { channel } => {
            kept.remove(&channel)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;

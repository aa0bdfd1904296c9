//! The thread that owns the end of the log: what all channels append meanwhile is written and synced
//! together.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use belay_core::{
    delivery::Record,
    ports::{AppendError, ChannelId, LogUnavailable, Tail},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    Budget, Options, SyncPolicy,
    format::{Frame, HEADER_LEN, Header},
    index::{Index, Place, Segment},
};
use crate::record;

/// Commands that one sync covers.
const GROUP_MAX: usize = 1_024;
/// Bytes that one sync covers.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

type AppendReply = oneshot::Sender<Result<Tail, AppendError>>;
type Reply = oneshot::Sender<Result<(), LogUnavailable>>;

pub(super) enum Command {
    Append { id: ChannelId, expected: Tail, records: Vec<Record>, reply: AppendReply },
    Purge { id: ChannelId, before: u64, reply: Reply },
    Forget { id: ChannelId, reply: Reply },
    Check { reply: Reply },
}

pub(super) struct Writer {
    pub(super) folder: PathBuf,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) incarnation: u64,
    pub(super) options: Options,
    /// The segment that is written, its file and how much of it is whole.
    pub(super) number: u64,
    pub(super) file: Arc<File>,
    pub(super) len: u64,
    /// Since when something is written and not synced.
    pub(super) unsynced: Option<Instant>,
    /// What may be on disk is not known: nothing more is written.
    pub(super) failed: Arc<OnceLock<String>>,
}

/// What a written frame means, once it is stored.
enum Change {
    Insert(ChannelId, Place),
    Purge(ChannelId, u64),
    Forget(ChannelId),
}

/// What is written with one sync.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    changes: Vec<Change>,
    tails: HashMap<ChannelId, u64>,
    appends: Vec<(AppendReply, Tail, Budget)>,
    others: Vec<(Reply, Budget)>,
    checks: bool,
}

/// How a write failed.
enum Failure {
    /// The file is as it was.
    Undone(String),
    /// It may be there.
    Unknown(String),
}

impl Writer {
    /// Works until the last handle is gone.
    pub(super) fn run(mut self, queue: &Receiver<(Command, Budget)>) {
        loop {
            let first = match self.wait() {
                Some(left) => queue.recv_timeout(left),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(first) => self.serve(first, queue),
                Err(RecvTimeoutError::Timeout) => self.sync_late(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.sync_late();
    }

    /// How long to wait before what is written must be synced.
    fn wait(&self) -> Option<Duration> {
        let SyncPolicy::Every(interval) = self.options.sync else { return None };
        self.unsynced.map(|since| interval.saturating_sub(since.elapsed()))
    }

    fn sync_late(&mut self) {
        if self.unsynced.take().is_some()
            && self.options.sync != SyncPolicy::Never
            && let Err(error) = self.file.sync_data()
        {
            self.fail(format!("sync of the message log: {error}"));
        }
    }

    fn serve(&mut self, first: (Command, Budget), queue: &Receiver<(Command, Budget)>) {
        let mut group = Group::default();
        let mut next = Some(first);
        let mut taken = 0;
        while let Some((command, budget)) = next {
            self.take(command, budget, &mut group);
            taken += 1;
            let room = taken < GROUP_MAX && group.bytes.len() < GROUP_BYTES;
            next = room.then(|| queue.try_recv().ok()).flatten();
        }
        let result = self.commit(&group);
        answer(group, &result);
        self.maintain();
        if self.wait().is_some_and(|left| left.is_zero()) {
            self.sync_late();
        }
    }

    fn take(&self, command: Command, budget: Budget, group: &mut Group) {
        match command {
            Command::Append { id, expected, records, reply } => {
                let offset = group.tails.get(&id).copied();
                let offset = offset.unwrap_or_else(|| self.index.lock().tail(id));
                let tail = Tail { incarnation: self.incarnation, offset };
                if expected != tail {
                    let _ = reply.send(Err(AppendError::Conflict));
                    return;
                }
                let tail = Tail { offset: offset + 1, ..tail };
                let mut bytes = Vec::new();
                record::encode(&records, &mut bytes);
                let frame = Frame::Entry { id, offset: tail.offset, records: bytes.into() };
                let (at, len) = self.write_frame(&frame, group);
                let place = Place { offset: tail.offset, segment: self.number, at, len };
                group.changes.push(Change::Insert(id, place));
                group.tails.insert(id, tail.offset);
                group.appends.push((reply, tail, budget));
            }
            Command::Purge { id, before, reply } => {
                self.write_frame(&Frame::Purge { id, before }, group);
                group.changes.push(Change::Purge(id, before));
                group.others.push((reply, budget));
            }
            Command::Forget { id, reply } => {
                self.write_frame(&Frame::Forget { id }, group);
                group.changes.push(Change::Forget(id));
                group.tails.insert(id, 0);
                group.others.push((reply, budget));
            }
            Command::Check { reply } => {
                group.checks = true;
                group.others.push((reply, budget));
            }
        }
    }

    fn write_frame(&self, frame: &Frame, group: &mut Group) -> (u32, u32) {
        let start = group.bytes.len();
        frame.encode(&mut group.bytes);
        let small = |n| u32::try_from(n).unwrap_or(u32::MAX);
        (small(self.len + start as u64), small((group.bytes.len() - start) as u64))
    }

    fn commit(&mut self, group: &Group) -> Result<(), Failure> {
        if let Some(why) = self.failed.get() {
            return Err(Failure::Undone(why.clone()));
        }
        if group.bytes.is_empty() {
            return if group.checks { self.probe() } else { Ok(()) };
        }
        self.write(&group.bytes, !group.appends.is_empty())?;
        let mut index = self.index.lock();
        for change in &group.changes {
            match *change {
                Change::Insert(id, place) => index.insert(id, place),
                Change::Purge(id, before) => index.purge(id, before),
                Change::Forget(id) => index.forget(id),
            }
        }
        if let Some(segment) = index.segments.get_mut(&self.number) {
            segment.len = self.len;
        }
        Ok(())
    }

    /// Writes at the end and syncs as the policy says; after a failure the file is as it was.
    fn write(&mut self, bytes: &[u8], is_promised: bool) -> Result<(), Failure> {
        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            let why = format!("write of the message log: {error}");
            return Err(self.undo(why, Failure::Undone));
        }
        if is_promised && self.options.sync == SyncPolicy::Always {
            if let Err(error) = self.file.sync_data() {
                let why = format!("sync of the message log: {error}");
                if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
                    // What the kernel still holds is not what is on disk: trying again would lie.
                    self.fail(why.clone());
                    return Err(Failure::Unknown(why));
                }
                return Err(self.undo(why, Failure::Unknown));
            }
            self.unsynced = None;
        } else {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Writes what stood elsewhere before, and syncs: its former place is going to be removed.
    pub(super) fn write_moved(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let written = self.file.write_all_at(bytes, self.len).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.unsynced = None;
                self.len += bytes.len() as u64;
            }
            Err(_) => self.file.set_len(self.len)?,
        }
        written
    }

    /// The first cause counts.
    fn fail(&self, why: String) {
        let _ = self.failed.set(why);
    }

    fn undo(&mut self, why: String, failure: fn(String) -> Failure) -> Failure {
        match self.file.set_len(self.len) {
            Ok(()) => failure(why),
            Err(error) => {
                self.fail(format!("{why}; not cut off again: {error}"));
                Failure::Unknown(why)
            }
        }
    }

    /// Finds out whether there is room, without leaving anything.
    fn probe(&mut self) -> Result<(), Failure> {
        let written = self.file.write_all_at(&[0; 4096], self.len);
        let cut = self.file.set_len(self.len);
        written.and(cut).map_err(|e| Failure::Undone(format!("write of the message log: {e}")))
    }

    /// Begins a new segment when this one is full, and gives back what nobody needs.
    fn maintain(&mut self) {
        if self.failed.get().is_some() {
            return;
        }
        if self.len >= self.options.segment_bytes {
            // If there is no room for a new one, this one grows.
            let _ = self.roll();
        }
        self.reclaim();
    }

    fn roll(&mut self) -> std::io::Result<()> {
        if self.options.sync != SyncPolicy::Never {
            self.file.sync_data()?;
            self.unsynced = None;
        }
        let number = self.number + 1;
        let segment = create(&self.folder, Header { incarnation: self.incarnation, number })?;
        self.number = number;
        self.file = segment.file.clone();
        self.len = segment.len;
        self.index.lock().segments.insert(number, segment);
        Ok(())
    }
}

/// Tells everybody of a group how it ended.
fn answer(group: Group, result: &Result<(), Failure>) {
    for (reply, tail, _budget) in group.appends {
        let _ = reply.send(match result {
            Ok(()) => Ok(tail),
            Err(Failure::Undone(why)) => Err(AppendError::Refused(why.clone())),
            Err(Failure::Unknown(why)) => Err(AppendError::Unknown(why.clone())),
        });
    }
    for (reply, _budget) in group.others {
        let _ = reply.send(match result {
            Ok(()) => Ok(()),
            Err(Failure::Undone(why) | Failure::Unknown(why)) => Err(LogUnavailable(why.clone())),
        });
    }
}

/// Makes a segment with its header; after a crash it is there or not.
pub(super) fn create(folder: &Path, header: Header) -> std::io::Result<Segment> {
    let path = folder.join(format!("{:020}.seg", header.number));
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(&path)?;
    file.write_all_at(&header.encode(), 0)?;
    file.sync_all()?;
    sync_folder(folder)?;
    Ok(Segment { path, file: Arc::new(file), len: HEADER_LEN as u64, live: 0 })
}

pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

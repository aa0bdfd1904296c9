//! One log per data folder, shared by all channels: segments that are only appended to, one sync for what
//! all channels appended meanwhile, and an index in memory.

mod format;
mod index;
mod reclaim;
mod recover;
mod writer;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    str::FromStr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use belay_core::{
    delivery::Record,
    ports::{
        AppendError, ChannelId, Entry, Listener, Loaded, LogAnswer, LogUnavailable, MessageLog,
        Tail,
    },
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::{
    format::{Found, Frame, Header},
    index::Index,
    writer::{Command, Writer},
};
use super::DiskError;
use crate::record;

/// Bytes that may wait for the thread; beyond it commands are refused.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// What a command counts besides its records, so that the bound is one of their number (65,536), too.
const COMMAND_BYTES: usize = 1_024;

/// When what was appended is synced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before it is acknowledged: it survives a power cut.
    Always,
    /// At most this long after it was acknowledged: a crash of the relay loses nothing, a power cut that
    /// much, which its writers send again.
    Every(Duration),
    /// When the operating system likes to.
    Never,
}

impl FromStr for SyncPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is none of always, never, or a number of milliseconds from 1 to 60000"
            )
        };
        match text {
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            number => {
                let millis: u64 = number.parse().map_err(|_| wrong())?;
                let every = Duration::from_millis(millis);
                if (1..=60_000).contains(&millis) { Ok(Self::Every(every)) } else { Err(wrong()) }
            }
        }
    }
}

impl std::fmt::Display for SyncPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::Never => f.write_str("never"),
            Self::Every(interval) => write!(f, "{}", interval.as_millis()),
        }
    }
}

/// How a log on disk behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub sync: SyncPolicy,
    /// Size at which a new segment begins.
    pub segment_bytes: u64,
    /// Age at which a host's messages need not be kept, whether anybody reads them or not.
    pub down_age: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::Always,
            segment_bytes: 16 * 1024 * 1024,
            down_age: belay_wire::LOG_AGE_MAX,
        }
    }
}

/// Channel logs in `<data-dir>/log`.
#[derive(Debug, Clone)]
pub struct DiskLog {
    index: Arc<Mutex<Index>>,
    incarnation: u64,
    /// It has no bound of its own, because one that has takes the memory of all its places at once.
    queue: Sender<(Command, Budget)>,
    waiting: Arc<AtomicUsize>,
    notes: Arc<[String]>,
    damaged: Arc<AtomicU64>,
    failed: Arc<OnceLock<String>>,
}

/// Bytes that wait; they are given back when their command is answered.
struct Budget {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl DiskLog {
    /// Opens or makes the log of a data folder: cuts off what a crash cut short, names what is damaged,
    /// and starts the thread that writes.
    ///
    /// # Errors
    /// [`DiskError`], among others when a newer version wrote a file.
    pub fn open(data_dir: &Path, options: Options) -> Result<Self, DiskError> {
        let folder = data_dir.join("log");
        let io = |e| DiskError::io(&folder, e);
        std::fs::create_dir_all(&folder).map_err(io)?;
        let found = recover::recover(&folder)?;
        let fresh = || getrandom::u64().map_err(|e| io(std::io::Error::other(e.to_string())));
        let incarnation = found.incarnation.map_or_else(fresh, Ok)?;
        let mut index = found.index;
        if index.segments.is_empty() {
            let header = Header { incarnation, number: 1 };
            let segment = writer::create(&folder, header).map_err(io)?;
            index.segments.insert(1, segment);
        }
        let Some((number, last)) = index.segments.last_key_value() else {
            return Err(io(std::io::Error::other("no segment")));
        };
        let (number, file, len) = (*number, last.file.clone(), last.len);
        let index = Arc::new(Mutex::new(index));
        let failed = Arc::<OnceLock<String>>::default();
        let (queue, commands) = channel();
        let writer = Writer {
            folder: folder.clone(),
            index: index.clone(),
            incarnation,
            options,
            number,
            file,
            len,
            unsynced: None,
            failed: failed.clone(),
        };
        let thread = std::thread::Builder::new().name("message-log".to_owned());
        thread.spawn(move || writer.run(&commands)).map_err(io)?;
        let (notes, damaged) = (found.notes.into(), Arc::new(found.damaged.into()));
        Ok(Self { index, incarnation, queue, waiting: Arc::default(), notes, damaged, failed })
    }

    /// What was damaged or cut off when the log was opened, for the operator.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Bytes of all segments, and of what is retained in them.
    pub fn sizes(&self) -> (u64, u64) {
        self.index.lock().sizes()
    }

    fn send<T: Send + 'static, E: Send + 'static>(
        &self,
        bytes: usize,
        command: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Command,
        refuse: fn(String) -> E,
        gone: fn(String) -> E,
    ) -> LogAnswer<T, E> {
        let bytes = COMMAND_BYTES + bytes;
        let before = self.waiting.fetch_add(bytes, Ordering::AcqRel);
        let budget = Budget { waiting: self.waiting.clone(), bytes };
        let (reply, answer) = oneshot::channel();
        // What makes room goes on when there is none.
        let most = if bytes > COMMAND_BYTES { QUEUE_BYTES } else { 2 * QUEUE_BYTES };
        let fits = before == 0 || before + bytes <= most;
        let sent = fits && self.queue.send((command(reply), budget)).is_ok();
        Box::pin(async move {
            if !sent {
                return Err(refuse("too much waits to be written".to_owned()));
            }
            answer.await.unwrap_or_else(|_| Err(gone("its thread ended".to_owned())))
        })
    }
}

impl MessageLog for DiskLog {
    fn append(
        &self,
        id: ChannelId,
        expected: Tail,
        records: Vec<Record>,
    ) -> LogAnswer<Tail, AppendError> {
        let bytes = records.iter().map(|record| record.bytes.len()).sum();
        let command = |reply| Command::Append { id, expected, records, reply };
        self.send(bytes, command, AppendError::Refused, AppendError::Unknown)
    }

    fn load(&self, id: ChannelId) -> LogAnswer<Loaded> {
        let (tail, places) = {
            let index = self.index.lock();
            let places: Vec<_> = index.channels.get(&id).into_iter().flatten().copied().collect();
            let file = |segment| index.segments.get(&segment).map(|s| s.file.clone());
            let places: Vec<_> =
                places.into_iter().filter_map(|p| file(p.segment).map(|f| (p, f))).collect();
            (Tail { incarnation: self.incarnation, offset: index.tail(id) }, places)
        };
        if places.is_empty() {
            return Box::pin(std::future::ready(Ok(Loaded { tail, entries: Vec::new() })));
        }
        let damaged = self.damaged.clone();
        let read = move || {
            let entries = places.into_iter().filter_map(|(place, file)| {
                let entry = read_entry(place, &file);
                if entry.is_none() {
                    damaged.fetch_add(1, Ordering::Relaxed);
                }
                entry
            });
            Loaded { tail, entries: entries.collect() }
        };
        Box::pin(async move {
            let reading = tokio::task::spawn_blocking(read).await;
            reading.map_err(|e| LogUnavailable(e.to_string()))
        })
    }

    /// Nobody else writes in this folder.
    fn subscribe(&self, _listener: Listener) {}

    fn purge(&self, id: ChannelId, before: u64) -> LogAnswer<()> {
        let command = |reply| Command::Purge { id, before, reply };
        self.send(0, command, LogUnavailable, LogUnavailable)
    }

    fn forget(&self, id: ChannelId) -> LogAnswer<()> {
        self.send(0, |reply| Command::Forget { id, reply }, LogUnavailable, LogUnavailable)
    }

    fn check(&self) -> LogAnswer<()> {
        self.send(0, |reply| Command::Check { reply }, LogUnavailable, LogUnavailable)
    }

    fn broken(&self) -> Option<String> {
        self.failed.get().cloned()
    }

    fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// `None`: it was whole when it was written, and is not any more.
fn read_entry(place: index::Place, file: &File) -> Option<Entry> {
    let mut bytes = vec![0; place.len as usize];
    file.read_exact_at(&mut bytes, u64::from(place.at)).ok()?;
    let found = format::read(&Bytes::from(bytes));
    let Found::Frame(Frame::Entry { offset, records, .. }, _) = found else { return None };
    record::decode(records).map(|records| Entry { offset, records })
}

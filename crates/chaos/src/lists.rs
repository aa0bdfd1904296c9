//! What a party writes down: one line an event, so that a process that is killed loses none of it.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use belay_wire::{Channel, Epoch, Position, Seq};

/// Milliseconds since 1970 UTC.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A line of the list of what was sent on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is about to be given to the client.
    Try(u64),
    /// The client took it: it must arrive.
    Done(u64),
    /// The client gave it up, or the process was killed while giving it: it may arrive, once.
    Unknown(u64),
}

/// A line of the list of what was applied of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// A message with its number, at a time in Unix milliseconds.
    Message { at: Position, n: u64, ms: u64 },
    /// A record that is no message: nothing is missing.
    Place { at: Position },
    /// The reader was told that something is missing.
    Gap { at: Position, reason: String },
}

impl Applied {
    /// Where the reader stands after it.
    pub fn at(&self) -> Position {
        match self {
            Self::Message { at, .. } | Self::Place { at } | Self::Gap { at, .. } => *at,
        }
    }
}

/// A file that lines are added to.
#[derive(Debug)]
pub struct List {
    file: File,
}

impl List {
    /// Opens or makes it; a last line that was cut short is cut off.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let text = read_text(path)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        file.set_len(whole as u64)?;
        Ok(Self { file })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When it is not written.
    pub fn add(&mut self, line: &str) -> std::io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// The file of a channel.
pub fn path(folder: &Path, what: &str, channel: Channel) -> PathBuf {
    folder.join(format!("{what}-{}", channel.to_string().replace('/', "-")))
}

/// The line of something that was sent.
pub fn sent_line(sent: Sent) -> String {
    match sent {
        Sent::Try(n) => format!("try {n}"),
        Sent::Done(n) => format!("done {n}"),
        Sent::Unknown(n) => format!("unknown {n}"),
    }
}

/// The line of something that was applied.
pub fn applied_line(applied: &Applied) -> String {
    let place = |at: &Position| format!("{} {}", at.epoch, at.seq.value());
    match applied {
        Applied::Message { at, n, ms } => format!("msg {} {n} {ms}", place(at)),
        Applied::Place { at } => format!("place {}", place(at)),
        Applied::Gap { at, reason } => format!("gap {} {reason}", place(at)),
    }
}

/// What was sent on a channel: each number with its last word, in the order of the numbers.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn read_sent(path: &Path) -> anyhow::Result<BTreeMap<u64, Sent>> {
    let mut sent = BTreeMap::new();
    for line in read_text(path)?.lines() {
        let parsed = line.split_once(' ').and_then(|(kind, n)| Some((kind, n.parse().ok()?)));
        let (n, word) = match parsed {
            Some(("try", n)) => (n, Sent::Try(n)),
            Some(("done", n)) => (n, Sent::Done(n)),
            Some(("unknown", n)) => (n, Sent::Unknown(n)),
            _ => anyhow::bail!("{}: {line:?}", path.display()),
        };
        sent.insert(n, word);
    }
    Ok(sent)
}

/// What was applied of a channel, in order.
///
/// # Errors
/// When the file cannot be read, or holds something else.
pub fn read_applied(path: &Path) -> anyhow::Result<Vec<Applied>> {
    let text = read_text(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse =
        |line| parse_applied(line).ok_or_else(|| anyhow::anyhow!("{}: {line:?}", path.display()));
    whole.lines().map(parse).collect()
}

fn parse_applied(line: &str) -> Option<Applied> {
    let mut words = line.splitn(4, ' ');
    let (kind, epoch, seq, rest) = (words.next()?, words.next()?, words.next()?, words.next());
    let at = Position::new(epoch.parse::<Epoch>().ok()?, Seq::new(seq.parse().ok()?)?);
    Some(match kind {
        "msg" => {
            let (n, ms) = rest?.split_once(' ')?;
            Applied::Message { at, n: n.parse().ok()?, ms: ms.parse().ok()? }
        }
        "place" => Applied::Place { at },
        "gap" => Applied::Gap { at, reason: rest?.to_owned() },
        _ => return None,
    })
}

//! A log file that does not grow without end: when it is full it becomes the former one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

/// Bytes after which a log file is put aside as `<name>.1`; the one before that is gone.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A log file and its predecessor, at most [`LOG_BYTES_MAX`] each and one line.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    max: u64,
    open: Mutex<(File, u64)>,
}

impl LogFile {
    /// Opens a file to append to.
    ///
    /// # Errors
    /// When it cannot be opened; the path is in the text.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::with_max(path, LOG_BYTES_MAX)
    }

    fn with_max(path: &Path, max: u64) -> io::Result<Self> {
        let open = Mutex::new(open(path)?);
        Ok(Self { path: path.to_owned(), max, open })
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// When they are not written.
    pub fn append(&self, lines: &[u8]) -> io::Result<()> {
        let mut held = self.open.lock();
        if held.1 >= self.max {
            let mut former = self.path.clone().into_os_string();
            former.push(".1");
            std::fs::rename(&self.path, former)?;
            *held = open(&self.path)?;
        }
        held.1 += lines.len() as u64;
        held.0.write_all(lines)
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let mut options = OpenOptions::new();
    // What people and agents say passes here.
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.append(true).create(true).open(path).map_err(named)?;
    let len = file.metadata().map_err(named)?.len();
    Ok((file, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_its_newest_lines_and_stays_small() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("a.log");
        for n in 0..1_000 {
            // Opened anew now and then, as by a restart.
            let log = LogFile::with_max(&path, 1_000).expect("opened");
            log.append(format!("line {n}\n").as_bytes()).expect("written");
            log.append(b"more\n").expect("written");
        }

        let (new, former) = (std::fs::read(&path), std::fs::read(folder.path().join("a.log.1")));
        let (new, former) = (new.expect("a log"), former.expect("a former log"));
        assert!(new.len() < 1_100 && former.len() < 1_100, "{} {}", new.len(), former.len());
        let kept = [former, new].concat();
        assert!(kept.ends_with(b"line 998\nmore\nline 999\nmore\n"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }
}

//! From the files of a folder to the index: what a crash cut short is cut off, what is damaged is named.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    format::{self, Found, Frame, HEADER_LEN, Header, VERSION},
    index::{Index, Place, Segment},
};
use crate::disk::DiskError;

/// What was found in the files.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    /// Absent if there was no segment.
    pub(super) incarnation: Option<u64>,
    /// What is damaged or was cut off, for the operator.
    pub(super) notes: Vec<String>,
    /// Places at which something that was whole once is not.
    pub(super) damaged: u64,
}

/// Reads all segments of a folder.
pub(super) fn recover(folder: &Path) -> Result<Recovered, DiskError> {
    let mut found =
        Recovered { index: Index::default(), incarnation: None, notes: Vec::new(), damaged: 0 };
    let paths = segments(folder)?;
    let last = paths.len().saturating_sub(1);
    for (at, path) in paths.into_iter().enumerate() {
        found.read_segment(&path, at == last)?;
    }
    Ok(found)
}

fn segments(folder: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let io = |e| DiskError::io(folder, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|e| e == "seg") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

impl Recovered {
    fn read_segment(&mut self, path: &Path, is_last: bool) -> Result<(), DiskError> {
        let io = |e| DiskError::io(path, e);
        let bytes = Bytes::from(std::fs::read(path).map_err(io)?);
        let header = Header::decode(&bytes);
        let (header, version) = match header {
            Some(whole) => whole,
            // A crash between making the file and writing its header leaves nothing of use.
            None if is_last && bytes.len() < HEADER_LEN => {
                return std::fs::remove_file(path).map_err(io);
            }
            None => return self.set_aside(path),
        };
        if version > VERSION {
            let (found, known) = (i64::from(version), i64::from(VERSION));
            return Err(DiskError::Newer { path: path.to_owned(), found, known });
        }
        if self.incarnation.is_some_and(|known| known != header.incarnation) {
            return self.set_aside(path);
        }
        self.incarnation = Some(header.incarnation);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        let segment = Segment { path: path.to_owned(), file: Arc::new(file), len: 0, live: 0 };
        self.index.segments.insert(header.number, segment);
        let len = self.read_frames(path, header.number, &bytes, is_last);
        if let Some(segment) = self.index.segments.get_mut(&header.number) {
            segment.len = len;
            if len < bytes.len() as u64 {
                cut(&segment.file, len).map_err(io)?;
            }
        }
        Ok(())
    }

    /// Gives how long the file is without what a crash cut short.
    fn read_frames(&mut self, path: &Path, number: u64, bytes: &Bytes, is_last: bool) -> u64 {
        let mut at = HEADER_LEN;
        while at < bytes.len() {
            let rest = bytes.slice(at..);
            match format::read(&rest) {
                Found::Frame(frame, len) => {
                    self.take(&frame, number, at, len);
                    at += len;
                }
                Found::Damaged => match format::next_whole(&rest) {
                    Some(skip) => {
                        self.damage(path, at, skip);
                        at += skip;
                    }
                    None if is_last => {
                        let cut = bytes.len() - at;
                        let path = path.display();
                        self.notes.push(format!("{path}: {cut} bytes after {at} were cut short by a crash and are cut off"));
                        return at as u64;
                    }
                    None => {
                        self.damage(path, at, bytes.len() - at);
                        break;
                    }
                },
            }
        }
        bytes.len() as u64
    }

    fn damage(&mut self, path: &Path, at: usize, len: usize) {
        self.damaged += 1;
        let path = path.display();
        self.notes.push(format!(
            "{path}: {len} bytes at {at} are damaged; who misses these messages is told so"
        ));
    }

    fn take(&mut self, frame: &Frame, segment: u64, at: usize, len: usize) {
        match *frame {
            Frame::Entry { id, offset, .. } => {
                let small = |n| u32::try_from(n).unwrap_or(u32::MAX);
                let place = Place { offset, segment, at: small(at), len: small(len) };
                self.index.insert(id, place);
            }
            Frame::Purge { id, before } => self.index.purge(id, before),
            Frame::Forget { id } => self.index.forget(id),
        }
    }

    /// A file that is no segment of this log is kept, but not read again.
    fn set_aside(&mut self, path: &Path) -> Result<(), DiskError> {
        let aside = path.with_extension("damaged");
        std::fs::rename(path, &aside).map_err(|e| DiskError::io(path, e))?;
        self.damaged += 1;
        self.notes.push(format!(
            "{}: its head is damaged, so none of it can be read; it is kept as {}",
            path.display(),
            aside.display()
        ));
        Ok(())
    }
}

fn cut(file: &File, len: u64) -> std::io::Result<()> {
    file.set_len(len)?;
    file.sync_all()
}

//! Files of JSON lines: appended to while the host runs, written anew when little of them is needed.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

/// All lines that can be read; none if there is no such file. A line that a crash cut short is
/// skipped, and so is a damaged one, which is logged.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> std::io::Result<Vec<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut lines = Vec::new();
    for (at, line) in BufReader::new(file).split(b'\n').enumerate() {
        match serde_json::from_slice(&line?) {
            Ok(line) => lines.push(line),
            Err(error) => {
                tracing::warn!(path = %path.display(), line = at + 1, %error, "line skipped");
            }
        }
    }
    Ok(lines)
}

/// Makes a folder that only its owner can look into.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn private_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Adds a line; after a line that was cut short it begins a new one. Gives the file's length.
///
/// # Errors
/// When it is not written; what was written of it is taken back if that is possible.
pub(crate) fn append(path: &Path, line: &impl Serialize, sync: bool) -> std::io::Result<u64> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
    let before = file.seek(SeekFrom::End(0))?;
    let mut text = Vec::new();
    if before > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push(b'\n');
        }
    }
    serde_json::to_writer(&mut text, line)?;
    text.push(b'\n');
    let mut write = || {
        file.write_all(&text)?;
        if sync { file.sync_data() } else { Ok(()) }
    };
    if let Err(error) = write() {
        let _ = file.set_len(before);
        return Err(error);
    }
    Ok(before + text.len() as u64)
}

/// Writes a file anew, whole or not at all. Gives its length.
///
/// # Errors
/// When it is not written; the former file is still there.
pub(crate) fn rewrite(
    path: &Path,
    lines: impl IntoIterator<Item = impl Serialize>,
) -> std::io::Result<u64> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    let mut file = BufWriter::new(file);
    for line in lines {
        serde_json::to_writer(&mut file, &line)?;
        file.write_all(b"\n")?;
    }
    let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_after_one_that_a_crash_cut_short_is_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("lines");
        append(&path, &1, true).expect("written");
        std::fs::write(&path, b"1\n[2, 3").expect("torn");
        append(&path, &4, true).expect("written");
        append(&path, &5, false).expect("written");

        assert_eq!(read::<u8>(&path).expect("readable"), [1, 4, 5]);
    }

    #[test]
    fn a_rewritten_file_holds_what_was_given_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("lines");
        append(&path, &"a".repeat(1_000), false).expect("written");

        assert_eq!(rewrite(&path, [7, 8]).expect("written"), 4);

        assert_eq!(read::<u8>(&path).expect("readable"), [7, 8]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_full_disk_takes_no_line_and_spoils_none() {
        let error = append(Path::new("/dev/full"), &1, false).expect_err("full");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

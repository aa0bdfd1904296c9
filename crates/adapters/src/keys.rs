//! Server keys: those that sign tokens and the one under which secrets are hashed. They are not in
//! the store, so a stolen store gives no usable token.

use std::{
    fmt::Write as _,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use belay_core::{HashKey, token::TokenKeys};

use crate::disk::DiskError;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A line is not `id:hex`.
    #[error("{place}, line {line}: expected `id:key` with a number and 64 hexadecimal digits")]
    Malformed { place: String, line: usize },
    /// No key at all.
    #[error("{place}: holds no key")]
    Empty { place: String },
    /// The file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The keys of a relay.
#[derive(Debug, Clone)]
pub struct Keys {
    pub tokens: TokenKeys,
    pub hash: HashKey,
}

impl Keys {
    /// Reads the keys of a data folder, making them at the first start. `token_keys` (from the
    /// environment) replaces the file `token-keys`, `store_key` the file `store-key`; `random` gives fresh
    /// bytes.
    ///
    /// # Errors
    /// [`KeyError`] names file and line.
    pub fn open(
        folder: &Path,
        token_keys: Option<&str>,
        store_key: Option<&str>,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Self, KeyError> {
        let tokens = match token_keys {
            Some(text) => parse("BELAY_TOKEN_KEYS", text)?,
            None => from_file(&folder.join("token-keys"), random)?,
        };
        let hash = match store_key {
            Some(text) => parse("BELAY_STORE_KEY", text)?,
            None => from_file(&folder.join("store-key"), random)?,
        };
        let hash = hash[0].1;
        let tokens = TokenKeys::new(tokens)
            .ok_or_else(|| KeyError::Empty { place: "token keys".to_owned() })?;
        Ok(Self { tokens, hash: HashKey::new(hash) })
    }

    /// Checks the text of token keys.
    ///
    /// # Errors
    /// [`KeyError`] names the line.
    pub fn check(text: &str) -> Result<(), KeyError> {
        parse("keys", text).map(|_| ())
    }

    /// Keys for a relay that keeps nothing.
    pub fn ephemeral(random: &mut dyn FnMut(&mut [u8])) -> Self {
        let (mut token, mut hash) = ([0; 32], [0; 32]);
        random(&mut token);
        random(&mut hash);
        let tokens = TokenKeys::new([(1, token)]).expect("there is one key");
        Self { tokens, hash: HashKey::new(hash) }
    }
}

type KeyList = Vec<(u32, [u8; 32])>;

fn from_file(path: &Path, random: &mut dyn FnMut(&mut [u8])) -> Result<KeyList, KeyError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&path.display().to_string(), &text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            random(&mut key);
            let mut hex = String::new();
            for byte in key {
                let _ = write!(hex, "{byte:02x}");
            }
            write_private(path, &format!("1:{hex}\n"))?;
            Ok(vec![(1, key)])
        }
        Err(e) => Err(DiskError::io(path, e).into()),
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), DiskError> {
    let temporary: PathBuf = path.with_extension("new");
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
    };
    write().map_err(|e| DiskError::io(path, e))
}

fn parse(place: &str, text: &str) -> Result<KeyList, KeyError> {
    let mut keys = Vec::new();
    let lines = text.split(['\n', ',']).map(str::trim).enumerate();
    for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let malformed = || KeyError::Malformed { place: place.to_owned(), line: at + 1 };
        let (id, hex) = line.split_once(':').ok_or_else(malformed)?;
        let id = id.parse().map_err(|_| malformed())?;
        keys.push((id, unhex(hex).ok_or_else(malformed)?));
    }
    if keys.is_empty() {
        return Err(KeyError::Empty { place: place.to_owned() });
    }
    Ok(keys)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut key = [0; 32];
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(key)
}

//! What the nodes of a cluster share and nobody else knows.

use std::{fmt::Write as _, io::Write as _, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context as _;

/// File of the secrets that all relays share.
pub(super) const SECRETS: &str = "secrets.env";

/// Names of the environment with their values. They never stand on a command line, which other users of
/// this machine can read.
#[derive(Clone)]
pub(super) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Reads the file, or makes it with fresh secrets, readable by its owner only.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let why = || path.display().to_string();
        if !path.exists() {
            let text = format!(
                "BELAY_TOKEN_KEYS=1:{}\nBELAY_STORE_KEY=1:{}\nBELAY_BUS_SECRET={}\n",
                hex()?,
                hex()?,
                hex()?
            );
            let mut options = std::fs::OpenOptions::new();
            let mut file =
                options.write(true).create_new(true).mode(0o600).open(path).with_context(why)?;
            file.write_all(text.as_bytes()).with_context(why)?;
        }
        let text = std::fs::read_to_string(path).with_context(why)?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    pub(super) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// 32 random bytes.
fn hex() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).context("no randomness")?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_made_once_for_their_owner_only_and_read_again() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("secrets.env");

        let made = Secrets::open(&path).expect("made");
        let read = Secrets::open(&path).expect("read");

        assert_eq!(made.0, read.0);
        assert_eq!(made.0.len(), 3);
        assert!(made.0.iter().all(|(_, value)| value.len() >= 64));
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

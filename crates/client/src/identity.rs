//! The key pair of a host or device.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use belay_wire::{Bytes32, Bytes64, PublicKey, proof::Transcript};
use ed25519_dalek::{Signer, SigningKey};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error("{path}: {cause}")]
    Io { path: PathBuf, cause: std::io::Error },
    /// The file is not an identity.
    #[error("{path} is damaged; move it away and pair again")]
    Damaged { path: PathBuf },
}

/// Two private keys: one signs (Ed25519), one agrees on secrets (X25519).
#[derive(Clone)]
pub struct Identity {
    sign: SigningKey,
    agree: StaticSecret,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("public", &self.public()).finish_non_exhaustive()
    }
}

impl Identity {
    /// Draws fresh keys.
    pub fn generate() -> Self {
        Self::from_bytes(&Zeroizing::new(random()))
    }

    fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (sign, agree) = bytes.split_at(32);
        let half = |part: &[u8]| <[u8; 32]>::try_from(part).expect("half of 64 bytes");
        Self { sign: SigningKey::from_bytes(&half(sign)), agree: StaticSecret::from(half(agree)) }
    }

    /// Reads the identity of a file, making it at the first start; only its owner can read it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        let io = |cause| IdentityError::Io { path: path.to_owned(), cause };
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let mut bytes = Zeroizing::new([0; 64]);
                match BASE64URL.decode_slice(text.trim(), &mut *bytes) {
                    Ok(64) => Ok(Self::from_bytes(&bytes)),
                    _ => Err(IdentityError::Damaged { path: path.to_owned() }),
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let identity = Self::generate();
                identity.save(path).map_err(io)?;
                Ok(identity)
            }
            Err(e) => Err(io(e)),
        }
    }

    /// Writes it to a file that only its owner can read.
    ///
    /// # Errors
    /// When it is not written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let halves = [self.sign.to_bytes(), self.agree.to_bytes()];
        let bytes = Zeroizing::new(halves.concat());
        write_private(path, Zeroizing::new(BASE64URL.encode(&*bytes)).as_bytes())
    }

    /// The public halves.
    pub fn public(&self) -> PublicKey {
        PublicKey {
            sign: Bytes32(self.sign.verifying_key().to_bytes()),
            agree: Bytes32(x25519_dalek::PublicKey::from(&self.agree).to_bytes()),
        }
    }

    /// Signs a transcript (Ed25519, RFC 8032).
    pub fn sign(&self, transcript: &Transcript) -> Bytes64 {
        Bytes64(self.sign.sign(transcript.as_bytes()).to_bytes())
    }
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Writes a file that only its owner can read, whole or not at all, and synced.
pub(crate) fn write_private(path: &Path, text: impl AsRef<[u8]>) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_ref())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_private() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("keys/identity");

        let first = Identity::open(&path).expect("made");
        let second = Identity::open(&path).expect("read");

        assert_eq!(first.public(), second.public());
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "garbage").expect("writable");
        assert!(matches!(Identity::open(&path), Err(IdentityError::Damaged { .. })));
    }
}

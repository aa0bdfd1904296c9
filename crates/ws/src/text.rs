//! Text whose bytes are shared.

use std::{
    fmt,
    str::{self, Utf8Error},
};

use bytes::Bytes;

/// UTF-8 text over shared bytes: a clone copies nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(Bytes);

impl Text {
    /// Takes bytes that are known to be UTF-8. Others would go to the peer as they are, which fails the
    /// connection (RFC 6455, section 8.1).
    pub fn trusted(bytes: Bytes) -> Self {
        debug_assert!(str::from_utf8(&bytes).is_ok(), "text is UTF-8");
        Self(bytes)
    }

    /// The text. Each call checks the bytes again, about 20 µs per MiB.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl TryFrom<Bytes> for Text {
    type Error = Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

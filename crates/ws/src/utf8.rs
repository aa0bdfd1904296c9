//! UTF-8 of text that comes in parts (RFC 6455, section 8.1).

use std::str;

use crate::Violation;

/// How far a growing text is known to be UTF-8.
#[derive(Debug, Default)]
pub(crate) struct Utf8Check {
    /// Bytes up to here are whole characters.
    valid_to: usize,
}

impl Utf8Check {
    /// Looks at what was appended to `text` since the last call. A character may still be incomplete.
    ///
    /// # Errors
    ///
    /// As soon as no continuation could make it UTF-8.
    pub(crate) fn extend(&mut self, text: &[u8]) -> Result<(), Violation> {
        match str::from_utf8(&text[self.valid_to..]) {
            Ok(_) => self.valid_to = text.len(),
            Err(error) if error.error_len().is_none() => self.valid_to += error.valid_up_to(),
            Err(_) => return Err(Violation::NotUtf8),
        }
        Ok(())
    }

    /// The text is complete.
    pub(crate) fn finish(self, text: &[u8]) -> Result<(), Violation> {
        if self.valid_to == text.len() { Ok(()) } else { Err(Violation::NotUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of bytes after which a text is refused; `None`: it is not, even when complete.
    fn refused_after(text: &[u8]) -> Option<usize> {
        let mut check = Utf8Check::default();
        for end in 1..=text.len() {
            if check.extend(&text[..end]).is_err() {
                return Some(end);
            }
        }
        check.finish(text).err().map(|_| text.len() + 1)
    }

    #[test]
    fn bytes_one_by_one_are_refused_at_the_first_that_cannot_be() {
        let rows: [(&[u8], Option<usize>); 10] = [
            (b"", None),
            ("κόσμε, größer, 🙂".as_bytes(), None),
            // A surrogate, beyond the last character, two forms that are too long.
            (b"a\xed\xa0\x80", Some(3)),
            (b"a\xf4\x90\x80\x80", Some(3)),
            (b"\xc0\x80", Some(1)),
            (b"\xe0\x80\x80", Some(2)),
            (b"a\xff", Some(2)),
            (b"\x80", Some(1)),
            // Not complete.
            (b"a\xe2\x82", Some(4)),
            (b"\xf0\x9f\x99", Some(4)),
        ];
        for (text, expected) in rows {
            assert_eq!(refused_after(text), expected, "{text:?}");
        }
    }
}

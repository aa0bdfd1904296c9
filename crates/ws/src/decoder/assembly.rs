//! A message that is coming, in one frame or in fragments (RFC 6455, section 5.4).

use bytes::{BufMut, Bytes, buf::Limit};

use crate::{Message, Text, Violation, apply_mask, utf8::Utf8Check};

/// Memory for the first bytes of a payload; later it grows with what has come, bytes.
const FIRST_BYTES: usize = 16 * 1024;
/// Reads into less room than this cost more than the copy they spare, bytes.
const ROOM_BYTES_MIN: usize = 4 * 1024;

#[derive(Debug)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    /// Bytes up to here are unmasked and checked.
    settled: usize,
    /// Of text only.
    utf8: Option<Utf8Check>,
    /// It comes in one frame, so its length is known.
    is_whole: bool,
}

impl Assembly {
    pub(super) fn new(is_text: bool, is_whole: bool) -> Self {
        let utf8 = is_text.then(Utf8Check::default);
        Self { bytes: Vec::new(), settled: 0, utf8, is_whole }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes that came and are not settled yet.
    pub(super) fn fresh(&self) -> usize {
        self.bytes.len() - self.settled
    }

    /// Room for some of the `left` bytes that are still to come of the present frame.
    pub(super) fn room(&mut self, left: usize) -> Limit<&mut Vec<u8>> {
        self.reserve(left.min(ROOM_BYTES_MIN), left);
        let room = left.min(self.bytes.capacity() - self.bytes.len());
        (&mut self.bytes).limit(room)
    }

    /// Adds the first of `left` bytes that are to come of the present frame.
    pub(super) fn append(&mut self, bytes: &[u8], left: usize) {
        self.reserve(bytes.len(), left);
        self.bytes.extend_from_slice(bytes);
    }

    /// A length that is only declared gets no more memory than what has come already.
    fn reserve(&mut self, needed: usize, left: usize) {
        if self.bytes.capacity() - self.bytes.len() >= needed {
            return;
        }
        let room = left.min(self.bytes.len().max(FIRST_BYTES)).max(needed);
        if self.is_whole {
            self.bytes.reserve_exact(room);
        } else {
            // Many small fragments must not mean many copies.
            self.bytes.reserve(room);
        }
    }

    /// Unmasks and checks what came since the last time, and tells how much it was.
    pub(super) fn settle(&mut self, masking_key: Option<[u8; 4]>) -> Result<usize, Violation> {
        let fresh = self.fresh();
        if let Some(key) = masking_key {
            apply_mask(&mut self.bytes[self.settled..], key);
        }
        self.settled = self.bytes.len();
        if let Some(utf8) = &mut self.utf8 {
            utf8.extend(&self.bytes)?;
        }
        Ok(fresh)
    }

    /// The message, in memory of about its size.
    pub(super) fn finish(mut self) -> Result<Message, Violation> {
        if self.bytes.capacity() > self.bytes.len() + self.bytes.len() / 4 {
            self.bytes.shrink_to_fit();
        }
        match self.utf8 {
            None => Ok(Message::Binary(self.bytes.into())),
            Some(utf8) => {
                utf8.finish(&self.bytes)?;
                Ok(Message::Text(Text::trusted(Bytes::from(self.bytes))))
            }
        }
    }
}

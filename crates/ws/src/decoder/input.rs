//! Bytes that were fed and not looked at yet.

/// A rest of at most this keeps no larger buffer, bytes: part of a header or of a control frame.
const REST_BYTES_MAX: usize = 256;

/// A queue of bytes in one piece. Empty, it takes no memory.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// What is before this was taken.
    taken: usize,
}

impl Input {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn take(&mut self, count: usize) {
        self.taken += count;
    }

    /// Nothing more can be made of the rest now.
    pub(super) fn settle(&mut self) {
        let rest = self.rest();
        if rest.len() <= REST_BYTES_MAX && self.bytes.capacity() > REST_BYTES_MAX || rest.is_empty()
        {
            *self = Self { bytes: rest.to_vec(), taken: 0 };
        }
    }

    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

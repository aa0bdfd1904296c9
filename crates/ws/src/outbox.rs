//! Frames that wait to be written, and their way out.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::{HEADER_BYTES_MAX, Header, Message, Role, apply_mask};

/// Payloads up to this are copied behind their header, bytes: cheaper than a slice of their own.
const COPIED_BYTES_MAX: usize = 4 * 1024;
/// Slices of one write. Systems take 1,024 and this many already make one call cheap.
const SLICES_MAX: usize = 64;

/// A queue of encoded frames. It takes no memory while it is empty.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What goes first.
    parts: VecDeque<Bytes>,
    /// Headers and small payloads that go after the parts, one behind the other.
    tail: BytesMut,
    /// Bytes that wait.
    bytes: usize,
    /// The stream may hold back what was written until it is flushed.
    unflushed: bool,
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Adds a message as one frame. A large payload of a server is shared where the stream writes
    /// several slices at once (`is_vectored`); that of a client is a masked copy.
    pub(crate) fn push(&mut self, message: Message, role: Role, is_vectored: bool) {
        let (opcode, payload) = message.into_frame();
        let masking_key = role.masking_key();
        let length = payload.len() as u64;
        let before = self.tail.len();
        let copied = if payload.len() > COPIED_BYTES_MAX && is_vectored && masking_key.is_none() {
            0
        } else {
            payload.len()
        };
        self.tail.reserve(HEADER_BYTES_MAX + copied);
        Header { is_final: true, opcode, length, masking_key }.encode(&mut self.tail);
        self.bytes += self.tail.len() - before + payload.len();
        if copied < payload.len() {
            self.parts.push_back(mem::take(&mut self.tail).freeze());
            self.parts.push_back(payload);
            return;
        }
        let at = self.tail.len();
        self.tail.extend_from_slice(&payload);
        if let Some(key) = masking_key {
            apply_mask(&mut self.tail[at..], key);
        }
    }

    /// Writes until nothing waits, and flushes the stream. Nothing is lost or written twice when it is
    /// not polled again.
    pub(crate) fn poll_drain(
        &mut self,
        mut io: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.bytes > 0 {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.slices(&mut slices);
            let slices = &slices[..count];
            let written = ready!(io.as_mut().poll_write_vectored(context, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.advance(written);
        }
        if self.unflushed {
            ready!(io.poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        let parts = self.parts.iter().map(|part| &part[..]).chain([&self.tail[..]]);
        let parts = parts.filter(|part| !part.is_empty());
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.parts.front_mut() {
            if written < first.len() {
                return first.advance(written);
            }
            written -= first.len();
            self.parts.pop_front();
        }
        self.tail.advance(written);
        if self.tail.is_empty() {
            (self.parts, self.tail) = (VecDeque::new(), BytesMut::new());
        }
    }
}

#[cfg(test)]
mod tests;

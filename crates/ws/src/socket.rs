//! A websocket over a stream of bytes.

mod read;

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::{CloseFrame, Decoder, Error, Message, Role, outbox::Outbox};

/// What a socket may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message that is taken, bytes of payload. A larger one fails the connection at its
    /// header (RFC 6455, section 7.4.1: code 1009).
    pub message_bytes_max: usize,
    /// Bytes of frames that wait for [`WebSocket::flush`]. With more, [`WebSocket::feed`] writes first;
    /// so the bound is this and one message.
    pub queue_bytes_max: usize,
}

/// One end of a connection after its handshake.
///
/// What came is taken with [`next`](Self::next). What goes out is queued with [`feed`](Self::feed) and
/// leaves in one write with [`flush`](Self::flush). Pings are answered, and a close frame too, while
/// either is polled; pings that come faster than their answers can be written have only the newest
/// answered (RFC 6455, section 5.5.3). All of it may be cancelled at any point: nothing is lost, and
/// whatever was written in part is continued.
#[derive(Debug)]
pub struct WebSocket<S> {
    io: S,
    role: Role,
    limits: Limits,
    decoder: Decoder,
    outbox: Outbox,
    /// The answer to the newest ping, until it is queued.
    pong: Option<Bytes>,
    /// A pong or the answer to a close frame is queued, which needs no call to leave.
    is_answering: bool,
    reading: Reading,
    closing: Closing,
}

/// What becomes of bytes that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// They are messages.
    Messages,
    /// They follow what broke the protocol, or the last close frame.
    Discarded,
    /// None come any more.
    Ended,
}

/// How far the closing handshake is (section 7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    Open,
    /// Our close frame is queued or sent; the peer's did not come.
    Sent,
    /// The peer's came, and ours is queued or sent.
    Done,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes over a stream. `leftover`: what was read of it behind the handshake.
    pub fn new(io: S, role: Role, limits: Limits, leftover: &[u8]) -> Self {
        let mut decoder = Decoder::new(role, limits.message_bytes_max);
        decoder.feed(leftover);
        Self {
            io,
            role,
            limits,
            decoder,
            outbox: Outbox::default(),
            pong: None,
            is_answering: false,
            reading: Reading::Messages,
            closing: Closing::Open,
        }
    }

    /// The stream. Who reads or writes it breaks the protocol.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// The next message, ping, pong or close frame; cancelling it loses nothing. After a close frame, or
    /// an error, there is nothing more: `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Violation`]: the peer broke the protocol; a close frame with its code should be sent.
    /// [`Error::Eof`] and [`Error::Io`]: the peer is gone.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Queues a message as one frame; [`flush`](Self::flush) sends it. Cancelled, it has not queued it.
    ///
    /// # Errors
    ///
    /// [`Error::Closing`] after a close frame was queued or came. [`Error::Io`] if the queue was full and
    /// could not be written.
    pub async fn feed(&mut self, message: Message) -> Result<(), Error> {
        if self.outbox.len() >= self.limits.queue_bytes_max {
            self.flush().await?;
        }
        self.queue(message)
    }

    /// Writes all that is queued.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the peer is gone.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// Queues a message and writes all that is queued.
    ///
    /// # Errors
    ///
    /// Those of [`feed`](Self::feed) and [`flush`](Self::flush).
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.feed(message).await?;
        self.flush().await
    }

    /// Says goodbye: sends a close frame if none was sent, waits for the peer's and for the end of the
    /// stream where the peer ends it. What else comes is discarded, so that the peer can read its last
    /// frames (RFC 6455, section 7.1.1). A peer may let it wait for ever: bound it in time.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the peer is gone.
    pub async fn close(&mut self, close: Option<CloseFrame>) -> Result<(), Error> {
        if self.closing == Closing::Open {
            self.queue(Message::Close(close))?;
        }
        self.flush().await?;
        while self.next().await.is_some() {}
        if let Role::Server = self.role {
            self.io.shutdown().await?;
        }
        if self.reading == Reading::Discarded {
            poll_fn(|context| self.poll_discard(context)).await?;
        }
        Ok(())
    }

    fn queue(&mut self, message: Message) -> Result<(), Error> {
        if self.closing != Closing::Open {
            return Err(Error::Closing);
        }
        if let Message::Close(_) = message {
            self.closing = Closing::Sent;
        }
        self.outbox.push(message, self.role, self.io.is_write_vectored());
        Ok(())
    }

    /// Bytes of buffers that it holds now, beside the messages it has given out.
    pub fn held(&self) -> usize {
        self.decoder.held() + self.outbox.len()
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            self.queue_pong();
            ready!(self.outbox.poll_drain(Pin::new(&mut self.io), context))?;
            self.is_answering = false;
            if self.pong.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// One pong is queued at a time, so that pings of a peer that does not read take no memory.
    fn queue_pong(&mut self) {
        if self.is_answering {
            return;
        }
        if let Some(pong) = self.pong.take() {
            self.is_answering = self.queue(Message::Pong(pong)).is_ok();
        }
    }
}

#[cfg(test)]
mod tests;

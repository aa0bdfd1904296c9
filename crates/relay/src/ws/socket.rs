//! What the task of a socket needs from a websocket library, over any stream of bytes: an upgraded
//! HTTP connection, or in tests a pipe with invented time.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use belay_core::session::OutFrame;
use belay_wire::CloseCode;
use belay_ws::{CloseFrame, Error, Limits, Message, Role, Text, Violation, WebSocket};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// Bytes that wait for the flush of their batch.
const BATCH_BYTES: usize = 256 * 1024;
/// Bytes that a peer may send before it authenticates: one frame of `auth` and control frames.
const UNAUTHENTICATED_READ_BYTES: usize = 2 * belay_wire::UNAUTHENTICATED_BYTES_MAX;
/// How long one batch may take to be written before the reader counts as gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What came in.
#[derive(Debug)]
pub(super) enum Incoming {
    Text(Text),
    Binary(Bytes),
    /// The peer closed with this code, or the socket broke.
    Gone(Option<u16>),
    /// Not a frame that may be sent here.
    Malformed(String),
    /// Text that is not UTF-8.
    NotUtf8(String),
    /// Larger than this peer may send.
    TooLarge,
}

/// A stream of bytes in both directions.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for T {}

/// A websocket of the relay.
#[derive(Debug)]
pub(super) struct Socket<T> {
    stream: WebSocket<Metered<T>>,
    /// When anything last came from the peer.
    heard: Instant,
}

impl<T: Transport> Socket<T> {
    /// Takes over a connection after its upgrade.
    pub(super) fn new(inner: T) -> Self {
        let largest = belay_wire::HOST_MESSAGE_BYTES_MAX + belay_wire::ENVELOPE_BYTES_MAX;
        Self::with_limit(inner, largest)
    }

    /// The same for messages of at most `largest` bytes.
    pub(super) fn with_limit(inner: T, largest: usize) -> Self {
        let limits = Limits { message_bytes_max: largest, queue_bytes_max: BATCH_BYTES };
        let metered = Metered { inner, left: Some(UNAUTHENTICATED_READ_BYTES) };
        let stream = WebSocket::new(metered, Role::Server, limits, &[]);
        Self { stream, heard: Instant::now() }
    }

    /// Lifts the bound on what may be read.
    pub(super) fn authenticated(&mut self) {
        self.stream.get_mut().left = None;
    }

    /// How long nothing came, no ping or pong either.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Sends a websocket ping (RFC 6455, section 5.5.2).
    pub(super) async fn ping(&mut self) -> Result<(), WriteError> {
        let pinging = self.stream.send(Message::Ping(Bytes::new()));
        match tokio::time::timeout(WRITE_TIMEOUT, pinging).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(WriteError::Gone),
            Err(_) => Err(WriteError::Stuck),
        }
    }

    /// The next frame; cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Incoming {
        loop {
            let next = self.stream.next().await;
            self.heard = Instant::now();
            match next {
                Some(Ok(Message::Text(text))) => return Incoming::Text(text),
                Some(Ok(Message::Binary(bytes))) => return Incoming::Binary(bytes),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Err(error)) => return failed(&error),
                Some(Ok(Message::Close(frame))) => {
                    // 1005: a close frame without a code (RFC 6455, section 7.1.5).
                    return Incoming::Gone(Some(frame.map_or(1005, |f| f.code)));
                }
                None => return Incoming::Gone(None),
            }
        }
    }

    /// The next frame if it is here already.
    pub(super) async fn ready(&mut self) -> Option<Incoming> {
        let next = self.next();
        let mut next = std::pin::pin!(next);
        poll_fn(|context| {
            Poll::Ready(match next.as_mut().poll(context) {
                Poll::Ready(incoming) => Some(incoming),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// Writes all frames with one flush.
    pub(super) async fn write(&mut self, frames: Vec<OutFrame>) -> Result<(), WriteError> {
        let writing = async {
            for frame in frames {
                let message = match frame {
                    OutFrame::Text(bytes) => Message::Text(Text::trusted(bytes)),
                    OutFrame::Binary(bytes) => Message::Binary(bytes),
                };
                self.stream.feed(message).await?;
            }
            self.stream.flush().await
        };
        match tokio::time::timeout(WRITE_TIMEOUT, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(WriteError::Gone),
            Err(_) => Err(WriteError::Stuck),
        }
    }

    /// Says goodbye: a close frame, then waits shortly for the peer's.
    pub(super) async fn close(self, code: CloseCode) {
        self.close_with(code.code(), code.label()).await;
    }

    /// The same with any code.
    pub(super) async fn close_with(mut self, code: u16, reason: &'static str) {
        let farewell = self.stream.close(Some(CloseFrame::new(code, reason)));
        let _ = tokio::time::timeout(Duration::from_secs(2), farewell).await;
    }
}

/// What an error of the peer, or of the connection, means to the session.
fn failed(error: &Error) -> Incoming {
    match error {
        Error::Violation(Violation::TooLarge { .. }) => Incoming::TooLarge,
        Error::Violation(Violation::NotUtf8) => Incoming::NotUtf8(error.to_string()),
        Error::Violation(_) => Incoming::Malformed(error.to_string()),
        // More than it may send before it authenticates.
        Error::Io(e) if e.kind() == io::ErrorKind::FileTooLarge => Incoming::TooLarge,
        // A phone that lost its network says no goodbye.
        Error::Io(_) | Error::Eof | Error::Closing => Incoming::Gone(None),
    }
}

/// Why a batch was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteError {
    Gone,
    Stuck,
}

/// A stream that gives out only so many bytes until its peer is authenticated.
#[derive(Debug)]
struct Metered<T> {
    inner: T,
    left: Option<usize>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let (Poll::Ready(Ok(())), Some(left)) = (&polled, self.left) {
            let read = buffer.filled().len() - before;
            match left.checked_sub(read) {
                Some(left) => self.left = Some(left),
                None => return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into())),
            }
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

//! What comes: messages, the answers they ask for, and the end.

use std::{
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{Closing, Reading, WebSocket};
use crate::{Error, Message, Role};

/// Bytes of one read. They lie on the stack, so that a socket that waits holds no buffer.
const READ_BYTES: usize = 4 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// [`next`](Self::next) for futures written by hand.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            if self.reading == Reading::Ended {
                return Poll::Ready(None);
            }
            // A peer that does not read its answers is heard all the same.
            if let Poll::Ready(Err(error)) = self.poll_answers(context) {
                return self.broke(error);
            }
            if self.reading == Reading::Discarded {
                return self.poll_goodbye(context).map(|()| None);
            }
            match self.decoder.next() {
                Ok(Some(message)) => {
                    self.answer(&message);
                    // What fails here fails again with the next call, and the message is not lost.
                    let _ = self.poll_answers(context);
                    return Poll::Ready(Some(Ok(message)));
                }
                Ok(None) => {}
                Err(violation) => {
                    self.reading = Reading::Discarded;
                    return Poll::Ready(Some(Err(violation.into())));
                }
            }
            match ready!(self.poll_read(context)) {
                Ok(0) => return self.broke(Error::Eof),
                Ok(_) => {}
                Err(error) => return self.broke(error.into()),
            }
        }
    }

    fn broke(&mut self, error: Error) -> Poll<Option<Result<Message, Error>>> {
        self.reading = Reading::Ended;
        Poll::Ready(Some(Err(error)))
    }

    /// Prepares what a message is to be answered with by the protocol.
    fn answer(&mut self, message: &Message) {
        match message {
            Message::Ping(payload) if self.closing == Closing::Open => {
                self.pong = Some(payload.clone());
            }
            Message::Close(_) => {
                self.pong = None;
                // It fails if ours was the first.
                self.is_answering |= self.queue(message.clone()).is_ok();
                self.closing = Closing::Done;
                self.reading = Reading::Discarded;
            }
            Message::Text(_) | Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
    }

    fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.is_answering || self.pong.is_some() {
            self.poll_flush(context)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// The end after the peer's close frame: the answer leaves, then the server ends the stream first
    /// (section 7.1.1). After a violation there is nothing to wait for.
    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.closing != Closing::Done {
            return Poll::Ready(());
        }
        if ready!(self.poll_answers(context)).is_ok() && matches!(self.role, Role::Client { .. }) {
            // However it ends, it has ended.
            let _ = ready!(self.poll_discard(context));
        }
        self.reading = Reading::Ended;
        Poll::Ready(())
    }

    /// Reads to the end of the stream and keeps nothing.
    pub(super) fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stack = [const { MaybeUninit::uninit() }; READ_BYTES];
        loop {
            let mut buffer = ReadBuf::uninit(&mut stack);
            let read = ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                self.reading = Reading::Ended;
                return Poll::Ready(read);
            }
        }
    }

    /// Feeds the decoder; 0: the stream has ended.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(mut room) = self.decoder.room() {
            return pin!(self.io.read_buf(&mut room)).poll(context);
        }
        let mut stack = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut stack);
        ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer))?;
        self.decoder.feed(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

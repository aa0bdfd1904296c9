//! What crosses a websocket.

use bytes::Bytes;

use crate::{CloseFrame, OpCode, Text};

/// A message, or a control frame (RFC 6455, sections 5.5 and 5.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(Text),
    Binary(Bytes),
    /// At most 125 bytes. One that came in is answered already.
    Ping(Bytes),
    /// At most 125 bytes.
    Pong(Bytes),
    /// The last message of a direction; `None`: without a code.
    Close(Option<CloseFrame>),
}

impl Message {
    /// Text from anything that is text.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// Opcode and payload of the one frame that carries it.
    pub(crate) fn into_frame(self) -> (OpCode, Bytes) {
        match self {
            Self::Text(text) => (OpCode::Text, text.into_bytes()),
            Self::Binary(bytes) => (OpCode::Binary, bytes),
            Self::Ping(bytes) => (OpCode::Ping, bytes),
            Self::Pong(bytes) => (OpCode::Pong, bytes),
            Self::Close(close) => (OpCode::Close, close.map_or_else(Bytes::new, |c| c.encode())),
        }
    }
}

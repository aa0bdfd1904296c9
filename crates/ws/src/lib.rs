//! The WebSocket protocol after its handshake (RFC 6455), for servers and clients.
//!
//! [`Decoder`] turns bytes into messages and does no I/O. [`WebSocket`] puts it, and a queue of frames
//! to write, over any stream of bytes. Neither opens connections nor speaks HTTP: who has upgraded a
//! connection hands over the stream and whatever was read of it already. Extensions are not spoken, so
//! the handshake must decline them.
//!
//! An idle socket holds no buffers. Bytes are read through the stack; only what is not a whole frame
//! yet is kept, in memory that grows with what has come and goes with its message.

mod close;
mod decoder;
mod error;
mod header;
mod mask;
mod message;
mod outbox;
mod socket;
mod text;
mod utf8;

pub use close::CloseFrame;
pub use decoder::Decoder;
pub use error::{Error, Violation};
pub use header::{HEADER_BYTES_MAX, Header, OpCode};
pub use mask::apply_mask;
pub use message::Message;
pub use socket::{Limits, WebSocket};
pub use text::Text;

/// Which end of the connection this is. It decides who masks: clients do, servers must not (section
/// 5.1).
#[derive(Debug, Clone, Copy)]
pub enum Role {
    Server,
    Client {
        /// A fresh key for each frame, of bytes that nobody can foretell (section 5.3).
        masking_key: fn() -> [u8; 4],
    },
}

impl Role {
    /// Whether frames that come in must be masked.
    pub(crate) const fn reads_masked(self) -> bool {
        matches!(self, Self::Server)
    }

    /// The key for the next frame that goes out.
    pub(crate) fn masking_key(self) -> Option<[u8; 4]> {
        match self {
            Self::Server => None,
            Self::Client { masking_key } => Some(masking_key()),
        }
    }
}

//! What a peer may do wrong, and how a connection ends before its time.

use std::io;

/// What a peer sent against the protocol. The connection is to be failed with
/// [`close_code`](Self::close_code) (RFC 6455, section 7.1.7); nothing after it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A bit that only an extension gives a meaning (section 5.2).
    #[error("a reserved bit is set and no extension was agreed on")]
    ReservedBits,
    /// Opcodes 3 to 7 and 11 to 15 (section 5.2).
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// Control frames come in one piece (section 5.5).
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// Control frames carry at most 125 bytes (section 5.5).
    #[error("a control frame has more than 125 bytes")]
    LongControl,
    /// A client masks every frame (section 5.1).
    #[error("a frame of the client is not masked")]
    Unmasked,
    /// A server masks no frame (section 5.1).
    #[error("a frame of the server is masked")]
    Masked,
    /// A length takes as few bytes as it needs (section 5.2).
    #[error("a length is written with more bytes than it needs")]
    LengthNotMinimal,
    /// The highest bit of a length of 64 bits is 0 (section 5.2).
    #[error("a length has its highest bit set")]
    LengthTooLong,
    /// A continuation where no message has begun (section 5.4).
    #[error("a continuation without a message")]
    NothingToContinue,
    /// A new message while another one is not complete (section 5.4).
    #[error("a message begins inside another one")]
    MessageInsideMessage,
    /// The body of a close frame is empty or begins with a code of two bytes (section 5.5.1).
    #[error("a close frame has a body of one byte")]
    HalfCloseCode,
    /// A code that no endpoint may send (section 7.4).
    #[error("close code {0} may not be sent")]
    CloseCode(u16),
    /// Text, or the reason of a close frame, that is not UTF-8 (section 8.1).
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A message larger than this end takes, told by a header before its payload is kept.
    #[error("a message of at least {bytes} bytes; at most {limit} are taken")]
    TooLarge { bytes: u64, limit: usize },
}

impl Violation {
    /// The close code for it (RFC 6455, section 7.4.1): 1002, 1007 or 1009.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::FragmentedControl
            | Self::LongControl
            | Self::Unmasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthTooLong
            | Self::NothingToContinue
            | Self::MessageInsideMessage
            | Self::HalfCloseCode
            | Self::CloseCode(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge { .. } => 1009,
        }
    }
}

/// Why nothing more is read, or something is not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer broke the protocol. Writing is still possible: a close frame should follow.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The stream ended without a close frame (RFC 6455, section 7.1.5: code 1006).
    #[error("the connection ended without a close frame")]
    Eof,
    /// A close frame was sent, or received; no frame may follow (section 5.5.1).
    #[error("the connection is closing")]
    Closing,
}

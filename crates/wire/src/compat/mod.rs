//! The protocol of desktops and web clients that are in the field already: JSON text frames without a
//! subprotocol, first frame `relay.auth`. What the relay reads of it, what it refuses, and what it says.
//! `docs/compat.md` describes it.

mod command;
mod desktop;
mod object;
mod phone;
mod request;
mod time;
mod told;

pub use desktop::FromDesktop;
pub use object::{Object, WrongType};
pub use phone::{Checked, Command, FromPhone, Kind, Refusal};
pub use time::{format_time, parse_time};
pub use told::{Told, supports_requests};

/// Characters of a session id.
pub const SESSION_ID_CHARS: std::ops::RangeInclusive<usize> = 16..=512;
/// Characters of a token.
pub const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 22..=512;
/// Characters of a device id in `/devices/revoke`.
pub const DEVICE_ID_CHARS: std::ops::RangeInclusive<usize> = 8..=512;
/// Characters of a device's name that are kept.
pub const DEVICE_NAME_CHARS: usize = 64;
/// Envelope versions that are served.
pub const SCHEMA_VERSIONS: std::ops::RangeInclusive<u64> = 1..=2;

/// Tells whether a text has only token characters and a length in `range`.
pub fn is_token(text: &str, range: &std::ops::RangeInclusive<usize>) -> bool {
    range.contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Tells whether a text is a "compact identifier": 1 to 128 of `[A-Za-z0-9:_-]`.
pub fn is_compact(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':'))
}

//! Limits of the protocol, each with its unit and reason.

use std::time::Duration;

/// Largest message of a member, in bytes: a prompt with an image fits.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Largest message of a host, in bytes: one diff or one part of a snapshot fits.
pub const HOST_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Largest frame before authentication, in bytes: `auth` of a host that reads from and writes to
/// [`MEMBERS_MAX`] members fits.
pub const UNAUTHENTICATED_BYTES_MAX: usize = 8 * 1024;
/// Frame fields around a payload, in bytes; added to the message limits for whole frames.
pub const ENVELOPE_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting of a frame, payload included. A reader that recurses is safe below it.
pub const JSON_DEPTH_MAX: usize = 64;
/// Messages kept per channel ("the window").
pub const LOG_MESSAGES_MAX: usize = 200;
/// Bytes kept per channel.
pub const LOG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a message is kept in a channel.
pub const LOG_AGE_MAX: Duration = Duration::from_mins(15);
/// How long a command waits for its host.
pub const COMMAND_TTL: Duration = Duration::from_hours(24);
/// Messages sent to one connection and not yet acknowledged, over all channels.
pub const WINDOW_MESSAGES_MAX: usize = 256;
/// Bytes sent to one connection and not yet acknowledged; one larger message may pass alone.
pub const WINDOW_BYTES_MAX: usize = 1024 * 1024;
/// Volatile messages kept per channel: the newest of each key.
pub const VOLATILE_KEYS_MAX: usize = 64;
/// Binary channel ids per direction and connection.
pub const BINARY_CHANNELS_MAX: usize = 1024;
/// Members of a session that are known at one time.
pub const MEMBERS_MAX: usize = 32;
/// Paired devices of a session, unless the operator says otherwise.
pub const DEVICES_DEFAULT: usize = 2;
/// Longest key of a volatile or durable message, in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// Former names of one message: it got a new one each time its writer lost its memory or place.
pub const FORMER_NAMES_MAX: usize = 8;
/// New epochs of one writer in a minute.
pub const EPOCHS_PER_MINUTE: u32 = 6;
/// Longest reason of a `void` or `skip`, and longest id or reason of a `snapshot`, in bytes.
pub const REASON_BYTES_MAX: usize = 128;
/// Longest name of a host or device, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Characters of a typed pairing code: 40 bits.
pub const CODE_CHARS: usize = 8;
/// How long a pairing code may be redeemed.
pub const CODE_TTL: Duration = Duration::from_mins(2);
/// How long a phone waits for the desktop's approval.
pub const APPROVAL_TTL: Duration = Duration::from_secs(45);
/// How long a socket may stay unauthenticated.
pub const AUTH_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time between two pings of the relay.
pub const HEARTBEAT: Duration = Duration::from_secs(25);

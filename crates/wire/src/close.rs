//! Close codes. The range alone carries the verdict: 4400–4499 stop, 4500–4599 reconnect, any
//! other code, or none, means reconnect with backoff.

use serde::Serialize;
use ts_rs::TS;

/// What a client does after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Do not reconnect without the user.
    Stop,
    /// Reconnect with the delay that `bye` names.
    Reconnect,
    /// Reconnect with the client's own backoff.
    Backoff,
}

impl Verdict {
    /// The verdict of any close code (RFC 6455, section 7.4), `None` for a socket that just broke.
    pub const fn of(code: Option<u16>) -> Self {
        match code {
            Some(4400..=4499) => Self::Stop,
            Some(4500..=4599) => Self::Reconnect,
            _ => Self::Backoff,
        }
    }
}

macro_rules! close_codes {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $label:literal, $text:literal;)*) => {
        /// Why the relay closes a socket.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[$meta])* $name = $code,)*
        }

        impl CloseCode {
            /// Every code, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number on the wire.
            pub const fn code(self) -> u16 {
                self as u16
            }

            /// The reason on the wire and the label of metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// What a person should read.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

close_codes! {
    /// A frame that the protocol does not allow here.
    ProtocolError = 4400, "protocol_error", "This app and the relay do not understand each other. Reload the page or update the app.";
    /// Token or proof missing, malformed or wrong.
    NotAuthenticated = 4401, "not_authenticated", "The relay did not accept this device's key. Pair it again.";
    /// Revoked by the desktop or an operator.
    Revoked = 4403, "revoked", "This device was removed on the desktop. Pair it again to go on.";
    /// The store has no such device.
    UnknownDevice = 4404, "unknown_device", "The relay does not know this device. Pair it again.";
    /// Another instance of the same identity connected.
    TakenOver = 4409, "taken_over", "This device is connected from another window.";
    /// The session was ended by its desktop or an operator, or nobody used it.
    SessionEnded = 4410, "session_ended", "The desktop ended this session. Pair again to go on.";
    /// A superseded token, too young to be called theft.
    StaleToken = 4412, "stale_token", "This window holds an outdated key. Reload the page.";
    /// The node restarts, is overloaded, or a dependency or token key is away.
    Unavailable = 4503, "unavailable", "The relay is restarting. Reconnecting by itself.";
    /// The reader acknowledged nothing while its window was full.
    SlowConsumer = 4508, "slow_consumer", "The connection was too slow. Reconnecting by itself.";
    /// A newer attempt of the same instance exists.
    OutdatedAttempt = 4510, "outdated_attempt", "A newer connection of this window exists.";
    /// The newer socket of the same instance is welcome.
    Moved = 4511, "moved", "The connection moved to a newer socket.";
    /// Too many frames; the delay of `bye` says when to come back.
    RateLimited = 4529, "rate_limited", "Too many messages at once. Reconnecting in a moment.";
    /// No answer to pings.
    PingTimeout = 4598, "ping_timeout", "The connection went silent. Reconnecting by itself.";
}

impl CloseCode {
    /// What the client does after it.
    pub const fn verdict(self) -> Verdict {
        Verdict::of(Some(self.code()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_carries_the_verdict() {
        assert_eq!(Verdict::of(Some(4400)), Verdict::Stop);
        assert_eq!(Verdict::of(Some(4499)), Verdict::Stop);
        assert_eq!(Verdict::of(Some(4500)), Verdict::Reconnect);
        assert_eq!(Verdict::of(Some(4599)), Verdict::Reconnect);
        for other in [None, Some(1000), Some(1006), Some(4399), Some(4600)] {
            assert_eq!(Verdict::of(other), Verdict::Backoff, "{other:?}");
        }
    }

    #[test]
    fn codes_and_labels_are_unique_and_in_range() {
        let mut codes: Vec<_> = CloseCode::ALL.iter().map(|c| c.code()).collect();
        let mut labels: Vec<_> = CloseCode::ALL.iter().map(|c| c.label()).collect();
        codes.sort_unstable();
        codes.dedup();
        labels.sort_unstable();
        labels.dedup();

        assert_eq!(codes.len(), CloseCode::ALL.len());
        assert_eq!(labels.len(), CloseCode::ALL.len());
        assert!(codes.iter().all(|c| (4400..4600).contains(c)));
    }
}

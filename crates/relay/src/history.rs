//! The last connections that ended, with who they were and why they ended.

use std::{collections::VecDeque, time::Duration};

use belay_core::token::Principal;
use belay_wire::{CloseCode, ConnectionId, MemberId, SessionId};
use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    node::{Node, unix_ms},
    registry::Handle,
};

/// Connections that are remembered.
const CLOSED_MAX: usize = 10_000;

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// The relay closed it.
    Relay,
    /// The peer sent a close frame.
    Peer,
    /// It broke off: neither said goodbye.
    Nobody,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) by: By,
    pub(crate) code: Option<u16>,
    pub(crate) reason: &'static str,
}

impl How {
    /// The peer is gone, with a close frame of this code or without one.
    pub(crate) fn gone(code: Option<u16>) -> Self {
        let by = if code.is_some() { By::Peer } else { By::Nobody };
        let reason = if code.is_some() { "closed_by_peer" } else { "broke_off" };
        Self { by, code, reason }
    }
}

impl Node {
    /// Notes that a connection ends now; its session still knows it.
    pub(crate) fn remember(
        &self,
        handle: &Handle,
        id: ConnectionId,
        began_at: u64,
        silent: Duration,
        how: How,
    ) {
        let session = handle.session.lock();
        // One that was refused was never anybody's.
        let Some((principal, client)) = session.who(id) else { return };
        let member = match principal {
            Principal::Host => None,
            Principal::Member(member) => Some(member),
        };
        // These could have other reasons, too. Clients of the compat protocol are closed, not told.
        let is_asked = |_: &String| match how.by {
            By::Nobody | By::Peer if handle.compat => false,
            By::Nobody => true,
            By::Peer => matches!(how.code, Some(1000 | 1005)),
            By::Relay => matches!(how.code, Some(4503 | 4511 | 1012)),
        };
        let because = self.why_away(began_at).filter(is_asked);
        let closed = Closed {
            connection: id,
            session: handle.id,
            protocol: if handle.compat { "compat" } else { "belay.v1" },
            member,
            client: format!("{} {}", client.name, client.version),
            began_at,
            ended_at: unix_ms(),
            by: how.by,
            code: how.code,
            reason: how.reason,
            because,
            silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
            behind: session.lag(id),
        };
        drop(session);
        self.history.note(closed);
    }

    /// Why clients are sent away now, if they are.
    fn why_away(&self, began_at: u64) -> Option<String> {
        if self.stopping.is_cancelled() {
            return Some("The relay stopped.".to_owned());
        }
        self.drain.reason(began_at).map(|(reason, on)| {
            let off = if on { "" } else { "; that was called off after clients were told" };
            format!("The relay drained (\"{reason}\"){off}.")
        })
    }
}

/// A connection that ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Closed {
    pub(crate) connection: ConnectionId,
    pub(crate) session: SessionId,
    /// `belay.v1` or `compat`.
    pub(crate) protocol: &'static str,
    /// Absent for the host.
    pub(crate) member: Option<MemberId>,
    /// Name and version that the client gives itself.
    pub(crate) client: String,
    /// Unix milliseconds.
    pub(crate) began_at: u64,
    pub(crate) ended_at: u64,
    pub(crate) by: By,
    /// The code of the close frame, if there was one.
    pub(crate) code: Option<u16>,
    pub(crate) reason: &'static str,
    /// What the relay did then, in words, where the code has more than one meaning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) because: Option<String>,
    /// Milliseconds since anything, pings' answers included, was last heard from the peer.
    pub(crate) silent_ms: u64,
    /// Records that were stored and not sent to it, of the channel where it lagged most.
    pub(crate) behind: u64,
}

/// The history of a node; the oldest leave when it is full.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<Closed>>);

impl History {
    /// Remembers one.
    pub(crate) fn note(&self, closed: Closed) {
        let mut all = self.0.lock();
        if all.len() >= CLOSED_MAX {
            all.pop_front();
        }
        all.push_back(closed);
    }

    /// One of them.
    pub(crate) fn find(&self, id: ConnectionId) -> Option<Closed> {
        self.0.lock().iter().rev().find(|closed| closed.connection == id).cloned()
    }

    /// The newest, newest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<Closed> {
        self.0.lock().iter().rev().take(count).cloned().collect()
    }
}

impl Closed {
    /// What happened and what an operator may do about it, in words.
    pub(crate) fn explain(&self) -> String {
        let who = self.member.map_or("the host".to_owned(), |member| format!("device {member}"));
        let lasted = duration(self.ended_at.saturating_sub(self.began_at));
        let (client, session) = (&self.client, self.session);
        let cause = self.cause();
        let heard = match self.by {
            By::Peer => String::new(),
            By::Relay | By::Nobody => {
                format!(" It was last heard {} before.", duration(self.silent_ms))
            }
        };
        let behind = match self.behind {
            0 => String::new(),
            n => format!(" {n} stored records wait for it; it gets them when it comes back."),
        };
        format!(
            "Connection {} of {who} ({client}) of session {session} was open for {lasted} and ended at {}.\n{cause}{heard}{behind}",
            self.connection,
            belay_wire::compat::format_time(self.ended_at),
        )
    }

    fn cause(&self) -> String {
        let code = self.code.unwrap_or_default();
        match self.by {
            By::Nobody => match &self.because {
                Some(because) => format!(
                    "{because} The client was asked to go elsewhere and left without a goodbye: it is \
                     of an earlier version, its network went, or its process was killed."
                ),
                None => {
                    "It broke off without a goodbye: its network went, or its process was killed. \
                         Clients come back by themselves."
                        .to_owned()
                }
            },
            By::Peer => match code {
                1000 | 1005 => match &self.because {
                    Some(because) => format!(
                        "{because} The client was asked to go elsewhere and went in good order ({code})."
                    ),
                    None => format!("The client ended it in good order ({code})."),
                },
                1001 => "The client went away (1001): a page that was closed, left or reloaded."
                    .to_owned(),
                _ => format!("The client ended it with {code}."),
            },
            By::Relay => {
                let known = CloseCode::ALL.iter().find(|c| c.code() == code);
                let why = known.map_or("", |code| advice(*code));
                let back = |because: &String| {
                    if code == CloseCode::Moved.code() {
                        return format!("{because} The client had gone elsewhere by then.");
                    }
                    format!("{because} It comes back by itself.")
                };
                let why = self.because.as_ref().map_or(why.to_owned(), back);
                format!("The relay closed it: {} ({code}). {why}", self.reason)
                    .trim_end()
                    .to_owned()
            }
        }
    }
}

/// What a close code means to an operator.
fn advice(code: CloseCode) -> &'static str {
    match code {
        CloseCode::ProtocolError => {
            "It sent a frame that the protocol does not allow; the log names it. It does not come back by itself: update that client."
        }
        CloseCode::NotAuthenticated => {
            "Its token or proof was not accepted; it must be paired again."
        }
        CloseCode::Revoked => {
            "The device was removed, by the desktop, by an operator, or because its token was used twice."
        }
        CloseCode::UnknownDevice => "The store does not know the device; it must be paired again.",
        CloseCode::TakenOver => {
            "Another instance of the same identity connected: a second window, or a second process with the same keys."
        }
        CloseCode::SessionEnded => "The session was ended, or nobody used it for its retention.",
        CloseCode::StaleToken => {
            "It came with an older key than it was given; its window must be reloaded."
        }
        CloseCode::Unavailable => {
            "The node drained, stopped or was full, or a dependency was away. It comes back by itself."
        }
        CloseCode::SlowConsumer => {
            "It did not keep up: it acknowledged nothing while its window was full, or took no bytes. It comes back by itself; if it happens again, look at its network, or at what keeps it from reading."
        }
        CloseCode::OutdatedAttempt => "A newer attempt of the same client was there already.",
        CloseCode::Moved => {
            "The client opened a newer connection, which took over: after a network change, or because this node drains."
        }
        CloseCode::RateLimited => "It sent more than it may in that time.",
        CloseCode::PingTimeout => {
            "It did not answer pings: asleep, out of reach, or something between drops the connection. It comes back by itself."
        }
    }
}

/// A time in its two largest units.
fn duration(ms: u64) -> String {
    let secs = ms / 1_000;
    match secs {
        0 => format!("{ms} ms"),
        1..60 => format!("{secs} s"),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        3_600..86_400 => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(n: u8, by: By, code: Option<u16>) -> Closed {
        Closed {
            connection: ConnectionId::from_bytes([n; 16]),
            session: SessionId::from_bytes([1; 16]),
            protocol: "belay.v1",
            member: None,
            client: "belay-host 0.1.0".to_owned(),
            began_at: 1_700_000_000_000,
            ended_at: 1_700_000_065_000,
            by,
            code,
            reason: "slow_consumer",
            because: None,
            silent_ms: 31_000,
            behind: 12,
        }
    }

    #[test]
    fn an_end_is_told_in_words() {
        let text = closed(1, By::Relay, Some(4508)).explain();
        for part in
            ["the host", "1 min 5 s", "slow_consumer (4508)", "31 s before", "12 stored records"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let mut drained = closed(1, By::Relay, Some(4503));
        drained.because = Some("The relay drained (\"deploy 42\").".to_owned());
        assert!(drained.explain().contains("drained (\"deploy 42\"). It comes back"));
        assert!(closed(1, By::Nobody, None).explain().contains("without a goodbye"));
        let mut moved = closed(1, By::Nobody, None);
        moved.because = Some("The relay drained (\"deploy 42\").".to_owned());
        let text = moved.explain();
        assert!(text.contains("asked to go") && text.contains("without a goodbye"), "{text}");
        let mut moved = closed(1, By::Peer, Some(1000));
        moved.because = Some("The relay drained (\"deploy 42\").".to_owned());
        assert!(moved.explain().contains("drained (\"deploy 42\"). The client was asked to go"));
        assert!(moved.explain().contains("in good order"));
        assert!(closed(1, By::Peer, Some(1001)).explain().contains("went away"));
    }

    #[test]
    fn the_oldest_leave_when_it_is_full() {
        let history = History::default();
        history.note(closed(1, By::Nobody, None));
        for _ in 0..CLOSED_MAX {
            history.note(closed(2, By::Nobody, None));
        }

        assert!(history.find(ConnectionId::from_bytes([1; 16])).is_none());
        assert!(history.find(ConnectionId::from_bytes([2; 16])).is_some());
        assert_eq!(history.newest(3).len(), 3);
    }
}

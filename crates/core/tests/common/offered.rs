//! What a connection is sent, as far as a token for it is in it.

use belay_core::{Env, Session, session::OutFrame};
use belay_wire::{ConnectionId, Frame, Secret};

/// The token that a connection is offered now, if it is offered one.
#[expect(clippy::wildcard_enum_match_arm, reason = "a test waits for two kinds of many")]
pub(crate) fn offered(session: &mut Session, id: ConnectionId, env: &Env<'_>) -> Option<Secret> {
    session.pull(id, env).frames.into_iter().find_map(|frame| {
        let OutFrame::Text(text) = frame else { return None };
        match belay_wire::decode(std::str::from_utf8(&text).ok()?).ok()? {
            Frame::Welcome(welcome) => welcome.next_token,
            Frame::TokenOffer(offer) => Some(offer.token),
            _ => None,
        }
    })
}

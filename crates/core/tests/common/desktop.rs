//! A session that a desktop in the field has opened, with phones that are paired already.

use belay_core::{Session, SessionRecord, session::CompatStart};
use belay_wire::{MemberId, Secret};

use crate::{
    around::{Around, key_of},
    phone::phone,
};

pub(crate) const SESSION: &str = "session-0123456789abcdef";
/// What the first token of each phone is made of.
pub(crate) const NONCE: [u8; 16] = [6; 16];

/// Its record.
pub(crate) fn opened(around: &mut Around, phones: &[MemberId]) -> SessionRecord {
    let text = |text: &str| Secret::new(text.to_owned());
    let start = CompatStart {
        session_id: SESSION.to_owned(),
        desktop_token: text("desktop-token-0123456789abcdef"),
        join_token: text("join-token-0123456789abcdef"),
        join_expires_at: around.now.unix_ms + 120_000,
        ws_url: "ws://127.0.0.1/ws".to_owned(),
        idle_secs: 1_800,
    };
    let mut record = Session::create_compat(start, &around.env()).record().clone();
    for member in phones {
        let mut device = phone(around, *member, key_of(1), NONCE);
        device.key = None;
        record.devices.push(device);
    }
    record
}

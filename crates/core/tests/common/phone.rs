//! A phone that is paired already.

use belay_core::{DeviceRecord, TokenState, Unknown};
use belay_wire::{MemberId, PublicKey, pair::DeviceInfo};

use crate::around::Around;

/// Its record, with a token of this nonce.
pub(crate) fn phone(
    around: &Around,
    member: MemberId,
    key: PublicKey,
    nonce: [u8; 16],
) -> DeviceRecord {
    let now = around.now.unix_ms;
    let nonce = around.hash_key.hash("token", &nonce);
    DeviceRecord {
        member,
        info: DeviceInfo { name: "phone".to_owned(), platform: "test".to_owned() },
        key: Some(key),
        token: TokenState { generation: 1, nonce, committed_at: now },
        added_at: now,
        seen_at: now,
        revoked_at: None,
        revoked_because: None,
        lost: Vec::new(),
        unknown: Unknown::new(),
    }
}

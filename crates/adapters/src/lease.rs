//! What a lease key means.

use belay_core::{SessionRecord, session::LeaseKey};

/// Tells whether a session is among those that this key could mean.
pub(crate) fn means(record: &SessionRecord, key: &LeaseKey) -> bool {
    match key {
        LeaseKey::Rendezvous(hash) => record.lease.is_some_and(|l| l.rendezvous.matches(hash)),
        LeaseKey::Request(id) => record.pairing.ids().any(|known| known == *id),
        LeaseKey::Code { prefix, .. } => record.lease.is_some_and(|l| l.code_prefix == *prefix),
        LeaseKey::Desktop(hash) => {
            record.compat.as_ref().is_some_and(|c| c.desktop_token.matches(hash))
        }
    }
}

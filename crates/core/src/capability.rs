//! What a principal may do. A kind of principal is a named set of capabilities.

use crate::token::Principal;

/// One right inside a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Write `down` and `down/<member>`.
    SessionPublish,
    /// Read `down` and one's own `down/<member>`, and ask for snapshots.
    SessionWatch,
    /// Write one's own `up/<member>`.
    SessionCommand,
    /// Decide about pairings.
    SessionPair,
    /// List and revoke devices.
    SessionDevices,
}

use Capability::{SessionCommand, SessionDevices, SessionPair, SessionPublish, SessionWatch};

impl Principal {
    /// The capabilities of this kind of principal. A paired device is a controller.
    pub const fn capabilities(&self) -> &'static [Capability] {
        match self {
            Self::Host => &[SessionPublish, SessionPair, SessionDevices],
            Self::Member(_) => &[SessionWatch, SessionCommand],
        }
    }

    /// Tells whether this principal has a capability.
    pub fn may(&self, capability: Capability) -> bool {
        self.capabilities().contains(&capability)
    }
}

#[cfg(test)]
mod tests {
    use belay_wire::MemberId;

    use super::*;

    #[test]
    fn a_phone_may_neither_pair_nor_revoke_nor_publish() {
        let phone = Principal::Member(MemberId::from_bytes([1; 16]));
        for capability in [SessionPublish, SessionPair, SessionDevices] {
            assert!(!phone.may(capability) && Principal::Host.may(capability));
        }
        assert!(phone.may(SessionCommand) && !Principal::Host.may(SessionCommand));
    }
}

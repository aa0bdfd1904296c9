//! What the terminal interface shows, and what it asks for.

use belay_wire::{DeviceView, MemberId, RequestId, app::AgentView};

/// A phone that waits for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPhone {
    pub id: RequestId,
    pub name: String,
    pub platform: String,
    pub address: String,
    /// Six digits that the phone shows, too.
    pub code: String,
    /// The phone is still on the line.
    pub waiting: bool,
    /// Unix milliseconds.
    pub expires_at: u64,
}

/// A pairing link that can be redeemed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Offer {
    pub url: String,
    /// To be typed where the link cannot be opened: `ABCD-EFGH`.
    pub code: String,
    /// Unix milliseconds.
    pub expires_at: u64,
}

/// Everything that the terminal shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostView {
    pub relay: String,
    /// `Some` while there is no connection: why.
    pub relay_trouble: Option<String>,
    pub connected: bool,
    pub offer: Option<Offer>,
    pub phone: Option<PendingPhone>,
    pub devices: Vec<DeviceView>,
    pub devices_allowed: usize,
    pub agents: Vec<AgentView>,
    pub folders: Vec<String>,
    /// The latest lines, newest last.
    pub activity: Vec<String>,
    /// Lines of activity since the start.
    pub activity_count: u64,
    pub pending_requests: usize,
    /// What a person must know about the link.
    pub warning: Option<String>,
}

impl HostView {
    /// Tells whether no further device is allowed.
    pub fn is_full(&self) -> bool {
        self.devices_allowed > 0 && self.devices.len() >= self.devices_allowed
    }

    /// Tells whether the link works on this machine only.
    pub fn is_local(&self) -> bool {
        is_local(&self.relay)
    }
}

/// Tells whether an address can be reached from this machine only.
pub fn is_local(address: &str) -> bool {
    let host = address.split_once("://").map_or("", |(_, rest)| rest);
    ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local))
}

/// What a person asks for at the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UiCommand {
    Approve(RequestId),
    Reject(RequestId),
    Revoke(MemberId),
    /// Show a new link, for one more device.
    AddDevice,
    Quit,
}

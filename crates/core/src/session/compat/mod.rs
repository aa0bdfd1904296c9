//! Sessions of desktops and phones in the field: the same session, its own way in and its own words.
//! The relay numbers their messages on arrival; a phone takes what comes from its connect on, and a
//! message counts as applied when it was written.

mod attach;
mod budget;
mod frame;
mod join;
mod pull;
mod unread;

pub use budget::{Allowance, Spent};
pub(super) use join::WAIT_MIN;

use std::{collections::VecDeque, time::Instant};

use belay_wire::{Channel, ConnectionId, MemberId, Secret, SessionId, compat::Told};

use budget::Budgets;

use super::{Effect, Effects, Event, Session};
use crate::{
    CompatRecord, Env, HashKey, HostRecord, Lineage, PairingRecord, SessionRecord, TokenState,
    Unknown, crypto::SecretHash, token::Claims,
};

/// How a desktop opens a session.
#[derive(Debug, Clone)]
pub struct CompatStart {
    /// As the desktop made it.
    pub session_id: String,
    pub desktop_token: Secret,
    pub join_token: Secret,
    /// Unix milliseconds.
    pub join_expires_at: u64,
    pub ws_url: String,
    pub idle_secs: u64,
}

/// A new join token for a running session.
#[derive(Debug, Clone)]
pub struct CompatRefresh {
    pub join_token: Secret,
    /// Unix milliseconds.
    pub join_expires_at: u64,
    /// Given when the session is opened once more.
    pub ws_url: Option<String>,
    pub idle_secs: Option<u64>,
}

/// A phone that redeems a join token.
#[derive(Debug, Clone)]
pub struct CompatJoin {
    pub join_token: Secret,
    pub device_name: Option<String>,
    pub address: String,
}

/// A phone that was let in.
#[derive(Debug, Clone)]
pub struct Joined {
    pub device: MemberId,
    pub token: Secret,
}

/// What lives with a session in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    /// Removals so far: each is told as a count of devices.
    pub(super) revokes: u64,
    /// What nobody is known to read.
    unread: unread::Unread,
    /// What the desktop said about answering requests.
    supports: Option<bool>,
    budgets: Budgets,
    /// Why the session ended.
    ended: Option<&'static str>,
    /// It is being taken out of the store: nobody comes in any more.
    ending: bool,
}

impl Live {
    pub(super) fn is_over(&self) -> bool {
        self.ending || self.ended.is_some()
    }

    /// A removed device needs no allowance.
    pub(super) fn forget(&mut self, member: MemberId) {
        self.budgets.forget(member);
    }
}

/// What belongs to one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    told: VecDeque<Told>,
    /// What waits in the logs is held until then: another node may be about to say that it was written there.
    held_until: Option<Instant>,
    /// Highest sequence number of a command that was passed on.
    last_seq: u64,
    /// Ids of the newest commands of this connection.
    ids: VecDeque<String>,
    /// The name that the desktop knows this connection by. It gets a new one whenever the desktop may miss
    /// a number, because a desktop takes nothing more under the old one.
    name: Option<ConnectionId>,
    /// The next frame goes under a new name.
    renames: bool,
    /// The token that was offered here; its first use, or the first text, commits it.
    offered: Option<Claims>,
    /// What the peer knows of the others.
    known: Option<Known>,
}

/// Whose connections a peer was told of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    connections: Vec<ConnectionId>,
    revokes: u64,
}

/// Answers that may wait for one connection.
const TOLD_MAX: usize = 256;

impl Link {
    /// `false`: it is not being read.
    fn tell(&mut self, told: Told) -> bool {
        self.told.push_back(told);
        self.told.len() <= TOLD_MAX
    }
}

/// The id under which a session of the compat protocol is stored.
pub fn session_key(session_id: &str, hash_key: &HashKey) -> SessionId {
    let hash = hash_key.hash("compat-session", session_id.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.0[..16]);
    SessionId::from_bytes(bytes)
}

/// The stored form of a token that a desktop made.
pub fn desktop_hash(token: &Secret, hash_key: &HashKey) -> SecretHash {
    hash_key.hash("compat-desktop", token.expose().as_bytes())
}

fn join_hash(token: &Secret, hash_key: &HashKey) -> SecretHash {
    hash_key.hash("compat-join", token.expose().as_bytes())
}

impl Session {
    /// Opens a session. The record must be stored before the answer is told.
    pub fn create_compat(start: CompatStart, env: &Env<'_>) -> Self {
        let now = env.now.unix_ms;
        let nonce = SecretHash([0; 32]);
        let token = TokenState { generation: 0, nonce, committed_at: now };
        let (name, platform) = ("desktop".to_owned(), "compat".to_owned());
        Self::load(SessionRecord {
            id: session_key(&start.session_id, env.hash_key),
            version: 1,
            created_at: now,
            host: HostRecord { name, platform, key: None, token, seen_at: now },
            devices: Vec::new(),
            lease: None,
            compat: Some(CompatRecord {
                desktop_token: desktop_hash(&start.desktop_token, env.hash_key),
                join_token: join_hash(&start.join_token, env.hash_key),
                session_id: start.session_id,
                join_expires_at: start.join_expires_at,
                join_used: false,
                ws_url: start.ws_url,
                idle_secs: start.idle_secs,
                active_at: now,
                supports: None,
            }),
            lineage: Lineage::default(),
            pairing: PairingRecord::default(),
            unknown: Unknown::new(),
        })
    }

    /// Tells whether this is the token of the session's desktop; of a session that has ended, none is.
    pub fn is_desktop(&self, token: &Secret, hash_key: &HashKey) -> bool {
        let compat = self.record.compat.as_ref().filter(|_| self.compat.ended.is_none());
        compat.is_some_and(|c| c.desktop_token.matches(&desktop_hash(token, hash_key)))
    }

    /// Why the session ended, if it did.
    pub fn end_reason(&self) -> Option<&'static str> {
        self.compat.ended
    }

    /// From here on nobody comes in, because the session is being taken out of the store; `false` takes
    /// that back.
    pub fn set_ending(&mut self, ending: bool) {
        self.compat.ending = ending;
    }

    /// What all phones have read, and what nobody can read, is not kept.
    pub(super) fn forget_read(&mut self) {
        if self.record.compat.is_none() || self.is_read_elsewhere(Channel::Down) {
            return;
        }
        let Some(state) = self.channels.get_mut(&Channel::Down) else { return };
        let readers = self.connections.values().flat_map(|c| &c.readers);
        let behind = readers.filter(|r| r.channel == Channel::Down);
        let lag = behind.map(|r| r.cursor.lag(&state.log)).max().unwrap_or(0);
        state.log.drop_before(state.log.ring().end().saturating_sub(lag));
        self.asks = true;
    }

    /// Devices with an open connection.
    pub fn connected_devices(&self) -> usize {
        self.connected_members().count()
    }

    /// How many devices and sessions have a budget that is not full.
    pub fn budgets(&self, now: Instant) -> (usize, usize) {
        self.compat.budgets.used(now)
    }

    /// Former tokens of devices that are served still.
    pub fn tokens_in_grace(&self, now_ms: u64, grace: std::time::Duration) -> usize {
        if self.record.compat.is_none() {
            return 0;
        }
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let in_grace =
            |t: TokenState| t.generation > 1 && now_ms.saturating_sub(t.committed_at) < grace;
        self.record.active_devices().filter(|d| in_grace(d.token)).count()
    }

    /// Everybody is told and closed.
    pub(super) fn end(&mut self, reason: &'static str, effects: &mut Effects) {
        self.compat.ended = Some(reason);
        for waiter in std::mem::take(&mut self.waiters).into_keys() {
            let answer = Err(super::PairError::HostLeft);
            effects.then.push(Effect::Answer { waiter, answer });
        }
        let open: Vec<_> = self.connections.keys().copied().collect();
        for id in open {
            self.close(id, belay_wire::CloseCode::SessionEnded, effects);
        }
        let channels: Vec<_> = self.channels.keys().copied().collect();
        for channel in channels {
            self.forget_log(channel, effects);
        }
        effects.events.push(Event::SessionEnded { reason });
    }

    /// What was pulled is written, which is all that these clients ever acknowledge.
    pub(super) fn wrote(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let written = connection.window.acknowledge_all();
        for (channel, position) in &written {
            if !channel.is_written_by_host()
                && let Some(state) = self.channels.get_mut(channel)
            {
                state.log.applied(*position);
                self.asks = true;
            }
        }
        self.tell_applied(&written, effects);
        self.forget_read();
        effects.wake.push(id);
    }

    pub(super) fn tell(&mut self, id: ConnectionId, told: Told, effects: &mut Effects) {
        let link = self.connections.get_mut(&id).and_then(|c| c.compat.as_mut());
        let Some(link) = link else { return };
        if link.tell(told) {
            effects.wake.push(id);
        } else {
            self.close(id, belay_wire::CloseCode::SlowConsumer, effects);
        }
    }

    fn compat_id(&self) -> String {
        self.record.compat.as_ref().map_or(String::new(), |c| c.session_id.clone())
    }
}

//! The sessions in memory and the sockets that belong to them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
};

use belay_core::{Policy, Session};
use belay_wire::{CloseCode, ConnectionId, MemberId, SessionId};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Shards of the map: enough that two cores rarely meet.
const SHARDS: usize = 16;

/// How a session reaches the task of one socket.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    notify: Notify,
    /// A close code, 0 for none.
    close: AtomicU16,
}

impl Signal {
    /// There is something to pull.
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// The socket is to be closed; the first code wins.
    pub(crate) fn close(&self, code: CloseCode) {
        let _ = self.close.compare_exchange(0, code.code(), Ordering::AcqRel, Ordering::Acquire);
        self.notify.notify_one();
    }

    pub(crate) fn closing(&self) -> Option<CloseCode> {
        let code = self.close.load(Ordering::Acquire);
        CloseCode::ALL.iter().copied().find(|c| c.code() == code)
    }

    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

/// A session in memory.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) id: SessionId,
    /// It speaks the compat protocol.
    pub(crate) compat: bool,
    pub(crate) session: Mutex<Session>,
    signals: Mutex<HashMap<ConnectionId, Arc<Signal>>>,
    /// One save at a time.
    pub(crate) saving: tokio::sync::Mutex<()>,
    /// One look at the store at a time, so that what was read first is not taken last.
    pub(crate) looking: tokio::sync::Mutex<()>,
    /// The version that was known here when the session was not in the store, and since when it is not.
    pub(crate) missed: Mutex<Option<(u64, tokio::time::Instant)>>,
    /// Version of the seats that the session knows.
    pub(crate) seats_seen: AtomicU64,
    /// The seats are to be read once more.
    pub(crate) look_again: AtomicBool,
    /// Revoked members that the second place does not have yet.
    half_revoked: Mutex<Vec<MemberId>>,
}

impl Handle {
    /// The second place did not take a revocation: the next tick tries again.
    pub(crate) fn retry_revocation(&self, member: MemberId) {
        self.half_revoked.lock().push(member);
    }

    /// Tells whether time has something to do for this session.
    pub(crate) fn is_due(&self, policy: &Policy, now: std::time::Instant) -> bool {
        let due = self.session.lock().next_deadline(policy);
        due.is_some_and(|at| at <= now) || !self.half_revoked.lock().is_empty()
    }

    pub(crate) fn half_revoked(&self) -> Vec<MemberId> {
        std::mem::take(&mut self.half_revoked.lock())
    }

    pub(crate) fn new(session: Session) -> Self {
        Self {
            id: session.record().id,
            compat: session.record().compat.is_some(),
            session: Mutex::new(session),
            signals: Mutex::new(HashMap::new()),
            saving: tokio::sync::Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            missed: Mutex::default(),
            seats_seen: AtomicU64::new(u64::MAX),
            look_again: AtomicBool::default(),
            half_revoked: Mutex::default(),
        }
    }

    pub(crate) fn add_signal(&self, connection: ConnectionId, signal: Arc<Signal>) {
        self.signals.lock().insert(connection, signal);
    }

    pub(crate) fn remove_signal(&self, connection: ConnectionId) {
        self.signals.lock().remove(&connection);
    }

    pub(crate) fn wake(&self, connections: &[ConnectionId]) {
        if connections.is_empty() {
            return;
        }
        let signals = self.signals.lock();
        for signal in connections.iter().filter_map(|id| signals.get(id)) {
            signal.wake();
        }
    }

    pub(crate) fn close(&self, connection: ConnectionId, code: CloseCode) {
        if let Some(signal) = self.signals.lock().get(&connection) {
            signal.close(code);
        }
    }

    pub(crate) fn close_all(&self, code: CloseCode) {
        self.signals.lock().values().for_each(|signal| signal.close(code));
    }

    pub(crate) fn has_sockets(&self) -> bool {
        !self.signals.lock().is_empty()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.session.lock().end_reason().is_some()
    }
}

/// All sessions in memory.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: Vec<Mutex<HashMap<SessionId, Arc<Handle>>>>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Registry {
    fn shard(&self, id: SessionId) -> &Mutex<HashMap<SessionId, Arc<Handle>>> {
        &self.shards[usize::from(id.as_bytes()[0]) % SHARDS]
    }

    pub(crate) fn find(&self, id: SessionId) -> Option<Arc<Handle>> {
        self.shard(id).lock().get(&id).cloned()
    }

    /// Adds a session that was loaded unless somebody else just did; gives the one that is there, which
    /// may have ended since: what was loaded before its end must not live again. Tells whether there was
    /// another one.
    pub(crate) fn add(&self, session: Session) -> (Arc<Handle>, bool) {
        self.add_unless(session, |_| true)
    }

    /// Adds a session that was just made. One of its name that has ended gives way.
    pub(crate) fn add_new(&self, session: Session) -> (Arc<Handle>, bool) {
        self.add_unless(session, |there| !there.has_ended())
    }

    fn add_unless(&self, session: Session, stays: impl Fn(&Handle) -> bool) -> (Arc<Handle>, bool) {
        let handle = Arc::new(Handle::new(session));
        let mut shard = self.shard(handle.id).lock();
        if let Some(there) = shard.get(&handle.id).filter(|there| stays(there)) {
            (there.clone(), true)
        } else {
            let others = shard.insert(handle.id, handle.clone()).is_some();
            (handle, others)
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        self.shards.iter().flat_map(|s| s.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().len()).sum()
    }

    /// Lets sessions leave memory in which nothing lives; tells which.
    pub(crate) fn forget_idle(&self) -> Vec<SessionId> {
        let mut gone = Vec::new();
        for shard in &self.shards {
            shard.lock().retain(|id, handle| {
                let stays = Arc::strong_count(handle) > 1 || !handle.session.lock().is_idle();
                if !stays {
                    gone.push(*id);
                }
                stays
            });
        }
        gone
    }
}

//! Who is watched here, and where the logs of those ended when they were last seen.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use belay_core::ports::{ChannelId, Tail};
use belay_wire::{Channel, SessionId};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// How long the reading of a log waits for the subscription of its session to be sent.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Watched {
    /// How many asked for it.
    count: usize,
    subscribed: bool,
    tails: HashMap<Channel, Tail>,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, Watched>,
    /// Sessions that began or ceased to be watched; each is here once.
    changed: HashSet<SessionId>,
    /// Sessions whose subscription is young: other servers may not know of it yet.
    young: HashSet<SessionId>,
}

/// The watched sessions.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: Mutex<State>,
    /// Wakes who subscribes.
    pub(super) changed: Notify,
    /// Wakes who waits for that.
    subscribed: Notify,
    /// Wakes who looks after young subscriptions.
    pub(super) young: Notify,
}

impl Watch {
    pub(super) fn watch(&self, session: SessionId) {
        let mut state = self.state.lock();
        let watched = state.sessions.entry(session).or_default();
        watched.count += 1;
        if watched.count == 1 {
            state.changed.insert(session);
            self.changed.notify_one();
        }
    }

    pub(super) fn unwatch(&self, session: SessionId) {
        let mut state = self.state.lock();
        let Some(watched) = state.sessions.get_mut(&session) else { return };
        watched.count = watched.count.saturating_sub(1);
        if watched.count == 0 {
            state.sessions.remove(&session);
            state.young.remove(&session);
            state.changed.insert(session);
            self.changed.notify_one();
        }
    }

    pub(super) fn is_watched(&self, session: SessionId) -> bool {
        self.state.lock().sessions.contains_key(&session)
    }

    /// The sessions that changed since this was asked, and whether each is watched now.
    pub(super) fn take_changed(&self) -> Vec<(SessionId, bool)> {
        let mut state = self.state.lock();
        let changed = std::mem::take(&mut state.changed);
        changed.into_iter().map(|id| (id, state.sessions.contains_key(&id))).collect()
    }

    /// The subscription of a session is on its way, before anything that is sent from now on.
    pub(super) fn set_subscribed(&self, session: SessionId) {
        let mut state = self.state.lock();
        if let Some(watched) = state.sessions.get_mut(&session) {
            watched.subscribed = true;
            state.young.insert(session);
        }
        drop(state);
        self.subscribed.notify_waiters();
        self.young.notify_one();
    }

    /// Waits until what is read of a session misses nothing that its subscription does not bring.
    pub(super) async fn until_subscribed(&self, session: SessionId) {
        let wait = async {
            loop {
                let woken = self.subscribed.notified();
                if !self.waits(session) {
                    return;
                }
                woken.await;
            }
        };
        // Later, the subscription counts as young, and what it may have missed is looked for.
        let _ = tokio::time::timeout(READY_TIMEOUT, wait).await;
    }

    fn waits(&self, session: SessionId) -> bool {
        self.state.lock().sessions.get(&session).is_some_and(|watched| !watched.subscribed)
    }

    pub(super) fn take_young(&self) -> Vec<SessionId> {
        std::mem::take(&mut self.state.lock().young).into_iter().collect()
    }

    /// Those that are still watched are to be looked after again.
    pub(super) fn set_young(&self, sessions: &[SessionId]) {
        let mut state = self.state.lock();
        let State { sessions: watched, young, .. } = &mut *state;
        young.extend(sessions.iter().filter(|session| watched.contains_key(session)));
        let some = !young.is_empty();
        drop(state);
        if some {
            self.young.notify_one();
        }
    }

    /// All subscriptions were made anew.
    pub(super) fn set_all_young(&self) {
        self.set_young(&self.sessions());
    }

    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.state.lock().sessions.keys().copied().collect()
    }

    /// An entry was told: a log ends there, unless more of it was read already.
    pub(super) fn advance(&self, id: ChannelId, tail: Tail) {
        if let Some(watched) = self.state.lock().sessions.get_mut(&id.session) {
            let known = watched.tails.entry(id.channel).or_insert(tail);
            if known.incarnation != tail.incarnation || known.offset < tail.offset {
                *known = tail;
            }
        }
    }

    /// A log was read, and ends here.
    pub(super) fn set_tail(&self, id: ChannelId, tail: Tail) {
        if let Some(watched) = self.state.lock().sessions.get_mut(&id.session) {
            watched.tails.insert(id.channel, tail);
        }
    }

    pub(super) fn tail(&self, id: ChannelId) -> Option<Tail> {
        self.state.lock().sessions.get(&id.session)?.tails.get(&id.channel).copied()
    }

    pub(super) fn forget(&self, id: ChannelId) {
        if let Some(watched) = self.state.lock().sessions.get_mut(&id.session) {
            watched.tails.remove(&id.channel);
        }
    }

    /// The known tails of a session.
    pub(super) fn tails(&self, session: SessionId) -> Vec<(ChannelId, Tail)> {
        let state = self.state.lock();
        let Some(watched) = state.sessions.get(&session) else { return Vec::new() };
        let each =
            |(channel, tail): (&Channel, &Tail)| (ChannelId { session, channel: *channel }, *tail);
        watched.tails.iter().map(each).collect()
    }

    /// Nothing of what was known counts any more.
    pub(super) fn forget_tails(&self) {
        for watched in self.state.lock().sessions.values_mut() {
            watched.tails.clear();
        }
    }
}

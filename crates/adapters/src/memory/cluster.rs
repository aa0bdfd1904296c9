//! What the nodes of a cluster share, within one process: for tests of several nodes.

mod bus;
mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use belay_core::{
    ports::{Alive, Answer, Leases, Limits, Presence, Seat},
    token::Principal,
};
use belay_wire::SessionId;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{MemoryStore, done};
use bus::{Buses, Place};

/// Presence, leases, limits, a bus and sessions in memory. Each clone is another node: on the bus it hears
/// what the others say. Its clock is Tokio's, which tests may stop and move.
pub struct MemoryCluster {
    shared: Arc<Shared>,
    place: Arc<Place>,
}

struct Shared {
    sessions: MemoryStore,
    state: Mutex<State>,
    buses: Buses,
    /// Store time when this was made, Unix milliseconds, and that moment.
    start: (Duration, Instant),
}

#[derive(Default)]
struct State {
    seats: BTreeMap<SessionId, Seats>,
    removed: BTreeSet<SessionId>,
    /// End of each life's lease.
    nodes: BTreeMap<String, Duration>,
    leases: BTreeMap<&'static str, Lease>,
    /// At which node an affinity key is, and until when that is remembered.
    sticky: BTreeMap<String, (String, Duration)>,
    /// When the next cell of each bucket is due.
    limits: BTreeMap<String, Duration>,
}

#[derive(Default)]
struct Seats {
    /// The last generation, which also counts changes.
    last: u64,
    taken: BTreeMap<Principal, Seat>,
}

struct Lease {
    node: String,
    fence: u64,
    end: Duration,
}

impl Default for MemoryCluster {
    fn default() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shared = Arc::new(Shared {
            sessions: MemoryStore::default(),
            state: Mutex::default(),
            buses: Buses::default(),
            start: (unix, Instant::now()),
        });
        let place = shared.buses.join();
        Self { shared, place }
    }
}

impl Clone for MemoryCluster {
    fn clone(&self) -> Self {
        let place = self.shared.buses.join();
        Self { shared: Arc::clone(&self.shared), place }
    }
}

impl std::fmt::Debug for MemoryCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryCluster").finish_non_exhaustive()
    }
}

impl MemoryCluster {
    /// Store time since the Unix epoch.
    fn now(&self) -> Duration {
        let (unix, at) = self.shared.start;
        unix.saturating_add(at.elapsed())
    }
}

impl Presence for MemoryCluster {
    fn sit(&self, session: SessionId, seat: Seat) -> Answer<u64> {
        let mut state = self.shared.state.lock();
        let seats = state.seats.entry(session).or_default();
        seats.last += 1;
        seats.taken.insert(seat.principal, Seat { generation: seats.last, ..seat });
        done(Ok(seats.last))
    }

    fn leave(&self, session: SessionId, principal: Principal, generation: u64) -> Answer<()> {
        let mut state = self.shared.state.lock();
        if let Some(seats) = state.seats.get_mut(&session)
            && seats.taken.get(&principal).is_some_and(|seat| seat.generation == generation)
        {
            seats.taken.remove(&principal);
            seats.last += 1;
        }
        done(Ok(()))
    }

    fn seats(&self, session: SessionId) -> Answer<Vec<Seat>> {
        let state = self.shared.state.lock();
        let seats = state.seats.get(&session).map(|seats| seats.taken.values().cloned().collect());
        done(Ok(seats.unwrap_or_default()))
    }

    fn renew(&self, node: String, ttl: Duration) -> Answer<Alive> {
        let now = self.now();
        let mut state = self.shared.state.lock();
        state.nodes.insert(node, now.saturating_add(ttl));
        state.nodes.retain(|_, end| *end > now);
        let nodes = state.nodes.keys().cloned().collect();
        done(Ok(Alive { now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX), nodes }))
    }

    fn retire(&self, node: String) -> Answer<()> {
        self.shared.state.lock().nodes.remove(&node);
        done(Ok(()))
    }
}

impl Leases for MemoryCluster {
    fn hold(&self, name: &'static str, node: String, ttl: Duration) -> Answer<Option<u64>> {
        let now = self.now();
        let mut state = self.shared.state.lock();
        let end = now.saturating_add(ttl);
        let lease = state.leases.entry(name).or_insert_with(|| Lease {
            node: node.clone(),
            fence: 0,
            end: Duration::ZERO,
        });
        let runs = lease.end > now;
        if runs && lease.node != node {
            return done(Ok(None));
        }
        let fence = if runs { lease.fence } else { lease.fence + 1 };
        *lease = Lease { node, fence, end };
        done(Ok(Some(fence)))
    }

    fn stick(
        &self,
        key: String,
        node: String,
        instead_of: Option<String>,
        ttl: Duration,
    ) -> Answer<String> {
        let now = self.now();
        let mut state = self.shared.state.lock();
        state.sticky.retain(|_, (_, end)| *end > now);
        match state.sticky.get(&key) {
            Some((noted, _)) if *noted != node && Some(noted) != instead_of.as_ref() => {
                done(Ok(noted.clone()))
            }
            _ => {
                state.sticky.insert(key, (node.clone(), now.saturating_add(ttl)));
                done(Ok(node))
            }
        }
    }
}

impl Limits for MemoryCluster {
    fn take(
        &self,
        key: String,
        cost: u32,
        every: Duration,
        burst: u32,
    ) -> Answer<Result<(), Duration>> {
        let now = self.now();
        let mut state = self.shared.state.lock();
        let due = state.limits.get(&key).map_or(now, |due| (*due).max(now));
        let after = due.saturating_add(every.saturating_mul(cost));
        let ahead = after.saturating_sub(now);
        let allowed = every.saturating_mul(burst.max(1));
        if ahead > allowed {
            return done(Ok(Err(ahead.saturating_sub(allowed))));
        }
        state.limits.insert(key, after);
        // What is full again need not be remembered.
        state.limits.retain(|_, due| *due > now);
        done(Ok(Ok(())))
    }

    fn spend(&self, key: String, cost: u32, every: Duration, burst: u32) -> Answer<Duration> {
        let now = self.now();
        let mut state = self.shared.state.lock();
        let due = state.limits.get(&key).map_or(now, |due| (*due).max(now));
        let empty = now.saturating_add(every.saturating_mul(burst.max(1)));
        let after = due.saturating_add(every.saturating_mul(cost)).min(empty);
        if cost > 0 {
            state.limits.insert(key, after);
        }
        done(Ok(after.saturating_sub(now)))
    }
}

//! What nobody uses any more leaves: sessions without devices, and devices that never come back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use belay_core::{Input, Now, SessionRecord, ports::StoreError};
use belay_wire::{MemberId, SessionId};

use crate::node::{Node, unix_ms};

/// Sessions that one step reads.
const PAGE: usize = 100;

/// After a start or a jump of the clock, nothing is removed for this long, or for as long as a device
/// may be idle if that is shorter: who could not come while the relay was away or asleep gets the time.
const GRACE_MAX: Duration = Duration::from_hours(24);
/// A difference between the clocks that is no drift.
const JUMP_MS: u64 = 60_000;

/// Sweeps until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let grace = node.config.device_idle.min(node.config.session_retention).min(GRACE_MAX);
    let mut calm = Calm::new(Node::now(), grace);
    loop {
        tokio::select! {
            () = tokio::time::sleep(node.config.sweep_every) => {}
            () = node.stopping.cancelled() => return,
        }
        if !calm.is_calm(Node::now()) {
            continue;
        }
        if let Err(error) = sweep(&node).await {
            tracing::warn!(%error, "not swept; the next sweep tries again");
        }
    }
}

/// Tells whether ages can be believed: the relay runs for a while, and its clocks agree.
struct Calm {
    grace: Duration,
    since: Instant,
    last: Now,
}

impl Calm {
    fn new(now: Now, grace: Duration) -> Self {
        Self { grace, since: now.mono, last: now }
    }

    fn is_calm(&mut self, now: Now) -> bool {
        let elapsed = millis(now.mono.saturating_duration_since(self.last.mono));
        let expected = self.last.unix_ms.saturating_add(elapsed);
        if now.unix_ms.abs_diff(expected) > JUMP_MS {
            tracing::warn!(
                expected_ms = expected,
                now_ms = now.unix_ms,
                "the clock jumped, or this machine slept: nothing idle is removed for a while"
            );
            self.since = now.mono;
        }
        self.last = now;
        now.mono.saturating_duration_since(self.since) >= self.grace
    }
}

async fn sweep(node: &Arc<Node>) -> Result<(), StoreError> {
    let mut after: Option<SessionId> = None;
    loop {
        let ids = node.observe(node.stores.sessions.list(after, PAGE)).await?;
        let Some(last) = ids.last().copied() else { return Ok(()) };
        let mut removed_last = false;
        for id in ids {
            let Some(record) = node.observe(node.stores.sessions.load(id)).await? else { continue };
            for member in idle_devices(&record, node.config.device_idle) {
                unpair(node, id, member).await?;
            }
            if is_abandoned(&record, node.config.session_retention) && node.registry.retire(id) {
                node.observe(node.stores.sessions.remove(id)).await?;
                removed_last = id == last;
                tracing::info!(session = %id, "removed: nobody used it");
            }
        }
        // A removed session no longer has a place in the list to go on from.
        after = if removed_last { None } else { Some(last) };
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// No device, and its host was away for long.
fn is_abandoned(record: &SessionRecord, retention: Duration) -> bool {
    let unused = record.active_devices().next().is_none();
    unused && unix_ms().saturating_sub(record.host.seen_at) > millis(retention)
}

fn idle_devices(record: &SessionRecord, idle: Duration) -> Vec<MemberId> {
    let now = unix_ms();
    let is_idle = |seen_at: u64| now.saturating_sub(seen_at) > millis(idle);
    record.active_devices().filter(|d| is_idle(d.seen_at)).map(|d| d.member).collect()
}

/// Unpairs a device unless it is connected: a long connection tells its time only at its end.
async fn unpair(node: &Arc<Node>, id: SessionId, member: MemberId) -> Result<(), StoreError> {
    let Some(handle) = node.session(id).await? else { return Ok(()) };
    let list = handle.session.lock().device_list(node.policy.devices_max);
    // What is in memory may be newer than what was read.
    let idle = |seen_at: u64| unix_ms().saturating_sub(seen_at) > millis(node.config.device_idle);
    let away = list.devices.iter().any(|d| d.member == member && !d.connected && idle(d.seen_at));
    if away {
        node.drive(&handle, Input::Revoke { member }).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_soon_after_a_start_or_a_jump_of_the_clock() {
        let start = Node::now();
        let at = |mono_s: u64, unix_s: i64| Now {
            mono: start.mono + Duration::from_secs(mono_s),
            unix_ms: start.unix_ms.saturating_add_signed(unix_s * 1_000),
        };
        let day = 24 * 3_600;
        let mut calm = Calm::new(start, GRACE_MAX);

        assert!(!calm.is_calm(at(60, 60)), "just started");
        assert!(calm.is_calm(at(day, 86_400 + 50)), "a drift is no jump");
        assert!(!calm.is_calm(at(day + 60, 8 * 86_400)), "it slept for a week");
        assert!(calm.is_calm(at(2 * day + 60, 9 * 86_400)));
        assert!(!calm.is_calm(at(2 * day + 120, 0)), "the clock went back");
    }
}

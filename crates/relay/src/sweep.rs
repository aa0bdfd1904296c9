//! What nobody uses any more leaves: sessions without devices, and devices that never come back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use belay_core::{Input, Now, SessionRecord, ports::StoreError};
use belay_wire::{MemberId, SessionId};
use futures_util::future::join_all;

use crate::{
    config::Config,
    node::{Node, unix_ms},
};

/// Sessions that one step reads.
const PAGE: usize = 100;

/// After a start or a jump of the clock, nothing is removed for this long, or for as long as a device
/// may be idle if that is shorter: who could not come while the relay was away or asleep gets the time.
const GRACE_MAX: Duration = Duration::from_hours(24);
/// A difference between the clocks that is no drift.
const JUMP_MS: u64 = 60_000;

/// Sweeps until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let mut calm = Calm::new(node.now());
    loop {
        tokio::select! {
            () = tokio::time::sleep(node.config.sweep_every) => {}
            () = node.stopping.cancelled() => return,
        }
        let believed = calm.believed(node.now());
        if !node.is_sweeper().await {
            continue;
        }
        if let Err(error) = sweep(&node, believed).await {
            tracing::warn!(%error, "not swept; the next sweep tries again");
        }
    }
}

/// Tells which ages can be believed: those that the relay saw pass while its clocks agreed.
struct Calm {
    since: Instant,
    last: Now,
}

impl Calm {
    const fn new(now: Now) -> Self {
        Self { since: now.mono, last: now }
    }

    fn believed(&mut self, now: Now) -> Duration {
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
        now.mono.saturating_duration_since(self.since)
    }
}

async fn sweep(node: &Arc<Node>, believed: Duration) -> Result<(), StoreError> {
    let mut after: Option<SessionId> = None;
    loop {
        let ids = node.observe(node.stores.sessions.list(after, PAGE)).await?;
        if ids.is_empty() {
            return Ok(());
        }
        // Together, so that the store writes them in one go.
        let stay = join_all(ids.iter().map(|id| look_at(node, *id, believed))).await;
        for (id, stays) in ids.into_iter().zip(stay) {
            // A removed session has no place in the list to go on from.
            let stays = stays.unwrap_or_else(|error| {
                tracing::warn!(session = %id, %error, "not looked at; the next sweep tries again");
                true
            });
            if stays {
                after = Some(id);
            }
        }
    }
}

/// Ends or removes a session if its time is over; tells whether it stays.
async fn look_at(node: &Arc<Node>, id: SessionId, believed: Duration) -> Result<bool, StoreError> {
    let config = &node.config;
    let Some(record) = node.observe(node.stores.sessions.load(id)).await? else { return Ok(false) };
    if let Some(reason) = compat_end(&record, config, believed, unix_ms()) {
        return end(node, id, reason).await;
    }
    let grace = config.device_idle.min(config.session_retention).min(GRACE_MAX);
    if believed < grace || record.compat.is_some() {
        return Ok(true);
    }
    for member in idle_devices(&record, config.device_idle) {
        unpair(node, id, member).await?;
    }
    if is_abandoned(&record, config.session_retention) {
        return end(node, id, "retention_expired").await;
    }
    Ok(true)
}

/// Ends a session unless somebody uses it; tells whether it stays.
async fn end(node: &Arc<Node>, id: SessionId, reason: &'static str) -> Result<bool, StoreError> {
    Ok(!node.end_session(id, reason, true).await?)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Why a session of the compat protocol is over, if it is and nobody is connected: one with a paired
/// device stays as long as a device may be idle, another one as its desktop said, at most its retention.
fn compat_end(
    record: &SessionRecord,
    config: &Config,
    believed: Duration,
    now: u64,
) -> Option<&'static str> {
    let compat = record.compat.as_ref()?;
    let devices = record.active_devices().map(|d| d.seen_at);
    let active_at = devices.chain([record.host.seen_at, compat.active_at]).max().unwrap_or(now);
    let idle = Duration::from_millis(now.saturating_sub(active_at)).min(believed);
    if record.active_devices().next().is_some() {
        return (idle > config.device_idle).then_some("idle_timeout");
    }
    if idle > Duration::from_secs(compat.idle_secs) {
        return Some("idle_timeout");
    }
    (idle > config.compat_retention).then_some("retention_expired")
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
        let start = Now { mono: Instant::now(), unix_ms: unix_ms() };
        let at = |mono_s: u64, unix_s: i64| Now {
            mono: start.mono + Duration::from_secs(mono_s),
            unix_ms: start.unix_ms.saturating_add_signed(unix_s * 1_000),
        };
        let day = 24 * 3_600;
        let mut calm = Calm::new(start);
        let mut is_calm = |now| calm.believed(now) >= GRACE_MAX;

        assert!(!is_calm(at(60, 60)), "just started");
        assert!(is_calm(at(day, 86_400 + 50)), "a drift is no jump");
        assert!(!is_calm(at(day + 60, 8 * 86_400)), "it slept for a week");
        assert!(is_calm(at(2 * day + 60, 9 * 86_400)));
        assert!(!is_calm(at(2 * day + 120, 0)), "the clock went back");
    }
}

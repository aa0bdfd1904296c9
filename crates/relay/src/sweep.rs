//! What nobody uses any more leaves: sessions without devices, and devices that never come back.

use std::{sync::Arc, time::Duration};

use belay_core::{Input, SessionRecord, ports::StoreError};
use belay_wire::{MemberId, SessionId};

use crate::node::{Node, unix_ms};

/// Sessions that one step reads.
const PAGE: usize = 100;

/// Sweeps until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(node.config.sweep_every) => {}
            () = node.stopping.cancelled() => return,
        }
        if let Err(error) = sweep(&node).await {
            tracing::warn!(%error, "not swept; the next sweep tries again");
        }
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
    let away = list.devices.iter().any(|d| d.member == member && !d.connected);
    if away {
        node.drive(&handle, Input::Revoke { member }).await;
    }
    Ok(())
}

//! `/devices/list`, `/devices/revoke`.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use belay_core::Input;
use belay_wire::{
    DeviceView, MemberId,
    compat::{DEVICE_ID_CHARS, format_time},
};
use serde_json::{Value, json};

use super::{Fault, body::Members, desktop::Desktop, shaped};
use crate::{http::Peer, node::Node};

/// The devices of a session, oldest first.
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    headers: HeaderMap,
    body: Result<Members, Fault>,
) -> Result<Json<Value>, Fault> {
    let body = body?.only(&["sessionID", "desktopSessionToken"])?;
    let wrong = || {
        let text = "sessionID and desktopSessionToken are required.";
        Fault::new(400, "invalid_devices_list", text)
    };
    let desktop = Desktop::admit(&node, address, &headers, &body, wrong).await?;
    let handle = desktop.session(&node).await?;
    let list = handle.session.lock().device_list(node.policy.devices_max);
    let devices: Vec<_> = list.devices.iter().map(device).collect();
    Ok(Json(json!({
        "accepted": true,
        "sessionID": desktop.session_id,
        "devices": devices,
        "usedDevices": list.used,
        "allowedDevices": list.allowed,
    })))
}

fn device(device: &DeviceView) -> Value {
    json!({
        "deviceID": device.member,
        "deviceName": device.name,
        "connected": device.connected,
        "joinedAt": format_time(device.added_at),
        "lastSeenAt": format_time(device.seen_at),
    })
}

/// Removes a device: its tokens are dead and its socket is closed when this is answered.
pub(super) async fn revoke(
    State(node): State<Arc<Node>>,
    Peer(address): Peer,
    headers: HeaderMap,
    body: Result<Members, Fault>,
) -> Result<Json<Value>, Fault> {
    let body = body?.only(&["sessionID", "desktopSessionToken", "deviceID"])?;
    let device_id = body.required("deviceID")?;
    let wrong = || {
        let text = "sessionID, desktopSessionToken and deviceID are required.";
        Fault::new(400, "invalid_device_revoke", text)
    };
    let desktop = Desktop::admit(&node, address, &headers, &body, wrong).await?;
    let device_id = shaped(device_id, &DEVICE_ID_CHARS, wrong)?;
    let handle = desktop.session(&node).await?;
    let unknown = || Fault::new(404, "device_not_found", "Device is not paired with this session.");
    let member: MemberId = device_id.parse().map_err(|_| unknown())?;
    let is_active = |handle: &crate::registry::Handle| {
        handle.session.lock().record().active_devices().any(|d| d.member == member)
    };
    if !is_active(&handle) {
        return Err(unknown());
    }
    let _ = node.drive_to_the_end(&handle, Input::Revoke { member }).await;
    if is_active(&handle) {
        return Err(Fault::store());
    }
    Ok(Json(json!({ "accepted": true, "sessionID": desktop.session_id, "deviceID": device_id })))
}

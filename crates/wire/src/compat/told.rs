//! What the relay says.

use serde::Serialize;

use crate::RawJson;

/// A message of the relay.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum Told {
    #[serde(rename = "auth_ok", rename_all = "camelCase")]
    AuthOk {
        role: &'static str,
        #[serde(rename = "sessionID")]
        session_id: String,
        #[serde(rename = "deviceID", skip_serializing_if = "Option::is_none")]
        device_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next_device_session_token: Option<String>,
        connected_device_count: usize,
        desktop_connected: bool,
        /// Absent while the desktop has not said it.
        #[serde(skip_serializing_if = "Option::is_none")]
        supports_runtime_requests: Option<bool>,
    },
    #[serde(rename = "relay.desktop_status", rename_all = "camelCase")]
    DesktopStatus {
        #[serde(rename = "sessionID")]
        session_id: String,
        desktop_connected: bool,
    },
    #[serde(rename = "relay.device_count", rename_all = "camelCase")]
    DeviceCount {
        #[serde(rename = "sessionID")]
        session_id: String,
        connected_device_count: usize,
    },
    #[serde(rename = "relay.pair_request", rename_all = "camelCase")]
    PairRequest {
        #[serde(rename = "sessionID")]
        session_id: String,
        #[serde(rename = "requestID")]
        request_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        device_name: Option<String>,
        #[serde(rename = "requesterIP")]
        requester_ip: String,
        requested_at: String,
        expires_at: String,
    },
    #[serde(rename = "relay.pair_result", rename_all = "camelCase")]
    PairResult {
        #[serde(rename = "sessionID")]
        session_id: String,
        #[serde(rename = "requestID")]
        request_id: String,
        approved: bool,
    },
    #[serde(rename = "relay.error")]
    Error {
        error: &'static str,
        message: String,
        #[serde(rename = "commandID", skip_serializing_if = "Option::is_none")]
        command_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    #[serde(rename = "disconnect")]
    Disconnect { reason: &'static str },
}

impl Told {
    /// The message as JSON text.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("these have string keys only")
    }
}

/// What a desktop's `hello` says about answering requests; `None` for other envelopes.
pub fn supports_requests(envelope: &RawJson) -> Option<bool> {
    if !envelope.text().contains("\"hello\"") {
        return None;
    }
    let value: serde_json::Value = serde_json::from_str(envelope.text()).ok()?;
    let payload = &value["payload"];
    if payload["type"] != "hello" {
        return None;
    }
    let names = ["supportsRuntimeRequests", "canRespondToRuntimeRequests", "supportsApprovals"];
    names.iter().find_map(|name| payload["payload"][*name].as_bool())
}

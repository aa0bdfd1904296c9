//! The phone: what it shows, which messages it takes, and what it asks when one is missing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Party;

/// A paired phone.
#[derive(Debug, Clone)]
pub struct Phone {
    pub session_id: String,
    pub device_id: String,
    /// The token of the next connect; none after the pairing was forgotten.
    pub token: Option<String>,
    pub desktop_connected: Option<bool>,
    pub can_answer: bool,
    /// Errors that the relay told.
    pub errors: Vec<Value>,
    /// Acknowledgements by command.
    pub acks: BTreeMap<String, Value>,
    /// How often it had to ask for a snapshot because of a gap.
    pub gaps: u32,
    seq: u64,
    last: Option<u64>,
    awaits: bool,
    threads: Value,
    selected: Value,
    messages: Vec<Value>,
    pending: Value,
    queued: Vec<Value>,
    online: bool,
    ended: Option<String>,
}

impl Phone {
    /// From the answer of `/pair/join`.
    pub fn new(joined: &Value) -> Self {
        let text = |name: &str| joined[name].as_str().unwrap_or_default().to_owned();
        Self {
            session_id: text("sessionID"),
            device_id: text("deviceID"),
            token: Some(text("deviceSessionToken")),
            desktop_connected: None,
            can_answer: false,
            errors: Vec::new(),
            acks: BTreeMap::new(),
            gaps: 0,
            seq: 0,
            last: None,
            awaits: false,
            threads: Value::Null,
            selected: Value::Null,
            messages: Vec::new(),
            pending: Value::Null,
            queued: Vec::new(),
            online: false,
            ended: None,
        }
    }

    /// What it shows, to compare with its desktop.
    pub fn shows(&self) -> Value {
        json!({
            "threads": self.threads, "selected": self.selected,
            "messages": self.messages, "pending": self.pending,
        })
    }

    /// Why it forgot its pairing.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    pub fn is_online(&self) -> bool {
        self.online
    }

    /// Whether a message with this text is shown.
    pub fn shows_text(&self, text: &str) -> bool {
        self.messages.iter().any(|m| m["text"] == text)
    }

    pub fn is_asked(&self) -> bool {
        self.pending.as_array().is_some_and(|p| !p.is_empty())
    }

    /// A command under the next number; what the command does not use is null, as the web client does.
    pub fn command(&mut self, name: &str, more: &Value) -> Value {
        self.seq += 1;
        let mut inner = json!({
            "name": name, "commandID": format!("cmd-{}", self.seq), "threadID": null,
            "projectID": null, "text": null, "runtimeRequestID": null, "runtimeRequestKind": null,
            "runtimeRequestResponse": null,
        });
        for (member, value) in more.as_object().into_iter().flatten() {
            inner[member] = value.clone();
        }
        json!({
            "schemaVersion": 2, "sessionID": self.session_id, "seq": self.seq,
            "timestamp": "2026-02-25T10:00:00.000Z",
            "payload": { "type": "command", "payload": inner },
        })
    }

    /// Sends a command now. Without a connection what is worth it is kept until there is one; without a
    /// desktop nothing is sent.
    pub fn says(&mut self, name: &str, more: &Value) -> Vec<Value> {
        let waits = ["thread.send_message", "runtime_request.respond"].contains(&name);
        match (self.online, self.desktop_connected) {
            (true, Some(false)) => Vec::new(),
            (true, _) => vec![self.command(name, more)],
            (false, _) => {
                if waits {
                    let command = self.command(name, more);
                    self.queued.push(command);
                }
                Vec::new()
            }
        }
    }

    pub fn snapshot_request(&self, reason: &str) -> Value {
        json!({
            "type": "relay.snapshot_request", "sessionID": self.session_id, "reason": reason,
            "lastSeq": self.last,
        })
    }

    fn takes(&mut self, message: &Value) -> Vec<Value> {
        if message["schemaVersion"].as_u64().is_some_and(|v| v != 2) {
            return Vec::new();
        }
        let Some(seq) = message["seq"].as_u64() else { return Vec::new() };
        let is_snapshot = message["payload"]["type"] == "snapshot";
        match self.last {
            Some(last) if seq <= last => return Vec::new(),
            Some(last) if seq > last + 1 => {
                let asks = !self.awaits;
                self.awaits = !is_snapshot;
                if !is_snapshot {
                    self.gaps += u32::from(asks);
                    let request = self.snapshot_request("gap_detected");
                    return asks.then_some(request).into_iter().collect();
                }
            }
            _ => {}
        }
        self.last = Some(seq);
        self.shows_payload(&message["payload"])
    }

    fn shows_payload(&mut self, payload: &Value) -> Vec<Value> {
        let inner = &payload["payload"];
        match payload["type"].as_str() {
            Some("hello") => self.can_answer = inner["supportsRuntimeRequests"] == true,
            Some("snapshot") => {
                self.awaits = false;
                self.threads = inner["threads"].clone();
                self.selected = inner["selectedThreadID"].clone();
                self.messages = inner["messages"].as_array().cloned().unwrap_or_default();
                self.pending = inner["pendingRuntimeRequests"].clone();
            }
            Some("command_ack") => {
                let id = inner["commandID"].as_str().unwrap_or_default();
                self.acks.insert(id.to_owned(), inner.clone());
            }
            Some("event") => return self.happens(inner),
            _ => {}
        }
        Vec::new()
    }

    fn happens(&mut self, event: &Value) -> Vec<Value> {
        let name = event["name"].as_str().unwrap_or_default();
        if name.starts_with("runtime_request.") {
            return vec![self.snapshot_request("runtime_request_event")];
        }
        let is_shown = self.messages.iter().any(|m| m["id"] == event["messageID"]);
        if name == "thread.message.append" && !is_shown {
            self.messages.push(json!({
                "id": event["messageID"], "threadID": event["threadID"], "role": event["role"],
                "text": event["body"], "createdAt": event["createdAt"],
            }));
        }
        Vec::new()
    }
}

impl Party for Phone {
    fn token(&self) -> Option<String> {
        self.token.clone()
    }

    fn hears(&mut self, message: &Value) -> Vec<Value> {
        match message["type"].as_str() {
            Some("auth_ok") => {
                self.online = true;
                self.token = message["nextDeviceSessionToken"].as_str().map(str::to_owned);
                self.desktop_connected = message["desktopConnected"].as_bool();
                self.can_answer = message["supportsRuntimeRequests"] == true;
                let mut all = std::mem::take(&mut self.queued);
                all.push(self.snapshot_request("initial_sync"));
                all
            }
            Some("relay.desktop_status") => {
                self.desktop_connected = message["desktopConnected"].as_bool();
                Vec::new()
            }
            Some("relay.error") => {
                self.errors.push(message.clone());
                let resync = message["error"] == "replayed_command";
                let request = self.snapshot_request("command_replay_rejected");
                resync.then_some(request).into_iter().collect()
            }
            Some(_) => Vec::new(),
            None => self.takes(message),
        }
    }

    fn ends(&mut self, reason: &str, code: u16) {
        const TERMINAL: [&str; 5] = [
            "device_revoked",
            "stopped_by_desktop",
            "replaced_by_new_pair_start",
            "idle_timeout",
            "session_expired",
        ];
        self.online = false;
        self.awaits = false;
        self.can_answer = false;
        if code == 1008 || TERMINAL.contains(&reason) {
            self.token = None;
            self.ended = Some(reason.to_owned());
        }
    }
}

//! The desktop: threads, messages, requests of its agent, and how it answers phones.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::Party;

/// Phone connections whose command numbers are remembered.
const TRACKERS: usize = 24;
/// Acknowledgements that are kept for commands that come twice.
const ACKS: usize = 256;

/// A desktop and what it shows.
#[derive(Debug, Clone)]
pub struct Desktop {
    pub session_id: String,
    pub token: String,
    pub join_token: String,
    /// Ways in which phones may be refused or let in without a person.
    pub approves: Option<bool>,
    /// Phones that connect, as the relay counts them.
    pub devices: Option<u64>,
    /// Pair requests that were asked.
    pub requests: Vec<Value>,
    /// Commands that were applied, in order.
    pub applied: Vec<Value>,
    threads: Vec<Value>,
    messages: Vec<Value>,
    selected: Option<String>,
    pending: Vec<Value>,
    seq: u64,
    trackers: VecDeque<(String, u64)>,
    acks: VecDeque<(Value, Value)>,
    ended: Option<String>,
}

impl Desktop {
    /// A desktop with two threads, which lets every phone in.
    pub fn new(session_id: &str) -> Self {
        let thread =
            |id: &str| json!({ "id": id, "projectID": "p-1", "title": id, "isPinned": false });
        Self {
            session_id: session_id.to_owned(),
            token: format!("desktop-token-of-{session_id}"),
            join_token: format!("join-token-1-of-{session_id}"),
            approves: Some(true),
            devices: None,
            requests: Vec::new(),
            applied: Vec::new(),
            threads: vec![thread("t-1"), thread("t-2")],
            messages: Vec::new(),
            selected: None,
            pending: Vec::new(),
            seq: 0,
            trackers: VecDeque::new(),
            acks: VecDeque::new(),
            ended: None,
        }
    }

    /// The body of `/pair/start`.
    pub fn start(&self) -> Value {
        json!({
            "sessionID": self.session_id, "joinToken": self.join_token,
            "desktopSessionToken": self.token, "joinTokenExpiresAt": "2100-01-01T00:00:00Z",
            "idleTimeoutSeconds": 1800, "schemaVersion": 2,
        })
    }

    /// The body of `/pair/refresh`, with a new join token.
    pub fn refresh(&mut self) -> Value {
        let n: u64 = self.join_token.split('-').nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
        self.join_token = format!("join-token-{}-of-{}", n + 1, self.session_id);
        json!({
            "sessionID": self.session_id, "joinToken": self.join_token,
            "desktopSessionToken": self.token, "joinTokenExpiresAt": "2100-01-01T00:00:00Z",
            "schemaVersion": 2, "relayWebSocketURL": null,
        })
    }

    /// The body of calls that name the session only.
    pub fn own(&self) -> Value {
        json!({ "sessionID": self.session_id, "desktopSessionToken": self.token, "schemaVersion": 2 })
    }

    /// What it shows, to compare with what a phone shows.
    pub fn shows(&self) -> Value {
        json!({
            "threads": self.threads, "selected": self.selected,
            "messages": self.messages, "pending": self.pending,
        })
    }

    /// Why it stopped for good.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    fn envelope(&mut self, kind: &str, payload: &Value) -> Value {
        self.seq += 1;
        json!({
            "schemaVersion": 2, "sessionID": self.session_id, "seq": self.seq,
            "timestamp": "2026-02-25T10:00:00Z", "payload": { "type": kind, "payload": payload },
        })
    }

    pub fn hello(&mut self) -> Value {
        let hello = json!({
            "role": "desktop", "clientName": "reference desktop", "supportsRuntimeRequests": true,
        });
        self.envelope("hello", &hello)
    }

    pub fn snapshot(&mut self) -> Value {
        let snapshot = json!({
            "projects": [{ "id": "p-1", "name": "project" }], "threads": self.threads,
            "selectedProjectID": "p-1", "selectedThreadID": self.selected,
            "messages": self.messages, "pendingRuntimeRequests": self.pending,
            "turnState": null,
        });
        self.envelope("snapshot", &snapshot)
    }

    fn event(&mut self, name: &str, thread: &str, more: &Value) -> Value {
        let mut event = json!({ "name": name, "threadID": thread });
        for (member, value) in more.as_object().into_iter().flatten() {
            event[member] = value.clone();
        }
        self.envelope("event", &event)
    }

    /// A new message of a thread: what is told to phones.
    pub fn says(&mut self, thread: &str, role: &str, text: &str) -> Vec<Value> {
        let id = format!("m-{}", self.messages.len() + 1);
        let created = "2026-02-25T10:00:00Z";
        self.messages.push(json!({
            "id": id, "threadID": thread, "role": role, "text": text, "createdAt": created,
        }));
        let more = json!({ "messageID": id, "role": role, "body": text, "createdAt": created });
        vec![self.event("thread.message.append", thread, &more)]
    }

    /// Its agent asks whether it may do something.
    pub fn asks(&mut self, id: &str, thread: &str) -> Vec<Value> {
        let option = |id: &str| json!({ "id": id, "label": id });
        self.pending.push(json!({
            "requestID": id, "kind": "approval", "threadID": thread, "title": "Run a command",
            "summary": "ls", "responseOptions": [option("approve_once"), option("decline")],
            "permissions": [], "options": [],
        }));
        vec![self.event("runtime_request.requested", thread, &json!({ "body": "ls" }))]
    }

    /// A message is lost on the way from its agent: a number is left out.
    pub fn loses_a_message(&mut self, thread: &str, text: &str) {
        let _ = self.says(thread, "assistant", text);
    }

    fn answer_command(&mut self, message: &Value) -> Vec<Value> {
        let connection = message["relayConnectionID"].as_str().unwrap_or_default().to_owned();
        let seq = message["seq"].as_u64().unwrap_or(0);
        let command = message["payload"]["payload"].clone();
        let last = self.trackers.iter().find(|(c, _)| *c == connection).map(|(_, last)| *last);
        match last {
            Some(last) if seq <= last => {
                let ack = self.acks.iter().find(|(c, _)| *c == command).map(|(_, ack)| ack.clone());
                return ack.map(|ack| self.envelope("command_ack", &ack)).into_iter().collect();
            }
            Some(last) if seq > last + 1 => return vec![self.snapshot()],
            _ => {}
        }
        self.trackers.retain(|(c, _)| *c != connection);
        self.trackers.push_back((connection, seq));
        if self.trackers.len() > TRACKERS {
            self.trackers.pop_front();
        }
        if let Some((_, ack)) = self.acks.iter().find(|(c, _)| *c == command) {
            let ack = ack.clone();
            return vec![self.envelope("command_ack", &ack)];
        }
        self.apply(seq, command)
    }

    fn apply(&mut self, seq: u64, command: Value) -> Vec<Value> {
        let (told, refused) = self.carry_out(&command);
        let mut ack = json!({
            "commandSeq": seq, "commandID": command["commandID"], "commandName": command["name"],
            "status": if refused.is_none() { "accepted" } else { "rejected" },
        });
        if let Some(reason) = refused {
            ack["reason"] = json!(reason);
        }
        self.acks.push_back((command, ack.clone()));
        if self.acks.len() > ACKS {
            self.acks.pop_front();
        }
        let mut all = told;
        all.push(self.envelope("command_ack", &ack));
        if refused.is_none() {
            all.push(self.snapshot());
        }
        all
    }

    fn carry_out(&mut self, command: &Value) -> (Vec<Value>, Option<&'static str>) {
        let text = |name: &str| command[name].as_str().unwrap_or_default().to_owned();
        let thread = text("threadID");
        let is_known = self.threads.iter().any(|t| t["id"] == thread.as_str());
        let told = match command["name"].as_str() {
            Some("thread.select" | "thread.send_message") if !is_known => {
                return (Vec::new(), Some("unknown_thread"));
            }
            Some("thread.select") => {
                self.selected = Some(thread);
                Vec::new()
            }
            Some("thread.send_message") => self.says(&thread, "user", &text("text")),
            Some("project.select") => Vec::new(),
            Some("runtime_request.respond") => {
                let id = text("runtimeRequestID");
                let decision = &command["runtimeRequestResponse"]["decision"];
                // The words that the desktop in the field knows.
                let known = ["approve", "approve_once", "approve_for_session", "decline", "cancel"];
                if !known.iter().any(|word| decision == word) {
                    return (Vec::new(), Some("invalid_runtime_request"));
                }
                let before = self.pending.len();
                self.pending.retain(|r| r["requestID"] != id.as_str());
                if self.pending.len() == before {
                    return (Vec::new(), Some("unknown_runtime_request"));
                }
                vec![self.event("runtime_request.responded", "t-1", &json!({ "body": id }))]
            }
            _ => return (Vec::new(), Some("invalid_runtime_request")),
        };
        self.applied.push(command.clone());
        (told, None)
    }
}

impl Party for Desktop {
    fn token(&self) -> Option<String> {
        self.ended.is_none().then(|| self.token.clone())
    }

    fn before(&mut self) -> Option<(&'static str, Value)> {
        Some(("/pair/refresh", self.refresh()))
    }

    fn hears(&mut self, message: &Value) -> Vec<Value> {
        match message["type"].as_str() {
            Some("auth_ok") => {
                self.devices = message["connectedDeviceCount"].as_u64();
                vec![self.hello(), self.snapshot()]
            }
            Some("relay.device_count") => {
                self.devices = message["connectedDeviceCount"].as_u64();
                Vec::new()
            }
            Some("relay.pair_request") => {
                self.requests.push(message.clone());
                let decision = self.approves.map(|approved| {
                    json!({
                        "type": "relay.pair_decision", "sessionID": self.session_id,
                        "requestID": message["requestID"], "approved": approved,
                    })
                });
                decision.into_iter().collect()
            }
            Some("relay.snapshot_request") => vec![self.snapshot()],
            None if message["payload"]["type"] == "command" => self.answer_command(message),
            _ => Vec::new(),
        }
    }

    fn ends(&mut self, reason: &str, code: u16) {
        const TERMINAL: [&str; 4] = [
            "device_revoked",
            "stopped_by_desktop",
            "replaced_by_new_pair_start",
            "session_expired",
        ];
        if code == 1008 || TERMINAL.contains(&reason) {
            self.ended = Some(reason.to_owned());
        }
    }
}

//! What passed between clients and a relay, as lines of JSON, and the same without what differs from
//! one run to the next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One thing that passed, in the order in which it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Which HTTP call or websocket it belongs to, counted from 1.
    pub conversation: u32,
    #[serde(flatten)]
    pub what: What,
}

/// What passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A client calls with POST.
    Call { path: String, body: Value },
    /// The relay answers it.
    Answer { status: u16, body: Value },
    /// A client opens a websocket.
    Open { origin: Option<String> },
    /// It says something; text that is not JSON is a JSON string.
    Said(Value),
    /// The relay tells it something.
    Told(Value),
    /// The relay closes; 0 without a close frame.
    Closed { code: u16, reason: String },
    /// The client goes.
    Left {},
}

/// All lines, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transcript(pub Vec<Line>);

impl Transcript {
    /// Reads lines of JSON; `Err` names the first that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = lines.map(|(at, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1))
        });
        read.collect::<Result<_, _>>().map(Self)
    }

    pub fn to_text(&self) -> String {
        let line = |line: &Line| serde_json::to_string(line).expect("plain data") + "\n";
        self.0.iter().map(line).collect()
    }

    /// The same, one conversation after the other: what two of them do at one time has no order.
    #[must_use]
    pub fn by_conversation(mut self) -> Self {
        self.0.sort_by_key(|line| line.conversation);
        self
    }
}

/// Members whose value the relay makes.
const MADE: [&str; 6] = [
    "deviceID",
    "deviceSessionToken",
    "nextDeviceSessionToken",
    "requestID",
    "relayConnectionID",
    "relayDeviceID",
];
/// Members that hold a time.
const TIMES: [&str; 6] =
    ["requestedAt", "expiresAt", "joinedAt", "lastSeenAt", "timestamp", "createdAt"];

/// Puts names in the place of what the relay made and of times. What comes again gets the same name.
pub fn normalise(transcript: &Transcript) -> Transcript {
    let mut names = BTreeMap::new();
    let mut line = |line: &Line| {
        let mut value = serde_json::to_value(line).expect("plain data");
        learn(&value, &mut names);
        rename(&mut value, &names);
        serde_json::from_value(value).expect("the same shape")
    };
    Transcript(transcript.0.iter().map(&mut line).collect())
}

pub(super) fn is_made(member: &str) -> bool {
    MADE.contains(&member)
}

pub(super) fn is_time(member: &str) -> bool {
    TIMES.contains(&member)
}

fn learn(value: &Value, names: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                match value.as_str() {
                    // Ids that desktops make are shorter.
                    Some(text) if is_made(member) && text.len() >= 8 => {
                        let name = format!("<{member} {}>", names.len() + 1);
                        names.entry(text.to_owned()).or_insert(name);
                    }
                    _ => learn(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| learn(item, names)),
        _ => {}
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                match value {
                    Value::String(text) if is_time(member) => "<time>".clone_into(text),
                    Value::String(text) if member == "wsURL" => "<wsURL>".clone_into(text),
                    value => rename(value, names),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        Value::String(text) => {
            if let Some(name) = names.get(text) {
                text.clone_from(name);
            }
        }
        _ => {}
    }
}

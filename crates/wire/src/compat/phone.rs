//! What a phone sends, checked in the order that its clients know.

use super::{Object, SCHEMA_VERSIONS, WrongType, command, is_compact};
use crate::RawJson;

/// What a frame wants to be; told before anything else is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Snapshot,
    Command,
    Other,
}

/// Why a frame is not passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub error: &'static str,
    pub message: String,
}

impl Refusal {
    pub(super) fn new(error: &'static str, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

/// A frame whose form is right.
#[derive(Debug, Clone, PartialEq)]
pub enum Checked {
    Snapshot,
    Command(Command),
}

/// A command whose envelope is right.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    pub seq: u64,
    /// Absent only in `schemaVersion` 1.
    pub id: Option<String>,
    /// Whether what it asks is well formed; judged after sequence and budgets.
    pub asks: Result<(), Refusal>,
}

/// A text frame of a phone.
#[derive(Debug, Clone, PartialEq)]
pub struct FromPhone {
    pub kind: Kind,
    /// The top-level `sessionID`, if it is text.
    pub session_id: Option<String>,
    /// For the answer to a refused frame.
    pub command_id: Option<String>,
    pub seq: Option<u64>,
    pub checked: Result<Checked, Refusal>,
    object: Option<Object>,
}

impl FromPhone {
    /// Reads a frame of a session. `text_max`: bytes of the text of a command.
    pub fn parse(text: &str, session_id: &str, text_max: usize) -> Self {
        let Some(object) = Object::parse(text) else {
            let why = "Expected one JSON object without repeated members.";
            return Self {
                kind: Kind::Other,
                session_id: None,
                command_id: None,
                seq: None,
                checked: Err(Refusal::new("invalid_payload", why)),
                object: None,
            };
        };
        let payload = object.object("payload").ok().flatten();
        let inner = payload.as_ref().and_then(|p| p.object("payload").ok().flatten());
        let is = |o: Option<&Object>, kind| {
            o.and_then(|o| o.text("type").ok().flatten()).is_some_and(|t| t == kind)
        };
        let kind = if is(Some(&object), "relay.snapshot_request") {
            Kind::Snapshot
        } else if is(payload.as_ref(), "command") {
            Kind::Command
        } else {
            Kind::Other
        };
        let checked = match kind {
            Kind::Snapshot => snapshot(&object, session_id).map(|()| Checked::Snapshot),
            Kind::Command | Kind::Other => {
                envelope(&object, session_id, text_max).map(Checked::Command)
            }
        };
        Self {
            kind,
            session_id: object.text("sessionID").ok().flatten(),
            command_id: inner.and_then(|i| i.text("commandID").ok().flatten()),
            seq: object.number("seq").ok().flatten(),
            checked,
            object: Some(object),
        }
    }

    /// The frame as its desktop gets it: sender stamped, answers in the desktop's words.
    pub fn stamped(&self, connection: &str, device: &str) -> Option<RawJson> {
        let mut object = self.object.clone()?;
        object.remove("relayConnectionID");
        object.remove("relayDeviceID");
        if self.kind == Kind::Command {
            command::translate(&mut object);
        }
        object.set("relayConnectionID", RawJson::of(&connection).ok()?);
        object.set("relayDeviceID", RawJson::of(&device).ok()?);
        Some(object.to_json())
    }
}

fn snapshot(object: &Object, session_id: &str) -> Result<(), Refusal> {
    let refuse = |why: String| Refusal::new("invalid_snapshot_request", why);
    if let Some(name) = object.unknown(&["type", "sessionID", "reason", "lastSeq"]) {
        return Err(refuse(format!("Unexpected field {name}.")));
    }
    same_session(object, session_id, "invalid_session")?;
    let reason =
        object.text("reason").map_err(|WrongType| refuse("reason must be text.".to_owned()))?;
    if reason.is_some_and(|r| r.len() > 128) {
        return Err(refuse("reason has more than 128 bytes.".to_owned()));
    }
    let digits = |t: &str| (1..=20).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    let as_text = object.text("lastSeq").is_ok_and(|t| t.is_none_or(|t| digits(&t)));
    if !as_text && object.number("lastSeq").is_err() {
        return Err(refuse("lastSeq must be a number that is not negative.".to_owned()));
    }
    Ok(())
}

fn same_session(object: &Object, expected: &str, missing: &'static str) -> Result<(), Refusal> {
    match object.text("sessionID") {
        Ok(Some(id)) if id == expected => Ok(()),
        Ok(Some(_)) => Err(Refusal::new("invalid_session", "sessionID is another session's.")),
        _ => Err(Refusal::new(missing, "sessionID is required and must be text.")),
    }
}

fn envelope(object: &Object, session_id: &str, text_max: usize) -> Result<Command, Refusal> {
    const KNOWN: &[&str] = &[
        "schemaVersion",
        "sessionID",
        "seq",
        "timestamp",
        "payload",
        "relayConnectionID",
        "relayDeviceID",
    ];
    let refuse = |why: String| Refusal::new("invalid_command", why);
    if let Some(name) = object.unknown(KNOWN) {
        return Err(refuse(format!("Unexpected field {name}.")));
    }
    same_session(object, session_id, "invalid_command")?;
    let Ok(Some(version)) = object.number("schemaVersion") else {
        return Err(refuse("schemaVersion is required and must be a number.".to_owned()));
    };
    if !SCHEMA_VERSIONS.contains(&version) {
        let why = "Only schemaVersion 1 and 2 are supported.";
        return Err(Refusal::new("unsupported_schema", why));
    }
    let Ok(Some(payload)) = object.object("payload") else {
        return Err(refuse("payload is required and must be an object.".to_owned()));
    };
    if payload.text("type").ok().flatten().as_deref() != Some("command") {
        return Err(refuse("payload.type must be command.".to_owned()));
    }
    if let Some(name) = payload.unknown(&["type", "payload"]) {
        return Err(refuse(format!("Unexpected field payload.{name}.")));
    }
    let Ok(Some(inner)) = payload.object("payload") else {
        return Err(refuse("payload.payload is required and must be an object.".to_owned()));
    };
    command::members(&inner)?;
    let id = inner
        .text("commandID")
        .map_err(|WrongType| refuse("commandID must be text.".to_owned()))?;
    if id.as_deref().is_some_and(|id| !is_compact(id)) || (id.is_none() && version > 1) {
        let why = "commandID is required: 1 to 128 characters of A-Z a-z 0-9 : _ -";
        return Err(refuse(why.to_owned()));
    }
    let Ok(Some(seq)) = object.number("seq") else {
        return Err(refuse("seq is required and must be a number.".to_owned()));
    };
    Ok(Command { seq, id, asks: command::asks(&inner, text_max) })
}

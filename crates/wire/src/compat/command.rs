//! Commands of both vocabularies: `approval.respond` of schema 1, `runtime_request.respond` of 2.

use super::{Object, is_compact, phone::Refusal, request};
use crate::RawJson;

const MEMBERS: &[&str] = &[
    "name",
    "commandID",
    "threadID",
    "projectID",
    "text",
    "runtimeRequestID",
    "runtimeRequestKind",
    "runtimeRequestResponse",
    "approvalRequestID",
    "approvalDecision",
];

fn refuse(why: impl Into<String>) -> Refusal {
    Refusal::new("invalid_command", why)
}

/// Checks the members' names and that the command has one.
pub(super) fn members(command: &Object) -> Result<(), Refusal> {
    if let Some(name) = command.unknown(MEMBERS) {
        return Err(refuse(format!("Unexpected field payload.payload.{name}.")));
    }
    match command.text("name") {
        Ok(Some(_)) => Ok(()),
        _ => Err(refuse("payload.payload.name is required and must be text.")),
    }
}

/// Checks what a command asks. Members that it does not use may hold anything.
pub(super) fn asks(command: &Object, text_max: usize) -> Result<(), Refusal> {
    match command.text("name").ok().flatten().as_deref() {
        Some("thread.send_message") => {
            identifier(command, "threadID")?;
            match command.text("text") {
                Ok(Some(text)) if text.len() > text_max => {
                    Err(refuse(format!("text has more than {text_max} bytes.")))
                }
                Ok(Some(text)) if !text.trim().is_empty() => Ok(()),
                _ => Err(refuse("text is required and must not be blank.")),
            }
        }
        Some("thread.select") => identifier(command, "threadID"),
        Some("project.select") => identifier(command, "projectID"),
        Some("runtime_request.respond") => request::respond(command, text_max),
        Some("approval.respond") => {
            request::request_id(command, "approvalRequestID")?;
            match command.text("approvalDecision").ok().flatten().as_deref() {
                Some("approve_once" | "approve_for_session" | "decline") => Ok(()),
                _ => Err(refuse(
                    "approvalDecision must be approve_once, approve_for_session or decline.",
                )),
            }
        }
        _ => Err(refuse("Command name is not allowed.")),
    }
}

fn identifier(command: &Object, name: &str) -> Result<(), Refusal> {
    match command.text(name) {
        Ok(Some(id)) if is_compact(&id) => Ok(()),
        _ => Err(refuse(format!("{name} is required: 1 to 128 characters of A-Z a-z 0-9 : _ -"))),
    }
}

/// Puts an answer into words that every desktop knows; everything else stays as it came.
pub(super) fn translate(envelope: &mut Object) {
    let Ok(Some(mut payload)) = envelope.object("payload") else { return };
    let Ok(Some(mut command)) = payload.object("payload") else { return };
    if command.text("name").ok().flatten().as_deref() != Some("runtime_request.respond") {
        return;
    }
    let Ok(Some(mut response)) = command.object("runtimeRequestResponse") else { return };
    let Ok(Some(word)) = response.text("decision") else { return };
    let lower = word.to_ascii_lowercase();
    let known = match lower.as_str() {
        "accept" => "approve_once",
        "acceptforsession" => "approve_for_session",
        same if same == word => return,
        other => other,
    };
    let Ok(known) = RawJson::of(&known) else { return };
    response.set("decision", known);
    command.set("runtimeRequestResponse", response.to_json());
    payload.set("payload", command.to_json());
    envelope.set("payload", payload.to_json());
}

//! `runtime_request.respond`: the answer to something that the desktop asks.

use super::{Object, is_compact, phone::Refusal};

const KINDS: &[&str] =
    &["approval", "permissionsApproval", "userInput", "mcpElicitation", "dynamicToolCall"];
const RESPONSE: &[&str] = &["decision", "permissions", "scope", "text", "optionID", "approved"];
/// The relays' words and the desktop's, in lower case; the case of what is sent does not matter.
const DECISIONS: &[&str] = &[
    "accept",
    "acceptforsession",
    "decline",
    "cancel",
    "approve",
    "approve_once",
    "approve-once",
    "approve_for_session",
    "approve-session",
    "approveforsession",
    "reject",
];

fn refuse(why: impl Into<String>) -> Refusal {
    Refusal::new("invalid_command", why)
}

/// The id of a request: decimal digits.
pub(super) fn request_id(command: &Object, name: &str) -> Result<(), Refusal> {
    match command.text(name) {
        Ok(Some(id)) if id.len() <= 32 && id.bytes().all(|b| b.is_ascii_digit()) => Ok(()),
        _ => Err(refuse(format!("{name} must be text of at most 32 digits."))),
    }
}

pub(super) fn respond(command: &Object, text_max: usize) -> Result<(), Refusal> {
    request_id(command, "runtimeRequestID")?;
    match command.text("runtimeRequestKind") {
        Ok(None) => {}
        Ok(Some(kind)) if KINDS.contains(&kind.as_str()) => {}
        _ => {
            return Err(refuse(format!("runtimeRequestKind must be one of {}.", KINDS.join(", "))));
        }
    }
    let response = match command.object("runtimeRequestResponse") {
        Ok(Some(response)) if !response.is_empty() => response,
        _ => return Err(refuse("runtimeRequestResponse is required and must say something.")),
    };
    if let Some(name) = response.unknown(RESPONSE) {
        return Err(refuse(format!("Unexpected field runtimeRequestResponse.{name}.")));
    }
    answers(&response, text_max)
}

/// `null` is the same as absent: so a question is dismissed.
fn answers(response: &Object, text_max: usize) -> Result<(), Refusal> {
    let wrong = |name: &str, what: &str| {
        Err(refuse(format!("runtimeRequestResponse.{name} must be {what}.")))
    };
    match response.text("decision") {
        Ok(None) => {}
        Ok(Some(word)) if DECISIONS.contains(&word.to_ascii_lowercase().as_str()) => {}
        _ => return wrong("decision", "accept, acceptForSession, decline or cancel"),
    }
    let permissions = response.get("permissions").map(|v| serde_json::from_str(v.text()));
    match permissions {
        None => {}
        Some(Ok::<Vec<String>, _>(list)) if list.iter().all(|p| is_short(p, 256)) => {}
        Some(_) => return wrong("permissions", "texts of at most 256 bytes"),
    }
    match response.text("scope") {
        Ok(scope) if scope.as_deref().is_none_or(|s| is_short(s, 128)) => {}
        _ => return wrong("scope", "text of at most 128 bytes"),
    }
    match response.text("text") {
        Ok(text) if text.as_deref().is_none_or(|t| t.len() <= text_max) => {}
        _ => return wrong("text", &format!("text of at most {text_max} bytes")),
    }
    match response.text("optionID") {
        Ok(id) if id.as_deref().is_none_or(is_compact) => {}
        _ => return wrong("optionID", "1 to 128 characters of A-Z a-z 0-9 : _ -"),
    }
    match response.get("approved").map(crate::RawJson::text) {
        None | Some("true" | "false") => Ok(()),
        Some(_) => wrong("approved", "true or false"),
    }
}

/// Not blank, and not longer than `max` bytes.
fn is_short(text: &str, max: usize) -> bool {
    !text.trim().is_empty() && text.len() <= max
}

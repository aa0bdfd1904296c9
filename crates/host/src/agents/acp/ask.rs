//! What an ACP agent asks a person, and the shape of the answers.

use std::{collections::HashSet, path::Path};

use belay_wire::app::{ItemBody, RequestKind, RequestOption};
use serde_json::{Value, json};

use super::update::Turn;
use crate::agents::{AgentAsk, form, list, text};

/// A question that the agent waits for.
pub(super) struct Asked {
    pub(super) id: Value,
    pub(super) thread: String,
    /// The tool call that it is about.
    pub(super) tool: String,
    /// The form to fill; none for a permission.
    form: Option<Value>,
    /// Options that do not allow.
    refusing: HashSet<String>,
    /// The agent was given the answer and has not gone on yet.
    pub(super) answered: bool,
}

impl Asked {
    /// The answer as the agent wants it. Options are chosen by id, never by kind: two may share one.
    pub(super) fn result(
        &self,
        option: Option<String>,
        answers: &[(String, Vec<String>)],
    ) -> Result<Value, String> {
        let option = option.ok_or("choose one of the options")?;
        Ok(match &self.form {
            None => json!({ "outcome": { "outcome": "selected", "optionId": option } }),
            Some(schema) if option == "accept" => {
                json!({ "action": "accept", "content": form::content(schema, answers)? })
            }
            Some(_) => json!({ "action": option }),
        })
    }

    /// The answer when the person stops the turn.
    pub(super) fn cancelled(&self) -> Value {
        match self.form {
            None => json!({ "outcome": { "outcome": "cancelled" } }),
            Some(_) => json!({ "action": "cancel" }),
        }
    }

    pub(super) fn refuses(&self, option: &str) -> bool {
        self.refusing.contains(option)
    }
}

/// A permission for a tool that `turn` has.
pub(super) fn permission(
    key: &str,
    id: Value,
    params: &Value,
    turn: &Turn,
    folder: Option<&Path>,
) -> (Asked, AgentAsk) {
    let tool = text(&params["toolCall"], "toolCallId");
    let options: Vec<_> = list(params, "options").iter().map(option).collect();
    let refusing = options.iter().filter(|o| !o.allows).map(|o| o.id.clone()).collect();
    let (asked, mut ask) = bare(key, id, params, tool, options);
    let asked = Asked { refusing, ..asked };
    let item = turn.tool_item(&asked.tool);
    ask.item = item.as_ref().map(|i| i.id.clone());
    ask.cwd = folder.map(|f| f.display().to_string());
    let raw = &params["toolCall"]["rawInput"];
    ask.reason = raw["description"].as_str().or(raw["reason"].as_str()).map(str::to_owned);
    match item.map(|i| i.body) {
        Some(ItemBody::Command { command, cwd, .. }) => {
            ask.kind = RequestKind::Command;
            "Run a command".clone_into(&mut ask.title);
            ask.command = Some(command);
            ask.cwd = Some(cwd).filter(|cwd| !cwd.is_empty()).or(ask.cwd);
        }
        Some(ItemBody::FileChange { changes, .. }) => {
            ask.kind = RequestKind::FileChange;
            "Change files".clone_into(&mut ask.title);
            ask.changes = changes;
        }
        Some(ItemBody::Tool { title, text, .. }) => {
            ask.title = title;
            ask.reason = ask.reason.or_else(|| Some(text).filter(|text| !text.is_empty()));
        }
        _ => {}
    }
    (asked, ask)
}

/// A form (`elicitation/create`).
pub(super) fn elicitation(key: &str, id: Value, params: &Value) -> (Asked, AgentAsk) {
    let option = |id: &str, label: &str, allows| RequestOption {
        id: id.to_owned(),
        label: label.to_owned(),
        allows,
        reach: None,
    };
    let options = vec![option("accept", "Answer", true), option("decline", "Decline", false)];
    let schema = params["requestedSchema"].clone();
    let (asked, mut ask) = bare(key, id, params, text(params, "toolCallId"), options);
    ask.kind = RequestKind::Question;
    "A question".clone_into(&mut ask.title);
    ask.reason = Some(text(params, "message")).filter(|text| !text.is_empty());
    ask.questions = form::questions(&schema);
    (Asked { form: Some(schema), ..asked }, ask)
}

fn bare(
    key: &str,
    id: Value,
    params: &Value,
    tool: String,
    options: Vec<RequestOption>,
) -> (Asked, AgentAsk) {
    let ask = AgentAsk {
        key: key.to_owned(),
        item: None,
        kind: RequestKind::Permission,
        title: "Use a tool".to_owned(),
        command: None,
        cwd: None,
        reason: None,
        changes: Vec::new(),
        questions: Vec::new(),
        options,
    };
    let (thread, refusing) = (text(params, "sessionId"), HashSet::new());
    (Asked { id, thread, tool, form: None, refusing, answered: false }, ask)
}

fn option(value: &Value) -> RequestOption {
    let kind = text(value, "kind");
    let always = kind == "allow_always";
    RequestOption {
        id: text(value, "optionId"),
        label: text(value, "name"),
        allows: kind.starts_with("allow"),
        reach: always.then(|| "further requests, too; the agent does not say which".to_owned()),
    }
}

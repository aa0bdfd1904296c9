//! Codex's requests to a person, and the shape of their answers.

use std::collections::HashMap;

use belay_wire::app::{FileChange, Question, RequestKind, RequestOption};
use serde_json::{Map, Value, json};

use crate::agents::{AgentAsk, form, text};

/// A request that waits in the agent.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: Value,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    /// With the rule that "accept and remember" adds.
    Decision(Value),
    Answers,
    /// With the schema of the form.
    Elicitation(Value),
    /// With the permissions that were asked for.
    Permissions(Value),
}

impl Pending {
    /// The result that answers the request.
    pub(super) fn result(
        &self,
        option: Option<&str>,
        answers: &[(String, Vec<String>)],
    ) -> Result<Value, String> {
        let chosen = || option.ok_or_else(|| "choose one of the options".to_owned());
        match &self.shape {
            Shape::Decision(rule) => Ok(match chosen()? {
                REMEMBER => {
                    json!({ "decision": { REMEMBER: { "execpolicy_amendment": rule } } })
                }
                plain => json!({ "decision": plain }),
            }),
            Shape::Elicitation(schema) => match chosen()? {
                "accept" => {
                    Ok(json!({ "action": "accept", "content": form::content(schema, answers)? }))
                }
                other => Ok(json!({ "action": other })),
            },
            Shape::Permissions(asked) => Ok(match chosen()? {
                "decline" => json!({ "permissions": {}, "scope": "turn" }),
                scope => json!({ "permissions": asked, "scope": scope }),
            }),
            Shape::Answers => {
                let given: Map<_, _> = answers
                    .iter()
                    .map(|(id, answers)| (id.clone(), json!({ "answers": answers })))
                    .collect();
                Ok(json!({ "answers": given }))
            }
        }
    }
}

/// Reads a request; `None` for one that this host cannot answer.
pub(super) fn read(
    key: &str,
    id: &Value,
    method: &str,
    params: &Value,
    changes: &HashMap<String, Vec<FileChange>>,
) -> Option<(Pending, AgentAsk)> {
    let turn = params["turnId"].as_str();
    let item = params["itemId"].as_str().map(|id| super::item::item_id(turn, id));
    let some = |name: &str| params[name].as_str().map(str::to_owned);
    let mut ask = AgentAsk {
        key: key.to_owned(),
        item,
        kind: RequestKind::Command,
        title: "Run a command".to_owned(),
        command: some("command"),
        cwd: some("cwd"),
        reason: some("reason"),
        changes: Vec::new(),
        questions: Vec::new(),
        options: decisions(),
    };
    let shape = match method {
        "item/commandExecution/requestApproval" => {
            if let Some(host) = params["networkApprovalContext"]["host"].as_str() {
                ask.title = format!("Reach {host}");
            } else if params["kind"] == "writeStdin" {
                "Type into a running command".clone_into(&mut ask.title);
            }
            let rule = params["proposedExecpolicyAmendment"].clone();
            // Beside the other ways to accept.
            ask.options.splice(2..2, remember(&rule));
            Shape::Decision(rule)
        }
        "item/fileChange/requestApproval" => {
            ask.kind = RequestKind::FileChange;
            "Change files".clone_into(&mut ask.title);
            ask.cwd = some("grantRoot");
            ask.changes =
                ask.item.as_ref().and_then(|i| changes.get(i)).cloned().unwrap_or_default();
            Shape::Decision(Value::Null)
        }
        "item/tool/requestUserInput" => {
            ask.kind = RequestKind::Question;
            "A question".clone_into(&mut ask.title);
            ask.options.clear();
            ask.questions = questions(&params["questions"]);
            Shape::Answers
        }
        "mcpServer/elicitation/request" => {
            match params["mode"].as_str() {
                Some("url") => ask.command = some("url"),
                Some("form" | "openai/form" | "openaiForm") | None => {}
                Some(_) => return None,
            }
            ask.kind = RequestKind::Permission;
            ask.title = format!("{} asks", text(params, "serverName"));
            ask.reason = some("message");
            ask.questions = form::questions(&params["requestedSchema"]);
            ask.options = vec![
                option("accept", "Accept", true, None),
                option("decline", "Decline", false, None),
                option("cancel", "Cancel", false, None),
            ];
            Shape::Elicitation(params["requestedSchema"].clone())
        }
        "item/permissions/requestApproval" => {
            ask.kind = RequestKind::Permission;
            "More permissions".clone_into(&mut ask.title);
            ask.command = Some(params["permissions"].to_string());
            ask.options = vec![
                option("turn", "Allow for this turn", true, None),
                option("session", "Allow for this session", true, Some(SESSION_REACH)),
                option("decline", "Decline", false, None),
            ];
            Shape::Permissions(params["permissions"].clone())
        }
        _ => return None,
    };
    Some((Pending { id: id.clone(), shape }, ask))
}

/// How far an answer for the session reaches.
const SESSION_REACH: &str = "the same request again in this thread, unasked, until Codex restarts";

/// The agent's list of decisions is a hint; these four were seen to be obeyed.
fn decisions() -> Vec<RequestOption> {
    vec![
        option("accept", "Accept", true, None),
        option("acceptForSession", "Accept for this session", true, Some(SESSION_REACH)),
        option("decline", "Decline, go on", false, None),
        option("cancel", "Decline and stop", false, None),
    ]
}

/// The decision that also adds a rule.
const REMEMBER: &str = "acceptWithExecpolicyAmendment";

/// Codex may propose a rule for commands like this one.
fn remember(rule: &Value) -> Option<RequestOption> {
    let words: Vec<_> = rule.as_array()?.iter().filter_map(Value::as_str).collect();
    let reach =
        format!("every command that begins with `{}` runs unasked, for good", words.join(" "));
    (!words.is_empty()).then(|| option(REMEMBER, "Accept and remember", true, Some(&reach)))
}

fn option(id: &str, label: &str, allows: bool, reach: Option<&str>) -> RequestOption {
    let reach = reach.map(str::to_owned);
    RequestOption { id: id.to_owned(), label: label.to_owned(), allows, reach }
}

fn questions(value: &Value) -> Vec<Question> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let question = |q: &Value| Question {
        id: text(q, "id"),
        text: text(q, "question"),
        choices: labels(&q["options"], "label"),
        free: q["isOther"].as_bool().unwrap_or(false) || q["options"].is_null(),
        secret: q["isSecret"].as_bool().unwrap_or(false),
    };
    list.iter().map(question).collect()
}

fn labels(value: &Value, name: &str) -> Vec<String> {
    value.as_array().map(|list| list.iter().map(|o| text(o, name)).collect()).unwrap_or_default()
}

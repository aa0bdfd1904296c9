//! Codex's requests to a person, and the shape of their answers.

use std::collections::HashMap;

use belay_wire::app::{FileChange, Question, RequestKind, RequestOption};
use serde_json::{Map, Value, json};

use crate::agents::{AgentAsk, text};

/// A request that waits in the agent.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: Value,
    shape: Shape,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    Decision,
    Answers,
    Elicitation,
}

impl Pending {
    /// The result that answers the request.
    pub(super) fn result(
        &self,
        option: Option<&str>,
        answers: &[(String, Vec<String>)],
    ) -> Result<Value, String> {
        let chosen = || option.ok_or_else(|| "choose one of the options".to_owned());
        match self.shape {
            Shape::Decision => Ok(json!({ "decision": chosen()? })),
            Shape::Elicitation => Ok(json!({ "action": chosen()?, "content": content(answers) })),
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

fn content(answers: &[(String, Vec<String>)]) -> Value {
    let given: Map<_, _> = answers
        .iter()
        .filter_map(|(id, answers)| Some((id.clone(), answers.first()?.clone().into())))
        .collect();
    Value::Object(given)
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
        "item/commandExecution/requestApproval" => Shape::Decision,
        "item/fileChange/requestApproval" => {
            ask.kind = RequestKind::FileChange;
            "Change files".clone_into(&mut ask.title);
            ask.cwd = some("grantRoot");
            ask.changes =
                ask.item.as_ref().and_then(|i| changes.get(i)).cloned().unwrap_or_default();
            Shape::Decision
        }
        "item/tool/requestUserInput" => {
            ask.kind = RequestKind::Question;
            "A question".clone_into(&mut ask.title);
            ask.options.clear();
            ask.questions = questions(&params["questions"]);
            Shape::Answers
        }
        "mcpServer/elicitation/request" => {
            ask.kind = RequestKind::Permission;
            ask.title = format!("{} asks", text(params, "serverName"));
            ask.reason = some("message");
            ask.questions = schema_questions(&params["requestedSchema"]);
            ask.options = vec![
                option("accept", "Accept", true, None),
                option("decline", "Decline", false, None),
                option("cancel", "Cancel", false, None),
            ];
            Shape::Elicitation
        }
        _ => return None,
    };
    Some((Pending { id: id.clone(), shape }, ask))
}

/// The agent's list of decisions is a hint; these four were seen to be obeyed.
fn decisions() -> Vec<RequestOption> {
    vec![
        option("accept", "Accept", true, None),
        option(
            "acceptForSession",
            "Accept for this session",
            true,
            Some("the same request again in this thread, unasked, until Codex restarts"),
        ),
        option("decline", "Decline, go on", false, None),
        option("cancel", "Decline and stop", false, None),
    ]
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

fn schema_questions(schema: &Value) -> Vec<Question> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let question = |(id, schema): (&String, &Value)| Question {
        id: id.clone(),
        text: schema["title"].as_str().or(schema["description"].as_str()).unwrap_or(id).to_owned(),
        choices: labels(&schema["oneOf"], "const"),
        free: schema["oneOf"].is_null(),
        secret: false,
    };
    properties.iter().map(question).collect()
}

fn labels(value: &Value, name: &str) -> Vec<String> {
    value.as_array().map(|list| list.iter().map(|o| text(o, name)).collect()).unwrap_or_default()
}

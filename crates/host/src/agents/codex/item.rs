//! Codex's threads and items in Belay's words. Item types are an open set: what is not known passes
//! through.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use belay_wire::app::{FileChange, ItemBody, PlanStep, Progress, ThreadStatus};
use serde_json::Value;

use crate::agents::{AgentItem, ThreadInfo, text};

/// Reads a thread.
pub(super) fn thread(value: &Value) -> ThreadInfo {
    let name = value["name"].as_str().filter(|n| !n.is_empty());
    let title = name.map_or_else(|| text(value, "preview"), str::to_owned);
    let seconds = |name: &str| value[name].as_u64().unwrap_or_default() * 1_000;
    ThreadInfo {
        id: text(value, "id"),
        title: title.lines().next().unwrap_or_default().chars().take(120).collect(),
        folder: text(value, "cwd"),
        created_at: seconds("createdAt"),
        updated_at: seconds("updatedAt"),
    }
}

/// Reads a thread's status; `None` where it says nothing that a person needs.
pub(super) fn status(value: &Value) -> Option<ThreadStatus> {
    match value["type"].as_str()? {
        "idle" => Some(ThreadStatus::Idle),
        "active" => {
            let flags = value["activeFlags"].as_array()?;
            let waits =
                flags.iter().any(|f| f.as_str().is_some_and(|f| f.starts_with("waitingOn")));
            Some(if waits { ThreadStatus::Waiting } else { ThreadStatus::Running })
        }
        "notLoaded" => Some(ThreadStatus::Stored),
        "systemError" => Some(ThreadStatus::Failed),
        _ => None,
    }
}

/// All items of a thread's turns.
pub(super) fn of_turns(thread: &Value) -> Vec<AgentItem> {
    let turns = thread["turns"].as_array().map(Vec::as_slice).unwrap_or_default();
    turns
        .iter()
        .flat_map(|turn| {
            let id = turn["id"].as_str().map(str::to_owned);
            let items = turn["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().filter_map(move |item| read(item, id.clone(), true))
        })
        .collect()
}

/// Tells whether a prompt with this client id is in the thread.
pub(super) fn contains_client_id(thread: &Value, command: &str) -> bool {
    let turns = thread["turns"].as_array().map(Vec::as_slice).unwrap_or_default();
    let items = turns.iter().filter_map(|turn| turn["items"].as_array()).flatten();
    items.into_iter().any(|item| item["clientId"] == command)
}

/// Item ids come from the model's provider, which may give them again in another turn.
pub(super) fn item_id(turn: Option<&str>, id: &str) -> String {
    turn.map_or_else(|| id.to_owned(), |turn| format!("{turn}/{id}"))
}

/// Reads an item.
pub(super) fn read(item: &Value, turn: Option<String>, done: bool) -> Option<AgentItem> {
    let id = item_id(turn.as_deref(), item["id"].as_str()?);
    let progress = progress(item["status"].as_str(), done);
    let body = match item["type"].as_str()? {
        "userMessage" => ItemBody::User {
            text: contents(&item["content"]),
            command: item["clientId"].as_str().map(str::to_owned),
        },
        "agentMessage" => ItemBody::Message { text: text(item, "text"), done },
        "reasoning" => {
            let summary = joined(&item["summary"]);
            if done && summary.is_empty() {
                return None;
            }
            ItemBody::Reasoning { text: summary, done }
        }
        "commandExecution" => {
            let output = text(item, "aggregatedOutput");
            ItemBody::Command {
                command: text(item, "command"),
                cwd: text(item, "cwd"),
                progress,
                output_bytes: output.len() as u64,
                output,
                exit_code: item["exitCode"].as_i64(),
                duration_ms: item["durationMs"].as_u64(),
            }
        }
        "fileChange" => ItemBody::FileChange { changes: changes(&item["changes"]), progress },
        "mcpToolCall" => ItemBody::Tool {
            title: format!("{}: {}", text(item, "server"), text(item, "tool")),
            progress,
            text: pretty(&item["result"]),
        },
        "webSearch" => ItemBody::Tool {
            title: format!("Web search: {}", text(item, "query")),
            progress,
            text: String::new(),
        },
        other => ItemBody::Other { name: other.to_owned(), value: item.clone() },
    };
    Some(AgentItem { id, turn, body })
}

/// Reads a plan, which belongs to its turn.
pub(super) fn plan(params: &Value) -> Option<AgentItem> {
    let turn = params["turnId"].as_str()?.to_owned();
    let steps = params["plan"].as_array()?;
    let step = |s: &Value| PlanStep { text: text(s, "step"), status: text(s, "status") };
    Some(AgentItem {
        id: format!("plan-{turn}"),
        turn: Some(turn),
        body: ItemBody::Plan { steps: steps.iter().map(step).collect() },
    })
}

fn progress(status: Option<&str>, done: bool) -> Progress {
    match status {
        Some("failed") => Progress::Failed,
        Some("declined") => Progress::Declined,
        Some("completed") => Progress::Completed,
        _ if done => Progress::Completed,
        _ => Progress::Running,
    }
}

/// Reads changed files.
pub(super) fn changes(value: &Value) -> Vec<FileChange> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let change = |c: &Value| FileChange {
        path: text(c, "path"),
        change: c["kind"]["type"].as_str().or(c["kind"].as_str()).unwrap_or("update").to_owned(),
        diff: text(c, "diff"),
    };
    list.iter().map(change).collect()
}

fn contents(value: &Value) -> String {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let part = |c: &Value| match c["type"].as_str() {
        Some("text") => text(c, "text"),
        Some(other) => format!("[{other}]"),
        None => String::new(),
    };
    list.iter().map(part).collect::<Vec<_>>().join("\n")
}

fn joined(value: &Value) -> String {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let part = |v: &Value| v.as_str().map_or_else(|| text(v, "text"), str::to_owned);
    list.iter().map(part).collect::<Vec<_>>().join("\n\n")
}

fn pretty(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

//! `session/update` in Belay's words. Kinds are an open set: what is not known passes through.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::collections::HashMap;

use belay_wire::app::{FileChange, ItemBody, PlanStep, Progress};
use serde_json::{Map, Value};

use crate::{
    agents::{AgentEvent, AgentItem, ThreadInfo, list, text},
    clock::unix_ms,
};

/// Updates that say nothing a person needs.
const QUIET: &[&str] = &[
    "available_commands_update",
    "current_mode_update",
    "config_option_update",
    "session_info_update",
    "usage_update",
];

/// What a turn has said so far.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) id: String,
    /// Tools by id: all members that any update brought, later ones winning.
    tools: HashMap<String, Map<String, Value>>,
    declined: Vec<String>,
    /// The text that grows now: its item and kind.
    open: Option<(String, &'static str)>,
    texts: usize,
    /// Items of a replay, in their order.
    replayed: Vec<AgentItem>,
    /// No turn's end will come for what is said here.
    is_late: bool,
}

/// Tells whether an update says nothing that a person needs.
pub(super) fn is_quiet(update: &Value) -> bool {
    update["sessionUpdate"].as_str().is_some_and(|kind| QUIET.contains(&kind))
}

impl Turn {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            tools: HashMap::new(),
            declined: Vec::new(),
            open: None,
            texts: 0,
            replayed: Vec::new(),
            is_late: false,
        }
    }

    /// For what an agent says while no turn runs.
    pub(super) fn late() -> Self {
        Self { is_late: true, ..Self::new(format!("late-{}", unix_ms())) }
    }

    fn item_id(&self, id: &str) -> String {
        format!("{}/{id}", self.id)
    }

    fn turn(&self) -> Option<String> {
        Some(self.id.clone()).filter(|id| !id.is_empty())
    }

    /// What one update means.
    pub(super) fn apply(&mut self, thread: &str, update: &Value) -> Vec<AgentEvent> {
        let thread_id = thread.to_owned();
        match update["sessionUpdate"].as_str().unwrap_or_default() {
            "agent_message_chunk" => self.chunk(thread, update, "message"),
            "agent_thought_chunk" => self.chunk(thread, update, "reasoning"),
            "tool_call" | "tool_call_update" => self.apply_tool(thread, update),
            "plan" => {
                let step =
                    |s: &Value| PlanStep { text: text(s, "content"), status: text(s, "status") };
                let body =
                    ItemBody::Plan { steps: list(update, "entries").iter().map(step).collect() };
                let item = AgentItem { id: self.item_id("plan"), turn: self.turn(), body };
                vec![AgentEvent::Item { thread: thread_id, item }]
            }
            // A live turn's prompt is the host's own item.
            "user_message_chunk" => Vec::new(),
            _ if is_quiet(update) => Vec::new(),
            other => {
                self.texts += 1;
                let body = ItemBody::Other { name: other.to_owned(), value: update.clone() };
                let id = self.item_id(&format!("other-{}", self.texts));
                let item = AgentItem { id, turn: self.turn(), body };
                vec![AgentEvent::Item { thread: thread_id, item }]
            }
        }
    }

    /// Text comes in chunks without a beginning: a chunk of another kind or message starts a new item.
    fn chunk(&mut self, thread: &str, update: &Value, kind: &'static str) -> Vec<AgentEvent> {
        let more = text(&update["content"], "text");
        let named = update["messageId"].as_str().map(|id| self.item_id(&format!("{kind}-{id}")));
        let same = self.open.as_ref().is_some_and(|(item, k)| {
            *k == kind && named.as_ref().is_none_or(|named| named == item)
        });
        let mut events = Vec::new();
        if !same {
            self.texts += 1;
            let id = named.unwrap_or_else(|| self.item_id(&format!("{kind}-{}", self.texts)));
            let done = self.is_late;
            let body = match kind {
                "message" => ItemBody::Message { text: String::new(), done },
                _ => ItemBody::Reasoning { text: String::new(), done },
            };
            let item = AgentItem { id: id.clone(), turn: self.turn(), body };
            events.push(AgentEvent::Item { thread: thread.to_owned(), item });
            self.open = Some((id, kind));
        }
        if let Some((item, _)) = &self.open {
            let (thread, item) = (thread.to_owned(), item.clone());
            events.push(AgentEvent::Delta { thread, item, text: more });
        }
        events
    }

    /// Merges what is told of a tool.
    pub(super) fn apply_tool(&mut self, thread: &str, update: &Value) -> Vec<AgentEvent> {
        let Some(members) = update.as_object() else { return Vec::new() };
        let id = text(update, "toolCallId");
        self.open = None;
        let known = self.tools.entry(id.clone()).or_default();
        for (name, value) in members {
            // An empty list or null of a later update does not take back what was told.
            let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            if !empty {
                known.insert(name.clone(), value.clone());
            }
        }
        let item = self.tool_item(&id);
        item.map(|item| AgentEvent::Item { thread: thread.to_owned(), item }).into_iter().collect()
    }

    /// A tool as an item.
    pub(super) fn tool_item(&self, id: &str) -> Option<AgentItem> {
        let tool = Value::Object(self.tools.get(id)?.clone());
        let declined = self.declined.iter().any(|d| d == id);
        let body = tool_body(&tool, declined);
        Some(AgentItem { id: self.item_id(id), turn: self.turn(), body })
    }

    /// A person refused a tool.
    pub(super) fn declined(&mut self, id: &str) -> Option<AgentItem> {
        self.declined.push(id.to_owned());
        self.tool_item(id)
    }

    /// One update of a replayed history.
    pub(super) fn replay(&mut self, update: &Value) {
        if update["sessionUpdate"] == "user_message_chunk" {
            self.texts += 1;
            self.open = None;
            let body = ItemBody::User { text: text(&update["content"], "text"), command: None };
            let id = self.item_id(&format!("user-{}", self.texts));
            self.replayed.push(AgentItem { id, turn: None, body });
            return;
        }
        for event in self.apply("", update) {
            match event {
                AgentEvent::Item { item, .. } => self.put(item),
                AgentEvent::Delta { item, text: more, .. } => self.grow(&item, &more),
                _ => {}
            }
        }
    }

    fn put(&mut self, item: AgentItem) {
        match self.replayed.iter_mut().find(|held| held.id == item.id) {
            Some(held) => *held = item,
            None => self.replayed.push(item),
        }
    }

    fn grow(&mut self, id: &str, more: &str) {
        let held = self.replayed.iter_mut().find(|held| held.id == id);
        if let Some(ItemBody::Message { text, .. } | ItemBody::Reasoning { text, .. }) =
            held.map(|h| &mut h.body)
        {
            text.push_str(more);
        }
    }

    /// The items of a replay; what was open then is over now.
    pub(super) fn into_items(self) -> Vec<AgentItem> {
        let mut items = self.replayed;
        for item in &mut items {
            match &mut item.body {
                ItemBody::Message { done, .. } | ItemBody::Reasoning { done, .. } => *done = true,
                ItemBody::Command { progress, .. }
                | ItemBody::FileChange { progress, .. }
                | ItemBody::Tool { progress, .. }
                    if *progress == Progress::Running =>
                {
                    *progress = Progress::Failed;
                }
                _ => {}
            }
        }
        items
    }
}

fn tool_body(tool: &Value, declined: bool) -> ItemBody {
    let progress = match tool["status"].as_str() {
        Some("failed" | "pending" | "in_progress") | None if declined => Progress::Declined,
        Some("completed") => Progress::Completed,
        Some("failed") => Progress::Failed,
        _ => Progress::Running,
    };
    let changes = changes(tool);
    if !changes.is_empty() {
        return ItemBody::FileChange { changes, progress };
    }
    let output = contents(tool);
    if tool["kind"] == "execute" {
        let command = tool["rawInput"]["command"].as_str().map(str::to_owned);
        let exit_code = tool["rawOutput"]["metadata"]["exit"].as_i64();
        // Some agents call a command completed whatever its exit code.
        let failed = progress == Progress::Completed && exit_code.is_some_and(|code| code != 0);
        return ItemBody::Command {
            command: command.unwrap_or_else(|| text(tool, "title")),
            cwd: text(&tool["rawInput"], "cwd"),
            progress: if failed { Progress::Failed } else { progress },
            output_bytes: output.len() as u64,
            output,
            exit_code,
            duration_ms: None,
        };
    }
    ItemBody::Tool { title: text(tool, "title"), progress, text: output }
}

fn changes(tool: &Value) -> Vec<FileChange> {
    let diffs = list(tool, "content").iter().filter(|c| c["type"] == "diff");
    let given = tool["rawInput"]["diff"].as_str();
    diffs
        .map(|c| {
            let old = text(c, "oldText");
            let added = old.is_empty();
            FileChange {
                path: text(c, "path"),
                change: if added { "add" } else { "update" }.to_owned(),
                diff: match given {
                    Some(diff) if !added => diff.to_owned(),
                    _ => text(c, "newText"),
                },
            }
        })
        .collect()
}

fn contents(tool: &Value) -> String {
    let part = |c: &Value| text(&c["content"], "text");
    let parts: Vec<_> = list(tool, "content").iter().map(part).filter(|t| !t.is_empty()).collect();
    parts.join("\n")
}

/// A session as `session/list` tells it.
pub(super) fn thread(value: &Value) -> ThreadInfo {
    ThreadInfo {
        id: text(value, "sessionId"),
        title: text(value, "title"),
        folder: text(value, "cwd"),
        created_at: 0,
        updated_at: 0,
    }
}

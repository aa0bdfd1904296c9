//! What stands in a conversation.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// One entry of a thread, upserted by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct Item {
    pub id: String,
    /// The turn that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
    /// Place in the thread, from 1; later items have higher numbers.
    pub ord: u64,
    /// Grows with every change; the higher one wins.
    pub rev: u64,
    /// First seen, Unix milliseconds.
    pub at: u64,
    pub body: ItemBody,
}

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum Progress {
    Running,
    Completed,
    Failed,
    Declined,
}

/// The kinds of items. The set is open: what a host does not know passes as `Other`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[ts(optional_fields)]
pub enum ItemBody {
    /// A prompt; `command` is the id of the command that brought it, if one did.
    User {
        text: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
    },
    /// The agent's words, in Markdown.
    Message { text: String, done: bool },
    /// A summary of the agent's reasoning.
    Reasoning { text: String, done: bool },
    /// What the agent means to do.
    Plan { steps: Vec<PlanStep> },
    /// A command line and what it printed. `output` holds at most the last 4 KiB unless the item
    /// was asked for whole.
    Command {
        command: String,
        cwd: String,
        progress: Progress,
        output: String,
        /// Bytes in all, also those that are not in `output`.
        output_bytes: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
    },
    /// Changed files with their diffs.
    FileChange { changes: Vec<FileChange>, progress: Progress },
    /// A tool that is neither.
    Tool { title: String, progress: Progress, text: String },
    /// The host's own words: an agent restarted, an approval became void.
    Notice { text: String },
    /// Something this version has no shape for.
    Other {
        name: String,
        #[ts(type = "unknown")]
        value: serde_json::Value,
    },
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct FileChange {
    pub path: String,
    /// `add`, `delete`, `update` or the agent's own word.
    pub change: String,
    /// Unified diff or the whole new text, as the agent gave it.
    pub diff: String,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct PlanStep {
    pub text: String,
    /// `pending`, `inProgress`, `completed` or the agent's own word.
    pub status: String,
}

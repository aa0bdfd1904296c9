//! What a member sees of agents, threads and pending requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{CommandView, FileChange};

/// State of an agent's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum AgentState {
    Starting,
    Ready,
    Restarting,
    /// Not running, with the cause in `text`.
    Down,
}

/// An agent of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct AgentView {
    /// `codex`, `acp`, `scripted`.
    pub id: String,
    pub name: String,
    pub version: String,
    pub state: AgentState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// When `state` was last known, Unix milliseconds.
    pub seen_at: u64,
}

/// What a thread does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum ThreadStatus {
    /// Known, not loaded in its agent.
    Stored,
    Idle,
    Running,
    /// A pending request holds it.
    Waiting,
    Failed,
}

/// A conversation with an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct ThreadView {
    pub id: String,
    pub agent: String,
    pub title: String,
    pub folder: String,
    /// Unix milliseconds.
    pub created_at: u64,
    pub updated_at: u64,
    pub status: ThreadStatus,
    /// Cause of `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub archived: bool,
    pub rev: u64,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum RequestKind {
    Command,
    Permission,
    FileChange,
    Question,
}

/// Where a pending request stands. `Open → Answered → Resolved`, or `Void`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub enum RequestState {
    Open,
    /// The desktop has the answer and gave it to the agent.
    Answered,
    /// The agent has taken the answer.
    Resolved,
    /// Nobody can answer any more: the agent restarted or the turn ended.
    Void,
}

/// One way to answer, in the agent's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct RequestOption {
    pub id: String,
    pub label: String,
    /// True if it allows something.
    pub allows: bool,
    /// How far it reaches, when it reaches further than this request; such an option takes a
    /// second tap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<String>,
}

/// A question with its choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    pub id: String,
    pub text: String,
    pub choices: Vec<String>,
    /// Own words are allowed.
    pub free: bool,
    /// The answer must not be shown.
    pub secret: bool,
}

/// Who answered, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Name of the device.
    pub by: String,
    /// Label of the option, or the answers.
    pub label: String,
    /// Unix milliseconds.
    pub at: u64,
    /// The command that brought it.
    pub command: String,
}

/// A request of an agent that waits for a person: state, not an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct RequestView {
    pub id: String,
    pub thread: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    pub kind: RequestKind,
    pub title: String,
    /// The exact command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(as = "Option<Vec<FileChange>>")]
    pub changes: Vec<FileChange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[ts(as = "Option<Vec<Question>>")]
    pub questions: Vec<Question>,
    pub options: Vec<RequestOption>,
    /// Unix milliseconds; its age follows.
    pub asked_at: u64,
    pub state: RequestState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Why it is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub rev: u64,
}

/// The full state of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotBody {
    pub host: String,
    pub agents: Vec<AgentView>,
    pub folders: Vec<String>,
    /// The newest threads that are not archived.
    pub threads: Vec<ThreadView>,
    /// All that are open or answered, and the newest that are not.
    pub requests: Vec<super::RequestView>,
    /// Commands whose effect is unknown.
    pub commands: Vec<CommandView>,
    /// Extension members of newer hosts pass through.
    #[serde(flatten)]
    #[ts(skip)]
    pub more: BTreeMap<String, serde_json::Value>,
}

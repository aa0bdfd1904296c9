//! Agents: each runs in its own task, takes [`AgentCall`]s and tells [`AgentEvent`]s.

pub mod acp;
pub mod codex;
pub mod find;
mod form;
pub mod scripted;
mod supervise;

use belay_wire::app::{
    AgentState, FileChange, ItemBody, Question, RequestKind, RequestOption, ThreadStatus,
};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// Calls and events that may wait.
pub const QUEUE_LEN: usize = 256;

/// Why an agent did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AgentError {
    /// Refused or failed; nothing was done.
    #[error("{0}")]
    Refused(String),
    /// The agent ended in between: it may or may not have been done.
    #[error("the agent ended before it answered")]
    Unknown,
    /// The agent is not running, so nothing was done.
    #[error("the agent is not running: {0}")]
    Down(String),
}

/// The agent's own id of a thread.
pub type NativeId = String;

/// What an agent is asked.
#[derive(Debug)]
pub enum AgentRequest {
    /// The threads that the agent knows, newest first.
    List,
    /// A new thread in a folder.
    Start {
        folder: String,
    },
    /// Loads a thread that works in this folder.
    Resume {
        thread: NativeId,
        folder: String,
    },
    Rename {
        thread: NativeId,
        title: String,
    },
    Archive {
        thread: NativeId,
    },
    /// A prompt; `command` marks it, so that it can be found again.
    Turn {
        thread: NativeId,
        folder: String,
        text: String,
        command: String,
    },
    Interrupt {
        thread: NativeId,
    },
    /// Tells whether a marked prompt is in the thread.
    Find {
        thread: NativeId,
        command: String,
    },
    /// Answers a request by option, or by answers to its questions.
    Answer {
        key: String,
        option: Option<String>,
        answers: Vec<(String, Vec<String>)>,
    },
}

/// What an agent answers.
#[derive(Debug)]
pub enum AgentReply {
    Done,
    Thread(ThreadInfo),
    /// A loaded thread, with its items if the agent gives them.
    Loaded(ThreadInfo, Vec<AgentItem>),
    Threads(Vec<ThreadInfo>),
    Found(bool),
}

/// A request with the place for its answer.
#[derive(Debug)]
pub struct AgentCall {
    pub request: AgentRequest,
    pub reply: oneshot::Sender<Result<AgentReply, AgentError>>,
}

/// A thread as its agent describes it.
#[derive(Debug, Clone, Default)]
pub struct ThreadInfo {
    pub id: NativeId,
    pub title: String,
    pub folder: String,
    /// Unix milliseconds.
    pub created_at: u64,
    pub updated_at: u64,
}

/// An item of an agent.
#[derive(Debug, Clone)]
pub struct AgentItem {
    pub id: String,
    pub turn: Option<String>,
    pub body: ItemBody,
}

/// A request of an agent that waits for a person.
#[derive(Debug, Clone)]
pub struct AgentAsk {
    /// Names the request within this run of the agent.
    pub key: String,
    pub item: Option<String>,
    pub kind: RequestKind,
    pub title: String,
    pub command: Option<String>,
    pub cwd: Option<String>,
    pub reason: Option<String>,
    pub changes: Vec<FileChange>,
    pub questions: Vec<Question>,
    pub options: Vec<RequestOption>,
}

/// What an agent tells.
#[derive(Debug)]
pub enum AgentEvent {
    /// Its process; `text` is the cause when it is not well.
    State {
        state: AgentState,
        version: String,
        pid: Option<u32>,
        text: Option<String>,
    },
    /// The process is new: requests of the former one are void.
    Restarted,
    Item {
        thread: NativeId,
        item: AgentItem,
    },
    /// What the agent remembers of a thread that it loaded.
    History {
        thread: NativeId,
        items: Vec<AgentItem>,
    },
    /// Text that follows what the item has.
    Delta {
        thread: NativeId,
        item: String,
        text: String,
    },
    Status {
        thread: NativeId,
        status: ThreadStatus,
        error: Option<String>,
    },
    /// A turn is over: what it left open stays as it is.
    TurnEnded {
        thread: NativeId,
        turn: String,
    },
    Title {
        thread: NativeId,
        title: String,
    },
    /// The agent told its own name.
    Named(String),
    Ask {
        thread: NativeId,
        ask: Box<AgentAsk>,
    },
    /// The agent took an answer, or withdrew the request.
    Resolved {
        key: String,
    },
}

/// The handle to a running agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// `codex`, `acp-<program>`, `scripted`: threads of different agents never share an id.
    pub id: String,
    pub name: String,
    calls: mpsc::Sender<AgentCall>,
}

impl Agent {
    /// A handle whose calls go to this sender.
    pub fn new(id: impl Into<String>, name: String, calls: mpsc::Sender<AgentCall>) -> Self {
        Self { id: id.into(), name, calls }
    }

    /// Asks the agent and waits for its answer.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn ask(&self, request: AgentRequest) -> Result<AgentReply, AgentError> {
        let (reply, answer) = oneshot::channel();
        let down = || AgentError::Down("it stopped".to_owned());
        self.calls.send(AgentCall { request, reply }).await.map_err(|_| down())?;
        answer.await.unwrap_or(Err(AgentError::Unknown))
    }
}

/// A member that is a list, or nothing.
pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text member of a JSON object, or nothing.
pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

//! Codex by its native `codex app-server`. Only the methods named in [`METHODS`] are ever sent;
//! a member never chooses a method name.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

mod ask;
mod item;

use std::collections::{HashMap, HashSet};

use belay_wire::app::{AgentState, ThreadStatus};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::{
    Agent, AgentCall, AgentError, AgentEvent, AgentItem, AgentReply, AgentRequest, QUEUE_LEN,
    ThreadInfo, list,
    supervise::{Process, supervise},
    text,
};
use crate::rpc::{Incoming, Launch, Rpc, RpcError};

macro_rules! methods {
    ($($name:ident = $text:literal,)*) => {
        /// The client methods that this host uses. There is no other way to call one.
        #[derive(Debug, Clone, Copy)]
        enum Method { $($name),* }

        impl Method {
            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }

        /// Their names; a test compares them with the generated schema.
        pub const METHODS: &[&str] = &[$($text),*];
    };
}

methods! {
    Initialize = "initialize",
    ThreadStart = "thread/start",
    ThreadResume = "thread/resume",
    ThreadRead = "thread/read",
    ThreadList = "thread/list",
    ThreadNameSet = "thread/name/set",
    ThreadArchive = "thread/archive",
    TurnStart = "turn/start",
    TurnInterrupt = "turn/interrupt",
}

async fn call(rpc: &Rpc, method: Method, params: Value) -> Result<Value, RpcError> {
    rpc.call(method.text(), params).await
}

/// Threads that one page of a listing has, and pages that are read.
const LIST_LIMIT: u32 = 50;
const LIST_PAGES_MAX: usize = 10;

/// Starts Codex and keeps it running.
pub fn start(launch: Launch, processes: &TaskTracker) -> (Agent, mpsc::Receiver<AgentEvent>) {
    let (calls, queue) = mpsc::channel(QUEUE_LEN);
    let (events, told) = mpsc::channel(QUEUE_LEN);
    tokio::spawn(supervise(launch, processes.clone(), queue, events, Run::new));
    (Agent::new("codex", "Codex".to_owned(), calls), told)
}

/// One process.
struct Run {
    rpc: Rpc,
    events: mpsc::Sender<AgentEvent>,
    /// Threads that this process has loaded.
    loaded: HashSet<String>,
    /// The running turn of each thread.
    turns: HashMap<String, String>,
    /// Open requests: our key to the agent's id and method.
    asks: HashMap<String, ask::Pending>,
    /// File changes by item, because their approvals carry no diff.
    changes: HashMap<String, Vec<belay_wire::app::FileChange>>,
    /// Distinguishes requests of this process from those of others.
    generation: u64,
}

impl Process for Run {
    async fn serve(
        mut self,
        incoming: mpsc::Receiver<Incoming>,
        queue: &mut mpsc::Receiver<AgentCall>,
    ) -> Option<String> {
        self.serve_all(incoming, queue).await
    }
}

type Answered = (tokio::sync::oneshot::Sender<Result<AgentReply, AgentError>>, Done);

/// The end of a call that ran beside the loop.
struct Done {
    result: Result<AgentReply, AgentError>,
    loaded: Option<String>,
    turn: Option<(String, String)>,
}

impl Run {
    fn new(rpc: Rpc, events: mpsc::Sender<AgentEvent>) -> Self {
        Self {
            rpc,
            events,
            loaded: HashSet::new(),
            turns: HashMap::new(),
            asks: HashMap::new(),
            changes: HashMap::new(),
            generation: crate::clock::unix_ms(),
        }
    }

    async fn serve_all(
        &mut self,
        mut incoming: mpsc::Receiver<Incoming>,
        queue: &mut mpsc::Receiver<AgentCall>,
    ) -> Option<String> {
        let (done, mut answered) = mpsc::channel::<Answered>(QUEUE_LEN);
        let mut ready = Box::pin(initialize(self.rpc.clone()));
        let mut is_ready = false;
        loop {
            tokio::select! {
                started = &mut ready, if !is_ready => match started {
                    Ok(version) => {
                        is_ready = true;
                        let (state, pid) = (AgentState::Ready, self.rpc.pid);
                        self.tell(AgentEvent::Restarted).await;
                        self.tell(AgentEvent::State { state, version, pid, text: None }).await;
                    }
                    Err(error) => return Some(format!("it did not start: {error}")),
                },
                said = incoming.recv() => match said {
                    Some(Incoming::Notification { method, params }) => self.hear(&method, params).await,
                    Some(Incoming::Request { id, method, params }) => self.asked(id, &method, params).await,
                    Some(Incoming::Answer { .. }) => {}
                    Some(Incoming::Ended { reason }) => return Some(reason),
                    None => return Some("it ended".to_owned()),
                },
                call = queue.recv(), if is_ready => match call {
                    Some(call) => self.begin(call, done.clone()).await,
                    None => return None,
                },
                Some((reply, ended)) = answered.recv() => {
                    self.loaded.extend(ended.loaded);
                    self.turns.extend(ended.turn);
                    let _ = reply.send(ended.result);
                }
            }
        }
    }

    async fn tell(&self, event: AgentEvent) {
        let _ = self.events.send(event).await;
    }

    /// Starts a call; its answer comes back by `done`, so that the loop goes on hearing.
    async fn begin(&mut self, call: AgentCall, done: mpsc::Sender<Answered>) {
        if let AgentRequest::Answer { key, option, answers } = call.request {
            let result = self.answer(&key, option.as_deref(), &answers).await;
            let _ = call.reply.send(result);
            return;
        }
        let (rpc, events) = (self.rpc.clone(), self.events.clone());
        let thread = match &call.request {
            AgentRequest::Turn { thread, .. } | AgentRequest::Resume { thread, .. } => Some(thread),
            _ => None,
        };
        let is_loaded = thread.is_some_and(|t| self.loaded.contains(t));
        let turn = match &call.request {
            AgentRequest::Interrupt { thread } => self.turns.get(thread).cloned(),
            _ => None,
        };
        tokio::spawn(async move {
            let ended = execute(&rpc, call.request, is_loaded, turn, &events).await;
            let _ = done.send((call.reply, ended)).await;
        });
    }

    async fn answer(
        &mut self,
        key: &str,
        option: Option<&str>,
        answers: &[(String, Vec<String>)],
    ) -> Result<AgentReply, AgentError> {
        let gone = || AgentError::Refused("this request is no longer open".to_owned());
        let pending = self.asks.get(key).ok_or_else(gone)?;
        let result = pending.result(option, answers).map_err(AgentError::Refused)?;
        self.rpc.answer(pending.id.clone(), result).await.map_err(|_| AgentError::Unknown)?;
        Ok(AgentReply::Done)
    }

    async fn asked(&mut self, id: Value, method: &str, params: Value) {
        let key = format!("{}-{id}", self.generation);
        let Some((pending, ask)) = ask::read(&key, &id, method, &params, &self.changes) else {
            let _ = self.rpc.refuse(id, -32601, "not supported by this client").await;
            return;
        };
        let thread = text(&params, "threadId");
        self.asks.insert(key, pending);
        self.tell(AgentEvent::Ask { thread, ask: Box::new(ask) }).await;
    }

    async fn hear(&mut self, method: &str, params: Value) {
        let thread = text(&params, "threadId");
        match method {
            "item/started" | "item/completed" => {
                let done = method == "item/completed";
                let turn = params["turnId"].as_str().map(str::to_owned);
                let Some(item) = item::read(&params["item"], turn, done) else { return };
                if let belay_wire::app::ItemBody::FileChange { changes, .. } = &item.body {
                    self.changes.insert(item.id.clone(), changes.clone());
                }
                self.tell(AgentEvent::Item { thread, item }).await;
            }
            "item/agentMessage/delta"
            | "item/commandExecution/outputDelta"
            | "item/reasoning/summaryTextDelta" => {
                let item = item::item_id(params["turnId"].as_str(), &text(&params, "itemId"));
                let text = text(&params, "delta");
                self.tell(AgentEvent::Delta { thread, item, text }).await;
            }
            "turn/plan/updated" => {
                if let Some(item) = item::plan(&params) {
                    self.tell(AgentEvent::Item { thread, item }).await;
                }
            }
            "turn/started" => {
                self.turns.insert(thread.clone(), text(&params["turn"], "id"));
                self.status(thread, ThreadStatus::Running, None).await;
            }
            "turn/completed" => self.turn_ended(thread, &params["turn"]).await,
            "thread/status/changed" => {
                if let Some(status) = item::status(&params["status"]) {
                    self.status(thread, status, None).await;
                }
            }
            "thread/name/updated" => {
                let title = text(&params, "threadName");
                if !title.is_empty() {
                    self.tell(AgentEvent::Title { thread, title }).await;
                }
            }
            "serverRequest/resolved" => {
                let key = format!("{}-{}", self.generation, params["requestId"]);
                self.asks.remove(&key);
                self.tell(AgentEvent::Resolved { key }).await;
            }
            _ => {}
        }
    }

    async fn status(&self, thread: String, status: ThreadStatus, error: Option<String>) {
        self.tell(AgentEvent::Status { thread, status, error }).await;
    }

    async fn turn_ended(&mut self, thread: String, turn: &Value) {
        self.turns.remove(&thread);
        // What was open when a turn was interrupted never completes by itself.
        let turn_id = text(turn, "id");
        self.tell(AgentEvent::TurnEnded { thread: thread.clone(), turn: turn_id }).await;
        if turn["status"] == "failed" {
            let cause = text(&turn["error"], "message");
            let cause = if cause.is_empty() { "the turn failed".to_owned() } else { cause };
            self.status(thread, ThreadStatus::Failed, Some(cause)).await;
        } else {
            self.status(thread, ThreadStatus::Idle, None).await;
        }
    }
}

async fn initialize(rpc: Rpc) -> Result<String, RpcError> {
    let client = json!({ "name": "belay", "title": "Belay", "version": env!("CARGO_PKG_VERSION") });
    let params = json!({ "clientInfo": client, "capabilities": { "experimentalApi": true } });
    let result = call(&rpc, Method::Initialize, params).await?;
    rpc.notify("initialized", json!({})).await?;
    let agent = text(&result, "userAgent");
    let version = agent.split('/').nth(1).and_then(|v| v.split_whitespace().next());
    Ok(version.unwrap_or_default().to_owned())
}

impl From<RpcError> for AgentError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Refused { message, .. } => Self::Refused(message),
            RpcError::Died => Self::Unknown,
        }
    }
}

async fn execute(
    rpc: &Rpc,
    request: AgentRequest,
    is_loaded: bool,
    turn: Option<String>,
    events: &mpsc::Sender<AgentEvent>,
) -> Done {
    let mut done = Done { result: Ok(AgentReply::Done), loaded: None, turn: None };
    done.result = execute_inner(rpc, request, is_loaded, turn, events, &mut done).await;
    done
}

async fn execute_inner(
    rpc: &Rpc,
    request: AgentRequest,
    is_loaded: bool,
    running: Option<String>,
    events: &mpsc::Sender<AgentEvent>,
    done: &mut Done,
) -> Result<AgentReply, AgentError> {
    match request {
        AgentRequest::List => {
            let mut threads = Vec::new();
            let mut cursor = Value::Null;
            for _ in 0..LIST_PAGES_MAX {
                let params = json!({ "limit": LIST_LIMIT, "cursor": cursor });
                let mut result = call(rpc, Method::ThreadList, params).await?;
                threads.extend(list(&result, "data").iter().map(item::thread));
                cursor = result["nextCursor"].take();
                if cursor.is_null() {
                    break;
                }
            }
            Ok(AgentReply::Threads(threads))
        }
        AgentRequest::Start { folder } => {
            let params = json!({ "cwd": folder, "approvalsReviewer": "user" });
            let result = call(rpc, Method::ThreadStart, params).await?;
            let info = item::thread(&result["thread"]);
            done.loaded = Some(info.id.clone());
            Ok(AgentReply::Thread(info))
        }
        AgentRequest::Resume { thread, .. } => {
            let (info, items) = resume(rpc, &thread).await?;
            done.loaded = Some(thread);
            Ok(AgentReply::Loaded(info, items))
        }
        AgentRequest::Rename { thread, title } => {
            call(rpc, Method::ThreadNameSet, json!({ "threadId": thread, "name": title })).await?;
            Ok(AgentReply::Done)
        }
        AgentRequest::Archive { thread } => {
            call(rpc, Method::ThreadArchive, json!({ "threadId": thread })).await?;
            Ok(AgentReply::Done)
        }
        AgentRequest::Turn { thread, text: prompt, command, .. } => {
            if !is_loaded {
                let items = resume(rpc, &thread).await.map_err(not_begun)?.1;
                let history = AgentEvent::History { thread: thread.clone(), items };
                let _ = events.send(history).await;
                done.loaded = Some(thread.clone());
            }
            let params = json!({
                "threadId": thread,
                "input": [{ "type": "text", "text": prompt }],
                "clientUserMessageId": command,
            });
            let result = call(rpc, Method::TurnStart, params).await?;
            done.turn = Some((thread, text(&result["turn"], "id")));
            Ok(AgentReply::Done)
        }
        AgentRequest::Interrupt { thread } => {
            let Some(turn) = running else {
                return Err(AgentError::Refused("nothing is running in this thread".to_owned()));
            };
            call(rpc, Method::TurnInterrupt, json!({ "threadId": thread, "turnId": turn })).await?;
            Ok(AgentReply::Done)
        }
        AgentRequest::Find { thread, command } => {
            let params = json!({ "threadId": thread, "includeTurns": true });
            let result = call(rpc, Method::ThreadRead, params).await?;
            Ok(AgentReply::Found(item::contains_client_id(&result["thread"], &command)))
        }
        AgentRequest::Answer { .. } => {
            Err(AgentError::Refused("answers take another way".to_owned()))
        }
    }
}

/// The turn was not begun when loading its thread failed.
fn not_begun(error: AgentError) -> AgentError {
    match error {
        AgentError::Unknown => AgentError::Down("it ended while it loaded the thread".to_owned()),
        other => other,
    }
}

async fn resume(rpc: &Rpc, thread: &str) -> Result<(ThreadInfo, Vec<AgentItem>), AgentError> {
    let params = json!({ "threadId": thread, "approvalsReviewer": "user" });
    let result = call(rpc, Method::ThreadResume, params).await?;
    Ok((item::thread(&result["thread"]), item::of_turns(&result["thread"])))
}

//! Any agent that speaks the Agent Client Protocol, version 1, over its pipes.
//!
//! The host is the agent's one client. ACP has no replay of pending requests and no echo of
//! prompts, so the transcript and the table of requests are the host's own.

mod file;
mod update;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use belay_wire::app::{AgentState, ItemBody, RequestKind, RequestOption, ThreadStatus};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Agent, AgentAsk, AgentCall, AgentError, AgentEvent, AgentItem, AgentReply, AgentRequest,
    QUEUE_LEN, ThreadInfo, list,
    supervise::{Process, supervise},
    text,
};
use crate::{
    clock::unix_ms,
    rpc::{Incoming, Launch, Rpc, RpcError},
};
use update::Turn;

/// The answer of an agent to something that it does not know (JSON-RPC 2.0).
const METHOD_NOT_FOUND: i64 = -32601;

/// Starts an ACP agent and keeps it running.
pub fn start(launch: Launch) -> (Agent, mpsc::Receiver<AgentEvent>) {
    let (calls, queue) = mpsc::channel(QUEUE_LEN);
    let (events, told) = mpsc::channel(QUEUE_LEN);
    let program = launch.program.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = program.unwrap_or_else(|| "ACP agent".to_owned());
    tokio::spawn(supervise(launch, queue, events, Run::new));
    (Agent::new("acp", name, calls), told)
}

/// What an ended call leaves to do.
enum Ended {
    Ready(Result<Value, RpcError>),
    New {
        folder: String,
        reply: Reply,
        result: Result<Value, RpcError>,
    },
    Loaded {
        thread: String,
        folder: String,
        reply: Reply,
        result: Result<Value, RpcError>,
    },
    /// Loaded only because a prompt needs it.
    LoadedFor {
        prompt: Prompt,
        reply: Reply,
        result: Result<Value, RpcError>,
    },
    Listed {
        reply: Reply,
        result: Result<Value, RpcError>,
    },
    Prompted {
        thread: String,
        result: Result<Value, RpcError>,
    },
}

type Reply = tokio::sync::oneshot::Sender<Result<AgentReply, AgentError>>;

struct Prompt {
    thread: String,
    folder: String,
    text: String,
    command: String,
}

/// A permission that the agent waits for.
struct Asked {
    id: Value,
    thread: String,
    tool: String,
    /// Options that do not allow.
    refusing: HashSet<String>,
}

/// One process.
struct Run {
    rpc: Rpc,
    events: mpsc::Sender<AgentEvent>,
    generation: u64,
    can_load: bool,
    can_list: bool,
    /// Folder of each session that this process has loaded.
    loaded: HashMap<String, PathBuf>,
    /// Sessions whose history is being replayed, with what came so far.
    replaying: HashMap<String, Turn>,
    turns: HashMap<String, Turn>,
    asked: HashMap<String, Asked>,
}

impl Run {
    fn new(rpc: Rpc, events: mpsc::Sender<AgentEvent>) -> Self {
        Self {
            rpc,
            events,
            generation: unix_ms(),
            can_load: false,
            can_list: false,
            loaded: HashMap::new(),
            replaying: HashMap::new(),
            turns: HashMap::new(),
            asked: HashMap::new(),
        }
    }
}

impl Process for Run {
    async fn serve(
        mut self,
        mut incoming: mpsc::Receiver<Incoming>,
        queue: &mut mpsc::Receiver<AgentCall>,
    ) -> Option<String> {
        let (done, mut ended) = mpsc::channel(QUEUE_LEN);
        let client =
            json!({ "name": "belay", "title": "Belay", "version": env!("CARGO_PKG_VERSION") });
        let files = json!({ "readTextFile": true, "writeTextFile": true });
        let capabilities = json!({ "fs": files, "terminal": false });
        let params = json!({ "protocolVersion": 1, "clientCapabilities": capabilities, "clientInfo": client });
        self.call("initialize", params, &done, Ended::Ready);
        let mut ready = false;
        loop {
            tokio::select! {
                // What an agent says before it answers comes before the answer.
                biased;
                said = incoming.recv() => match said {
                    Some(Incoming::Notification { method, params }) => self.hear(&method, &params).await,
                    Some(Incoming::Request { id, method, params }) => self.asked(id, &method, &params).await,
                    Some(Incoming::Ended { reason }) => return Some(reason),
                    None => return Some("it ended".to_owned()),
                },
                Some(end) = ended.recv() => match end {
                    Ended::Ready(Ok(answer)) => {
                        ready = true;
                        self.ready(&answer).await;
                    }
                    Ended::Ready(Err(error)) => return Some(format!("it did not start: {error}")),
                    end => self.ended(end, &done).await,
                },
                call = queue.recv(), if ready => match call {
                    Some(call) => self.begin(call, &done).await,
                    None => return None,
                },
            }
        }
    }
}

impl Run {
    async fn tell(&self, event: AgentEvent) {
        let _ = self.events.send(event).await;
    }

    async fn status(&self, thread: &str, status: ThreadStatus, error: Option<String>) {
        let thread = thread.to_owned();
        self.tell(AgentEvent::Status { thread, status, error }).await;
    }

    /// Calls the agent beside the loop; the end comes back as a value.
    fn call(
        &self,
        method: &'static str,
        params: Value,
        done: &mpsc::Sender<Ended>,
        end: impl FnOnce(Result<Value, RpcError>) -> Ended + Send + 'static,
    ) {
        let (rpc, done) = (self.rpc.clone(), done.clone());
        tokio::spawn(async move {
            let result = rpc.call(method, params).await;
            let _ = done.send(end(result)).await;
        });
    }

    async fn ready(&mut self, answer: &Value) {
        self.can_load = answer["agentCapabilities"]["loadSession"].as_bool().unwrap_or(false);
        self.can_list = answer["agentCapabilities"]["sessionCapabilities"]["list"].is_object();
        let info = &answer["agentInfo"];
        let name = info["title"].as_str().or(info["name"].as_str());
        if let Some(name) = name {
            self.tell(AgentEvent::Named(name.to_owned())).await;
        }
        let (state, version, pid) = (AgentState::Ready, text(info, "version"), self.rpc.pid);
        self.tell(AgentEvent::Restarted).await;
        self.tell(AgentEvent::State { state, version, pid, text: None }).await;
    }

    async fn begin(&mut self, call: AgentCall, done: &mpsc::Sender<Ended>) {
        let reply = call.reply;
        match call.request {
            AgentRequest::List if self.can_list => {
                self.call("session/list", json!({}), done, |result| Ended::Listed {
                    reply,
                    result,
                });
            }
            AgentRequest::List => {
                let _ = reply.send(Ok(AgentReply::Threads(Vec::new())));
            }
            AgentRequest::Start { folder } => {
                let params = json!({ "cwd": folder, "mcpServers": [] });
                self.call("session/new", params, done, move |result| Ended::New {
                    folder,
                    reply,
                    result,
                });
            }
            AgentRequest::Resume { thread, folder } => {
                if self.loaded.contains_key(&thread) {
                    let info = ThreadInfo { id: thread, folder, ..ThreadInfo::default() };
                    let _ = reply.send(Ok(AgentReply::Loaded(info, Vec::new())));
                    return;
                }
                let (id, place) = (thread.clone(), folder.clone());
                self.load(&thread, &folder, reply, done, move |reply, result| Ended::Loaded {
                    thread: id,
                    folder: place,
                    reply,
                    result,
                });
            }
            AgentRequest::Turn { thread, folder, text, command } => {
                let prompt =
                    Prompt { thread: thread.clone(), folder: folder.clone(), text, command };
                if self.loaded.contains_key(&thread) {
                    let _ = reply.send(self.prompt(prompt, done).await);
                } else {
                    self.load(&thread, &folder, reply, done, |reply, result| Ended::LoadedFor {
                        prompt,
                        reply,
                        result,
                    });
                }
            }
            AgentRequest::Interrupt { thread } => {
                let _ = reply.send(self.interrupt(&thread).await);
            }
            AgentRequest::Answer { key, option, .. } => {
                let _ = reply.send(self.answer(&key, option).await);
            }
            // Names and archives are the host's own.
            AgentRequest::Rename { .. } | AgentRequest::Archive { .. } => {
                let _ = reply.send(Ok(AgentReply::Done));
            }
            AgentRequest::Find { .. } => {
                let _ = reply.send(Ok(AgentReply::Found(false)));
            }
        }
    }

    fn load(
        &mut self,
        thread: &str,
        folder: &str,
        reply: Reply,
        done: &mpsc::Sender<Ended>,
        end: impl FnOnce(Reply, Result<Value, RpcError>) -> Ended + Send + 'static,
    ) {
        if !self.can_load {
            let text = "this agent cannot load a thread of a former run; start a new one";
            let _ = reply.send(Err(AgentError::Refused(text.to_owned())));
            return;
        }
        let params = json!({ "sessionId": thread, "cwd": folder, "mcpServers": [] });
        self.replaying.insert(thread.to_owned(), Turn::new(format!("replay-{thread}")));
        self.call("session/load", params, done, |result| end(reply, result));
    }

    async fn ended(&mut self, end: Ended, done: &mpsc::Sender<Ended>) {
        match end {
            Ended::Ready(_) => {}
            Ended::New { folder, reply, result } => {
                let result = result.map_err(AgentError::from).map(|answer| {
                    let id = text(&answer, "sessionId");
                    self.loaded.insert(id.clone(), PathBuf::from(&folder));
                    AgentReply::Thread(ThreadInfo { id, folder, ..ThreadInfo::default() })
                });
                let _ = reply.send(result);
            }
            Ended::Loaded { thread, folder, reply, result } => {
                let items =
                    self.replaying.remove(&thread).map(Turn::into_items).unwrap_or_default();
                let result = result.map_err(AgentError::from).map(|_| {
                    self.loaded.insert(thread.clone(), PathBuf::from(&folder));
                    let info = ThreadInfo { id: thread, folder, ..ThreadInfo::default() };
                    AgentReply::Loaded(info, items)
                });
                let _ = reply.send(result);
            }
            Ended::LoadedFor { prompt, reply, result } => {
                self.replaying.remove(&prompt.thread);
                let answer = match result {
                    Ok(_) => {
                        let folder = PathBuf::from(&prompt.folder);
                        self.loaded.insert(prompt.thread.clone(), folder);
                        self.prompt(prompt, done).await
                    }
                    // The prompt itself was not sent.
                    Err(error) => {
                        Err(AgentError::Refused(format!("the thread was not loaded: {error}")))
                    }
                };
                let _ = reply.send(answer);
            }
            Ended::Listed { reply, result } => {
                let threads = result.map_err(AgentError::from).map(|answer| {
                    AgentReply::Threads(
                        list(&answer, "sessions").iter().map(update::thread).collect(),
                    )
                });
                let _ = reply.send(threads);
            }
            Ended::Prompted { thread, result } => self.turn_ended(&thread, result).await,
        }
    }

    /// Gives a prompt to the agent; its answer, at the end of the turn, comes by itself.
    async fn prompt(
        &mut self,
        prompt: Prompt,
        done: &mpsc::Sender<Ended>,
    ) -> Result<AgentReply, AgentError> {
        let Prompt { thread, text, command, .. } = prompt;
        if self.turns.contains_key(&thread) {
            let busy = "the agent still works on the last prompt; wait for it or stop it";
            return Err(AgentError::Refused(busy.to_owned()));
        }
        let turn = Turn::new(command.clone());
        let body = ItemBody::User { text: text.clone(), command: Some(command.clone()) };
        let item = AgentItem { id: format!("{command}/user"), turn: Some(command), body };
        self.turns.insert(thread.clone(), turn);
        self.tell(AgentEvent::Item { thread: thread.clone(), item }).await;
        self.status(&thread, ThreadStatus::Running, None).await;
        let parts = json!([{ "type": "text", "text": text }]);
        let params = json!({ "sessionId": thread, "prompt": parts });
        self.call("session/prompt", params, done, move |result| Ended::Prompted { thread, result });
        Ok(AgentReply::Done)
    }

    async fn turn_ended(&mut self, thread: &str, result: Result<Value, RpcError>) {
        let Some(turn) = self.turns.remove(thread) else { return };
        let keys: Vec<_> =
            self.asked.iter().filter(|(_, a)| a.thread == thread).map(|(k, _)| k.clone()).collect();
        for key in keys {
            self.asked.remove(&key);
            self.tell(AgentEvent::Resolved { key }).await;
        }
        self.tell(AgentEvent::TurnEnded { thread: thread.to_owned(), turn: turn.id }).await;
        match result {
            Ok(_) => self.status(thread, ThreadStatus::Idle, None).await,
            Err(error) => self.status(thread, ThreadStatus::Failed, Some(error.to_string())).await,
        }
    }

    async fn interrupt(&mut self, thread: &str) -> Result<AgentReply, AgentError> {
        if !self.turns.contains_key(thread) {
            return Err(AgentError::Refused("nothing is running in this thread".to_owned()));
        }
        let gone = |_| AgentError::Unknown;
        self.rpc.notify("session/cancel", json!({ "sessionId": thread })).await.map_err(gone)?;
        let keys: Vec<_> =
            self.asked.iter().filter(|(_, a)| a.thread == thread).map(|(k, _)| k.clone()).collect();
        for key in keys {
            if let Some(asked) = self.asked.remove(&key) {
                let cancelled = json!({ "outcome": { "outcome": "cancelled" } });
                self.rpc.answer(asked.id, cancelled).await.map_err(gone)?;
                self.tell(AgentEvent::Resolved { key }).await;
            }
        }
        Ok(AgentReply::Done)
    }

    /// Options are chosen by id, never by kind: two may share one.
    async fn answer(
        &mut self,
        key: &str,
        option: Option<String>,
    ) -> Result<AgentReply, AgentError> {
        let option =
            option.ok_or_else(|| AgentError::Refused("choose one of the options".to_owned()))?;
        let closed = || AgentError::Refused("this request is no longer open".to_owned());
        let asked = self.asked.remove(key).ok_or_else(closed)?;
        let outcome = json!({ "outcome": { "outcome": "selected", "optionId": option } });
        self.rpc.answer(asked.id, outcome).await.map_err(|_| AgentError::Unknown)?;
        self.tell(AgentEvent::Resolved { key: key.to_owned() }).await;
        self.status(&asked.thread, ThreadStatus::Running, None).await;
        if asked.refusing.contains(&option)
            && let Some(item) =
                self.turns.get_mut(&asked.thread).and_then(|t| t.declined(&asked.tool))
        {
            // Some agents say nothing more about a tool that was refused.
            self.tell(AgentEvent::Item { thread: asked.thread, item }).await;
        }
        Ok(AgentReply::Done)
    }

    async fn hear(&mut self, method: &str, params: &Value) {
        if method != "session/update" {
            return;
        }
        let thread = text(params, "sessionId");
        if let Some(turn) = self.replaying.get_mut(&thread) {
            turn.replay(&params["update"]);
            return;
        }
        // Some agents go on after a turn; what they say belongs to the last one.
        let turn = self.turns.entry(thread.clone()).or_insert_with(|| Turn::new(String::new()));
        let events = turn.apply(&thread, &params["update"]);
        if turn.id.is_empty() {
            self.turns.remove(&thread);
        }
        for event in events {
            self.tell(event).await;
        }
    }

    async fn asked(&mut self, id: Value, method: &str, params: &Value) {
        let thread = text(params, "sessionId");
        match method {
            "session/request_permission" => self.permission(id, &thread, params).await,
            "fs/read_text_file" | "fs/write_text_file" => {
                let folder = self.loaded.get(&thread).cloned();
                let result = file::serve(method, params, folder.as_deref());
                let _ = match result {
                    Ok(value) => self.rpc.answer(id, value).await,
                    Err(text) => self.rpc.refuse(id, -32000, &text).await,
                };
            }
            _ => {
                let _ = self.rpc.refuse(id, METHOD_NOT_FOUND, "not supported by this client").await;
            }
        }
    }

    async fn permission(&mut self, id: Value, thread: &str, params: &Value) {
        let key = format!("{}-{id}", self.generation);
        let tool = text(&params["toolCall"], "toolCallId");
        let options: Vec<_> = list(params, "options").iter().map(option).collect();
        let refusing = options.iter().filter(|o| !o.allows).map(|o| o.id.clone()).collect();
        let turn = self.turns.entry(thread.to_owned()).or_insert_with(|| Turn::new(String::new()));
        // For some agents this request is the only announcement of its tool.
        let events = turn.apply_tool(thread, &params["toolCall"]);
        let ask = ask_of(&key, turn, &tool, options);
        for event in events {
            self.tell(event).await;
        }
        let asked = Asked { id, thread: thread.to_owned(), tool, refusing };
        self.asked.insert(key, asked);
        self.status(thread, ThreadStatus::Waiting, None).await;
        self.tell(AgentEvent::Ask { thread: thread.to_owned(), ask: Box::new(ask) }).await;
    }
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

fn ask_of(key: &str, turn: &Turn, tool: &str, options: Vec<RequestOption>) -> AgentAsk {
    let item = turn.tool_item(tool);
    let mut ask = AgentAsk {
        key: key.to_owned(),
        item: item.as_ref().map(|i| i.id.clone()),
        kind: RequestKind::Permission,
        title: "Use a tool".to_owned(),
        command: None,
        cwd: None,
        reason: None,
        changes: Vec::new(),
        questions: Vec::new(),
        options,
    };
    match item.map(|i| i.body) {
        Some(ItemBody::Command { command, cwd, .. }) => {
            ask.kind = RequestKind::Command;
            "Run a command".clone_into(&mut ask.title);
            ask.command = Some(command);
            ask.cwd = Some(cwd).filter(|cwd| !cwd.is_empty());
        }
        Some(ItemBody::FileChange { changes, .. }) => {
            ask.kind = RequestKind::FileChange;
            "Change files".clone_into(&mut ask.title);
            ask.changes = changes;
        }
        Some(ItemBody::Tool { title, text, .. }) => {
            ask.title = title;
            ask.reason = Some(text).filter(|text| !text.is_empty());
        }
        _ => {}
    }
    ask
}

//! Any agent that speaks the Agent Client Protocol, version 1, over its pipes.
//!
//! The host is the agent's one client. ACP has no replay of pending requests and no echo of
//! prompts, so the transcript and the table of requests are the host's own.

mod ask;
mod file;
mod update;

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
};

use belay_wire::app::{AgentState, ItemBody, ThreadStatus};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

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
use ask::Asked;
use update::{Turn, is_quiet};

/// The answer of an agent to something that it does not know (JSON-RPC 2.0).
const METHOD_NOT_FOUND: i64 = -32601;

/// Starts an ACP agent and keeps it running.
pub fn start(launch: Launch, processes: &TaskTracker) -> (Agent, mpsc::Receiver<AgentEvent>) {
    let (calls, queue) = mpsc::channel(QUEUE_LEN);
    let (events, told) = mpsc::channel(QUEUE_LEN);
    let program = launch.program.file_name().map(|n| n.to_string_lossy().into_owned());
    let name = program.unwrap_or_else(|| "agent".to_owned());
    tokio::spawn(supervise(launch, processes.clone(), queue, events, Run::new));
    (Agent::new(format!("acp-{name}"), name, calls), told)
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

type End = Box<dyn FnOnce(Result<Value, RpcError>) -> Ended + Send + Sync>;

type Reply = tokio::sync::oneshot::Sender<Result<AgentReply, AgentError>>;

struct Prompt {
    thread: String,
    folder: String,
    text: String,
    command: String,
}

/// A turn that runs.
struct Running {
    turn: Turn,
    /// The prompt until the agent shows that it has it, and who waits for that.
    prompt: Option<(Prompt, Reply)>,
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
    turns: HashMap<String, Running>,
    /// What agents say of a thread while no turn runs.
    late: HashMap<String, Turn>,
    /// Prompts that came while their thread was busy: they follow the turn that runs.
    waiting: HashMap<String, VecDeque<(Prompt, Reply)>>,
    asked: HashMap<String, Asked>,
    /// What the answers to calls lead to.
    calls: HashMap<u64, End>,
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
            late: HashMap::new(),
            waiting: HashMap::new(),
            asked: HashMap::new(),
            calls: HashMap::new(),
        }
    }
}

impl Process for Run {
    async fn serve(
        mut self,
        incoming: mpsc::Receiver<Incoming>,
        queue: &mut mpsc::Receiver<AgentCall>,
    ) -> Option<String> {
        let reason = self.serve_all(incoming, queue).await;
        // These were never given to the agent.
        for (_, reply) in self.waiting.into_values().flatten() {
            let reason = reason.clone().unwrap_or_default();
            let _ = reply.send(Err(AgentError::Down(reason)));
        }
        reason
    }
}

impl Run {
    async fn serve_all(
        &mut self,
        mut incoming: mpsc::Receiver<Incoming>,
        queue: &mut mpsc::Receiver<AgentCall>,
    ) -> Option<String> {
        let client =
            json!({ "name": "belay", "title": "Belay", "version": env!("CARGO_PKG_VERSION") });
        let files = json!({ "readTextFile": true, "writeTextFile": true });
        let capabilities = json!({ "fs": files, "terminal": false, "elicitation": { "form": {} } });
        let params = json!({ "protocolVersion": 1, "clientCapabilities": capabilities, "clientInfo": client });
        self.call("initialize", params, Ended::Ready).await;
        let mut ready = false;
        loop {
            tokio::select! {
                said = incoming.recv() => match said {
                    Some(Incoming::Notification { method, params }) => self.hear(&method, &params).await,
                    Some(Incoming::Request { id, method, params }) => self.asked(id, &method, &params).await,
                    Some(Incoming::Answer { id, result }) => {
                        match self.calls.remove(&id).map(|end| end(result)) {
                            Some(Ended::Ready(Ok(answer))) => {
                                ready = true;
                                self.ready(&answer).await;
                            }
                            Some(Ended::Ready(Err(error))) => {
                                return Some(format!("it did not start: {error}"));
                            }
                            Some(end) => self.ended(end).await,
                            None => {}
                        }
                    }
                    Some(Incoming::Ended { reason }) => return Some(reason),
                    None => return Some("it ended".to_owned()),
                },
                call = queue.recv(), if ready => match call {
                    Some(call) => self.begin(call).await,
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

    /// Calls the agent; the end of the call comes back as a value. A call that the process does not
    /// live to answer leaves its reply unsent, which tells that its effect is unknown.
    async fn call(
        &mut self,
        method: &'static str,
        params: Value,
        end: impl FnOnce(Result<Value, RpcError>) -> Ended + Send + Sync + 'static,
    ) {
        if let Ok(id) = self.rpc.begin(method, params).await {
            self.calls.insert(id, Box::new(end));
        }
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

    async fn begin(&mut self, call: AgentCall) {
        let reply = call.reply;
        match call.request {
            AgentRequest::List if self.can_list => {
                self.call("session/list", json!({}), |result| Ended::Listed { reply, result })
                    .await;
            }
            AgentRequest::List => {
                let _ = reply.send(Ok(AgentReply::Threads(Vec::new())));
            }
            AgentRequest::Start { folder } => {
                let params = json!({ "cwd": folder, "mcpServers": [] });
                let end = move |result| Ended::New { folder, reply, result };
                self.call("session/new", params, end).await;
            }
            AgentRequest::Resume { thread, folder } => {
                if self.loaded.contains_key(&thread) {
                    let info = ThreadInfo { id: thread, folder, ..ThreadInfo::default() };
                    let _ = reply.send(Ok(AgentReply::Loaded(info, Vec::new())));
                    return;
                }
                let (id, place) = (thread.clone(), folder.clone());
                self.load(&thread, &folder, reply, move |reply, result| Ended::Loaded {
                    thread: id,
                    folder: place,
                    reply,
                    result,
                })
                .await;
            }
            AgentRequest::Turn { thread, folder, text, command } => {
                let prompt =
                    Prompt { thread: thread.clone(), folder: folder.clone(), text, command };
                if self.loaded.contains_key(&thread) {
                    self.submit(prompt, reply).await;
                } else {
                    let end = |reply, result| Ended::LoadedFor { prompt, reply, result };
                    self.load(&thread, &folder, reply, end).await;
                }
            }
            AgentRequest::Interrupt { thread } => {
                let _ = reply.send(self.interrupt(&thread).await);
            }
            AgentRequest::Answer { key, option, answers } => {
                let _ = reply.send(self.answer(&key, option, &answers).await);
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

    async fn load(
        &mut self,
        thread: &str,
        folder: &str,
        reply: Reply,
        end: impl FnOnce(Reply, Result<Value, RpcError>) -> Ended + Send + Sync + 'static,
    ) {
        if !self.can_load {
            let text = "this agent cannot load a thread of a former run; start a new one";
            let _ = reply.send(Err(AgentError::Refused(text.to_owned())));
            return;
        }
        let params = json!({ "sessionId": thread, "cwd": folder, "mcpServers": [] });
        self.replaying.insert(thread.to_owned(), Turn::new(format!("replay-{thread}")));
        self.call("session/load", params, |result| end(reply, result)).await;
    }

    async fn ended(&mut self, end: Ended) {
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
                match result {
                    Ok(_) => {
                        let folder = PathBuf::from(&prompt.folder);
                        self.loaded.insert(prompt.thread.clone(), folder);
                        self.submit(prompt, reply).await;
                    }
                    // The prompt itself was not sent.
                    Err(error) => {
                        let text = format!("the thread was not loaded: {error}");
                        let _ = reply.send(Err(AgentError::Refused(text)));
                    }
                }
            }
            Ended::Listed { reply, result } => {
                let threads = result.map_err(AgentError::from).map(|answer| {
                    AgentReply::Threads(
                        list(&answer, "sessions").iter().map(update::thread).collect(),
                    )
                });
                let _ = reply.send(threads);
            }
            Ended::Prompted { thread, result } => {
                self.turn_ended(&thread, result).await;
                let next = self.waiting.get_mut(&thread).and_then(VecDeque::pop_front);
                match next {
                    Some((prompt, reply)) => self.submit(prompt, reply).await,
                    None => drop(self.waiting.remove(&thread)),
                }
            }
        }
    }

    /// Gives a prompt to the agent, or lets it wait for the turn that runs. The agent's answer, at
    /// the end of the turn, comes by itself.
    async fn submit(&mut self, prompt: Prompt, reply: Reply) {
        let thread = prompt.thread.clone();
        if self.turns.contains_key(&thread) {
            self.waiting.entry(thread).or_default().push_back((prompt, reply));
            return;
        }
        if let Some(late) = self.late.remove(&thread) {
            self.tell(AgentEvent::TurnEnded { thread: thread.clone(), turn: late.id }).await;
        }
        let parts = json!([{ "type": "text", "text": prompt.text }]);
        let params = json!({ "sessionId": thread, "prompt": parts });
        let turn = Turn::new(prompt.command.clone());
        self.turns.insert(thread.clone(), Running { turn, prompt: Some((prompt, reply)) });
        self.status(&thread, ThreadStatus::Running, None).await;
        let end = move |result| Ended::Prompted { thread, result };
        self.call("session/prompt", params, end).await;
    }

    /// The agent shows that it has the prompt: only now the prompt counts as given.
    async fn acknowledge(&mut self, thread: &str) {
        let prompt = self.turns.get_mut(thread).and_then(|running| running.prompt.take());
        let Some((Prompt { text, command, .. }, reply)) = prompt else { return };
        let body = ItemBody::User { text, command: Some(command.clone()) };
        let item = AgentItem { id: format!("{command}/user"), turn: Some(command), body };
        self.tell(AgentEvent::Item { thread: thread.to_owned(), item }).await;
        let _ = reply.send(Ok(AgentReply::Done));
    }

    async fn turn_ended(&mut self, thread: &str, result: Result<Value, RpcError>) {
        match &result {
            Ok(_) => self.acknowledge(thread).await,
            Err(error) => {
                let prompt = self.turns.get_mut(thread).and_then(|running| running.prompt.take());
                if let Some((_, reply)) = prompt {
                    let _ = reply.send(Err(error.clone().into()));
                }
            }
        }
        let Some(Running { turn, .. }) = self.turns.remove(thread) else { return };
        self.resolve(|asked| asked.thread == thread).await;
        self.tell(AgentEvent::TurnEnded { thread: thread.to_owned(), turn: turn.id }).await;
        match result {
            Ok(_) => self.status(thread, ThreadStatus::Idle, None).await,
            Err(error) => self.status(thread, ThreadStatus::Failed, Some(error.to_string())).await,
        }
    }

    /// These questions are no longer open in the agent.
    async fn resolve(&mut self, is_over: impl Fn(&Asked) -> bool) {
        let over = self.asked.iter().filter(|(_, asked)| is_over(asked));
        for key in over.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.asked.remove(&key);
            self.tell(AgentEvent::Resolved { key }).await;
        }
    }

    async fn interrupt(&mut self, thread: &str) -> Result<AgentReply, AgentError> {
        if !self.turns.contains_key(thread) {
            return Err(AgentError::Refused("nothing is running in this thread".to_owned()));
        }
        let gone = |_| AgentError::Unknown;
        self.rpc.notify("session/cancel", json!({ "sessionId": thread })).await.map_err(gone)?;
        let open = self.asked.values().filter(|a| a.thread == thread && !a.answered);
        for (id, cancelled) in open.map(|a| (a.id.clone(), a.cancelled())).collect::<Vec<_>>() {
            self.rpc.answer(id, cancelled).await.map_err(gone)?;
        }
        self.resolve(|asked| asked.thread == thread && !asked.answered).await;
        Ok(AgentReply::Done)
    }

    async fn answer(
        &mut self,
        key: &str,
        option: Option<String>,
        answers: &[(String, Vec<String>)],
    ) -> Result<AgentReply, AgentError> {
        let closed = || AgentError::Refused("this request is no longer open".to_owned());
        let asked = self.asked.get_mut(key).filter(|asked| !asked.answered).ok_or_else(closed)?;
        let result = asked.result(option.clone(), answers).map_err(AgentError::Refused)?;
        asked.answered = true;
        let refused = option.is_some_and(|option| asked.refuses(&option));
        let (id, thread, tool) = (asked.id.clone(), asked.thread.clone(), asked.tool.clone());
        self.rpc.answer(id, result).await.map_err(|_| AgentError::Unknown)?;
        let running = self.turns.get_mut(&thread).map(|running| &mut running.turn);
        let runs = running.is_some();
        let turn = running.or_else(|| self.late.get_mut(&thread));
        // Some agents say nothing more about a tool that was refused.
        let declined = turn.filter(|_| refused).and_then(|turn| turn.declined(&tool));
        if let Some(item) = declined {
            self.tell(AgentEvent::Item { thread: thread.clone(), item }).await;
        }
        let still_asks = self.asked.values().any(|a| a.thread == thread && !a.answered);
        let status = match runs {
            _ if still_asks => ThreadStatus::Waiting,
            true => ThreadStatus::Running,
            false => ThreadStatus::Idle,
        };
        self.status(&thread, status, None).await;
        if !runs {
            // No turn's end will tell that the agent went on.
            self.resolve(|asked| asked.thread == thread && asked.answered).await;
        }
        Ok(AgentReply::Done)
    }

    /// The turn that runs in a thread, or what is said after the last one.
    fn turn(&mut self, thread: &str) -> &mut Turn {
        match self.turns.get_mut(thread) {
            Some(running) => &mut running.turn,
            None => self.late.entry(thread.to_owned()).or_insert_with(Turn::late),
        }
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
        let update = &params["update"];
        if is_quiet(update) {
            return;
        }
        self.acknowledge(&thread).await;
        if let Some(tool) = update["toolCallId"].as_str() {
            self.resolve(|a| a.answered && a.thread == thread && a.tool == tool).await;
        }
        for event in self.turn(&thread).apply(&thread, update) {
            self.tell(event).await;
        }
    }

    async fn asked(&mut self, id: Value, method: &str, params: &Value) {
        let thread = text(params, "sessionId");
        self.acknowledge(&thread).await;
        match method {
            "session/request_permission" => {
                // For some agents this request is the only announcement of its tool.
                for event in self.turn(&thread).apply_tool(&thread, &params["toolCall"]) {
                    self.tell(event).await;
                }
                let (key, folder) = (self.key(&id), self.loaded.get(&thread).cloned());
                let asked =
                    ask::permission(&key, id, params, self.turn(&thread), folder.as_deref());
                self.ask(key, asked).await;
            }
            "elicitation/create" if params["mode"] == "form" => {
                let key = self.key(&id);
                let asked = ask::elicitation(&key, id, params);
                self.ask(key, asked).await;
            }
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

    /// Names a question within all runs of the agent.
    fn key(&self, id: &Value) -> String {
        format!("{}-{id}", self.generation)
    }

    async fn ask(&mut self, key: String, (asked, ask): (Asked, AgentAsk)) {
        let thread = asked.thread.clone();
        self.asked.insert(key, asked);
        self.status(&thread, ThreadStatus::Waiting, None).await;
        self.tell(AgentEvent::Ask { thread, ask: Box::new(ask) }).await;
    }
}

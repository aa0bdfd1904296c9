//! A built-in agent without a model, for trying Belay out: deterministic, and named as a demo.
//!
//! `run <command>` asks for approval and pretends to run it, `edit` proposes a file change, `ask`
//! asks a question, `slow` streams for a while; anything else is echoed.

use std::{collections::HashMap, time::Duration};

use belay_wire::app::{
    AgentState, FileChange, ItemBody, Progress, Question, RequestKind, RequestOption, ThreadStatus,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Agent, AgentAsk, AgentCall, AgentError, AgentEvent, AgentItem, AgentReply, AgentRequest,
    QUEUE_LEN, ThreadInfo,
};

/// Pause between two words.
const WORD_PAUSE: Duration = Duration::from_millis(30);

/// Starts the demo agent.
pub fn start() -> (Agent, mpsc::Receiver<AgentEvent>) {
    let (calls, queue) = mpsc::channel(QUEUE_LEN);
    let (events, told) = mpsc::channel(QUEUE_LEN);
    tokio::spawn(Demo { events, asks: HashMap::new(), turns: HashMap::new(), next: 1 }.run(queue));
    (Agent::new("scripted", "Demo (no model)".to_owned(), calls), told)
}

struct Demo {
    events: mpsc::Sender<AgentEvent>,
    asks: HashMap<String, (String, Plan)>,
    turns: HashMap<String, CancellationToken>,
    next: u64,
}

#[derive(Clone)]
enum Plan {
    Run(String),
    Edit,
    Ask,
}

impl Demo {
    async fn run(mut self, mut queue: mpsc::Receiver<AgentCall>) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let state = AgentState::Ready;
        self.tell(AgentEvent::State { state, version, pid: None, text: None }).await;
        self.tell(AgentEvent::Restarted).await;
        while let Some(call) = queue.recv().await {
            let answer = self.handle(call.request).await;
            let _ = call.reply.send(answer);
        }
    }

    async fn tell(&self, event: AgentEvent) {
        let _ = self.events.send(event).await;
    }

    fn id(&mut self, kind: &str) -> String {
        self.next += 1;
        // The time keeps ids of two runs apart.
        format!("{kind}-{}-{}", crate::clock::unix_ms(), self.next)
    }

    async fn handle(&mut self, request: AgentRequest) -> Result<AgentReply, AgentError> {
        match request {
            AgentRequest::List => Ok(AgentReply::Threads(Vec::new())),
            AgentRequest::Start { folder } => {
                let now = crate::clock::unix_ms();
                let id = self.id("demo");
                let title = String::new();
                let info = ThreadInfo { id, title, folder, created_at: now, updated_at: now };
                Ok(AgentReply::Thread(info))
            }
            AgentRequest::Resume { thread, .. } => {
                let info = ThreadInfo { id: thread, ..ThreadInfo::default() };
                Ok(AgentReply::Loaded(info, Vec::new()))
            }
            AgentRequest::Rename { .. } | AgentRequest::Archive { .. } => Ok(AgentReply::Done),
            AgentRequest::Turn { thread, text, command, .. } => {
                self.turn(thread, text, command).await;
                Ok(AgentReply::Done)
            }
            AgentRequest::Interrupt { thread } => {
                if let Some(turn) = self.turns.remove(&thread) {
                    turn.cancel();
                }
                Ok(AgentReply::Done)
            }
            AgentRequest::Find { .. } => Ok(AgentReply::Found(false)),
            AgentRequest::Answer { key, option, answers } => {
                let unknown = || AgentError::Refused("this request is no longer open".to_owned());
                let (thread, plan) = self.asks.remove(&key).ok_or_else(unknown)?;
                self.tell(AgentEvent::Resolved { key }).await;
                self.answered(thread, plan, option, answers).await;
                Ok(AgentReply::Done)
            }
        }
    }

    async fn item(&self, thread: &str, id: String, body: ItemBody) {
        let (thread, item) = (thread.to_owned(), AgentItem { id, turn: None, body });
        self.tell(AgentEvent::Item { thread, item }).await;
    }

    async fn turn(&mut self, thread: String, text: String, command: String) {
        let id = self.id("user");
        self.item(&thread, id, ItemBody::User { text: text.clone(), command: Some(command) }).await;
        self.status(&thread, ThreadStatus::Running).await;
        let word = text.split_whitespace().next().unwrap_or_default().to_lowercase();
        let plan = match word.as_str() {
            "run" => Plan::Run(text.split_once(' ').map_or("ls", |(_, c)| c).to_owned()),
            "edit" => Plan::Edit,
            "ask" => Plan::Ask,
            "slow" => {
                let words = (0..200).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
                return self.say(thread, words);
            }
            _ => return self.say(thread, format!("You said: {text}\n\nThis is a demo without a model. Try `run ls`, `edit`, `ask` or `slow`.")),
        };
        self.request(thread, plan).await;
    }

    async fn status(&self, thread: &str, status: ThreadStatus) {
        let thread = thread.to_owned();
        self.tell(AgentEvent::Status { thread, status, error: None }).await;
    }

    async fn request(&mut self, thread: String, plan: Plan) {
        let key = self.id("ask");
        let options = vec![
            option("accept", "Accept", true, None),
            option("always", "Always accept", true, Some("every later request of this demo")),
            option("decline", "Decline", false, None),
        ];
        let mut ask = AgentAsk {
            key: key.clone(),
            item: None,
            kind: RequestKind::Command,
            title: "Run a command".to_owned(),
            command: None,
            cwd: Some("/demo".to_owned()),
            reason: Some("the demo pretends".to_owned()),
            changes: Vec::new(),
            questions: Vec::new(),
            options,
        };
        match &plan {
            Plan::Run(command) => ask.command = Some(command.clone()),
            Plan::Edit => {
                ask.kind = RequestKind::FileChange;
                "Change a file".clone_into(&mut ask.title);
                ask.changes = vec![change()];
            }
            Plan::Ask => {
                ask.kind = RequestKind::Question;
                "A question".clone_into(&mut ask.title);
                ask.options.clear();
                ask.questions = vec![Question {
                    id: "colour".to_owned(),
                    text: "Which colour?".to_owned(),
                    choices: vec!["Red".to_owned(), "Blue".to_owned()],
                    free: true,
                    secret: false,
                }];
            }
        }
        self.asks.insert(key, (thread.clone(), plan));
        self.status(&thread, ThreadStatus::Waiting).await;
        self.tell(AgentEvent::Ask { thread, ask: Box::new(ask) }).await;
    }

    async fn answered(
        &mut self,
        thread: String,
        plan: Plan,
        option: Option<String>,
        answers: Vec<(String, Vec<String>)>,
    ) {
        let accepted = option.as_deref() != Some("decline");
        let progress = if accepted { Progress::Completed } else { Progress::Declined };
        let id = self.id("item");
        let said = match plan {
            Plan::Run(command) => {
                let output =
                    if accepted { format!("(pretended) {command}\n") } else { String::new() };
                let body = ItemBody::Command {
                    command,
                    cwd: "/demo".to_owned(),
                    progress,
                    output_bytes: output.len() as u64,
                    output,
                    exit_code: accepted.then_some(0),
                    duration_ms: accepted.then_some(1),
                };
                self.item(&thread, id, body).await;
                if accepted { "Done." } else { "Then I leave it." }.to_owned()
            }
            Plan::Edit => {
                let body = ItemBody::FileChange { changes: vec![change()], progress };
                self.item(&thread, id, body).await;
                if accepted { "Changed." } else { "Then I leave the file as it is." }.to_owned()
            }
            Plan::Ask => {
                let chosen: Vec<_> = answers.into_iter().flat_map(|(_, a)| a).collect();
                format!("You chose {}.", chosen.join(", "))
            }
        };
        self.status(&thread, ThreadStatus::Running).await;
        self.say(thread, said);
    }

    /// Streams an answer beside this task, so that it can be stopped.
    fn say(&mut self, thread: String, text: String) {
        let id = self.id("message");
        let stop = CancellationToken::new();
        self.turns.insert(thread.clone(), stop.clone());
        tokio::spawn(stream(self.events.clone(), thread, id, text, stop));
    }
}

async fn stream(
    events: mpsc::Sender<AgentEvent>,
    thread: String,
    id: String,
    text: String,
    stop: CancellationToken,
) {
    let item = |text: String, done| AgentEvent::Item {
        thread: thread.clone(),
        item: AgentItem { id: id.clone(), turn: None, body: ItemBody::Message { text, done } },
    };
    let _ = events.send(item(String::new(), false)).await;
    let mut said = String::new();
    for word in text.split_inclusive(' ') {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(WORD_PAUSE) => {}
        }
        said.push_str(word);
        let (thread, item, text) = (thread.clone(), id.clone(), word.to_owned());
        let _ = events.send(AgentEvent::Delta { thread, item, text }).await;
    }
    let _ = events.send(item(said, true)).await;
    let status = ThreadStatus::Idle;
    let _ = events.send(AgentEvent::Status { thread, status, error: None }).await;
}

fn option(id: &str, label: &str, allows: bool, reach: Option<&str>) -> RequestOption {
    let reach = reach.map(str::to_owned);
    RequestOption { id: id.to_owned(), label: label.to_owned(), allows, reach }
}

fn change() -> FileChange {
    FileChange {
        path: "/demo/hello.txt".to_owned(),
        change: "add".to_owned(),
        diff: "@@ -0,0 +1 @@\n+hello\n".to_owned(),
    }
}

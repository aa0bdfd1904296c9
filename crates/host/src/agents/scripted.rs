//! A built-in agent without a model, for trying Belay out: deterministic, and named as a demo.
//!
//! `run <command>` asks for approval and pretends to run it, `edit` proposes a file change, `ask`
//! asks a question, `slow` streams for a while; anything else is echoed. A thread does one thing at a
//! time: later prompts wait.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use belay_wire::app::{
    AgentState, FileChange, ItemBody, Progress, Question, RequestKind, RequestOption, ThreadStatus,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Agent, AgentAsk, AgentCall, AgentError, AgentEvent, AgentItem, AgentReply, AgentRequest,
    QUEUE_LEN, ThreadInfo,
};

/// Pause between two words of `slow`, and of anything else.
const SLOW_PAUSE: Duration = Duration::from_millis(30);
const WORD_PAUSE: Duration = Duration::from_millis(5);

/// Prompts that may wait in one thread.
const WAITING_MAX: usize = 256;

/// Starts the demo agent.
pub fn start() -> (Agent, mpsc::Receiver<AgentEvent>) {
    let (calls, queue) = mpsc::channel(QUEUE_LEN);
    let (events, told) = mpsc::channel(QUEUE_LEN);
    let (ended, ends) = mpsc::channel(QUEUE_LEN);
    let demo = Demo {
        events,
        ended,
        asks: HashMap::new(),
        busy: HashMap::new(),
        waiting: HashMap::new(),
        next: 1,
    };
    tokio::spawn(demo.run(queue, ends));
    (Agent::new("scripted", "Demo (no model)".to_owned(), calls), told)
}

struct Demo {
    events: mpsc::Sender<AgentEvent>,
    /// Threads whose turn has ended.
    ended: mpsc::Sender<String>,
    asks: HashMap<String, (Prompt, Plan)>,
    /// Threads in which a turn runs, or a question waits.
    busy: HashMap<String, CancellationToken>,
    waiting: HashMap<String, VecDeque<Prompt>>,
    next: u64,
}

#[derive(Clone)]
struct Prompt {
    thread: String,
    folder: String,
    text: String,
    command: String,
}

#[derive(Clone)]
enum Plan {
    Run(String),
    Edit,
    Ask,
}

impl Demo {
    async fn run(mut self, mut queue: mpsc::Receiver<AgentCall>, mut ends: mpsc::Receiver<String>) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let state = AgentState::Ready;
        self.tell(AgentEvent::State { state, version, pid: None, text: None }).await;
        self.tell(AgentEvent::Restarted).await;
        loop {
            tokio::select! {
                call = queue.recv() => {
                    let Some(call) = call else { return };
                    let answer = self.handle(call.request).await;
                    let _ = call.reply.send(answer);
                }
                Some(thread) = ends.recv() => self.next_turn(&thread).await,
            }
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
            AgentRequest::Turn { thread, folder, text, command } => {
                self.prompt(Prompt { thread, folder, text, command }).await
            }
            AgentRequest::Interrupt { thread } => {
                self.interrupt(&thread).await;
                Ok(AgentReply::Done)
            }
            AgentRequest::Find { .. } => Ok(AgentReply::Found(false)),
            AgentRequest::Answer { key, option, answers } => {
                let unknown = || AgentError::Refused("this request is no longer open".to_owned());
                let (prompt, plan) = self.asks.remove(&key).ok_or_else(unknown)?;
                self.tell(AgentEvent::Resolved { key }).await;
                self.answered(prompt, plan, option, answers).await;
                Ok(AgentReply::Done)
            }
        }
    }

    async fn item(&self, thread: &str, id: String, body: ItemBody) {
        let (thread, item) = (thread.to_owned(), AgentItem { id, turn: None, body });
        self.tell(AgentEvent::Item { thread, item }).await;
    }

    async fn prompt(&mut self, prompt: Prompt) -> Result<AgentReply, AgentError> {
        if !self.busy.contains_key(&prompt.thread) {
            self.turn(prompt).await;
            return Ok(AgentReply::Done);
        }
        let waiting = self.waiting.entry(prompt.thread.clone()).or_default();
        if waiting.len() >= WAITING_MAX {
            return Err(AgentError::Refused(format!("{WAITING_MAX} prompts wait already")));
        }
        waiting.push_back(prompt);
        Ok(AgentReply::Done)
    }

    async fn next_turn(&mut self, thread: &str) {
        self.busy.remove(thread);
        if let Some(prompt) = self.waiting.get_mut(thread).and_then(VecDeque::pop_front) {
            return self.turn(prompt).await;
        }
        self.waiting.remove(thread);
        self.status(thread, ThreadStatus::Idle).await;
    }

    /// Ends what runs in a thread, and a question that waits there.
    async fn interrupt(&mut self, thread: &str) {
        let open: Vec<_> = self.asks.extract_if(|_, (p, _)| p.thread == thread).collect();
        if open.is_empty() {
            if let Some(turn) = self.busy.get(thread) {
                turn.cancel();
            }
            return;
        }
        for (key, _) in open {
            self.tell(AgentEvent::Resolved { key }).await;
        }
        self.next_turn(thread).await;
    }

    async fn turn(&mut self, prompt: Prompt) {
        let Prompt { thread, text, command, .. } = prompt.clone();
        self.busy.insert(thread.clone(), CancellationToken::new());
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
                return self.say(thread, words, SLOW_PAUSE);
            }
            _ => {
                let said = format!(
                    "You said: {text}\n\nThis is a demo without a model. Try `run ls`, `edit`, `ask` or `slow`."
                );
                return self.say(thread, said, WORD_PAUSE);
            }
        };
        self.request(prompt, plan).await;
    }

    async fn status(&self, thread: &str, status: ThreadStatus) {
        let thread = thread.to_owned();
        self.tell(AgentEvent::Status { thread, status, error: None }).await;
    }

    async fn request(&mut self, prompt: Prompt, plan: Plan) {
        let thread = prompt.thread.clone();
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
            cwd: None,
            reason: Some("the demo only pretends, whatever you answer".to_owned()),
            changes: Vec::new(),
            questions: Vec::new(),
            options,
        };
        match &plan {
            Plan::Run(command) => {
                ask.command = Some(command.clone());
                ask.cwd = Some(prompt.folder.clone());
            }
            Plan::Edit => {
                ask.kind = RequestKind::FileChange;
                "Change a file".clone_into(&mut ask.title);
                ask.changes = vec![change(&prompt.folder)];
            }
            Plan::Ask => {
                ask.kind = RequestKind::Question;
                "A question".clone_into(&mut ask.title);
                ask.options.clear();
                ask.reason = None;
                ask.questions = vec![Question {
                    id: "colour".to_owned(),
                    text: "Which colour?".to_owned(),
                    choices: vec!["Red".to_owned(), "Blue".to_owned()],
                    free: true,
                    secret: false,
                }];
            }
        }
        self.asks.insert(key, (prompt, plan));
        self.status(&thread, ThreadStatus::Waiting).await;
        self.tell(AgentEvent::Ask { thread, ask: Box::new(ask) }).await;
    }

    async fn answered(
        &mut self,
        prompt: Prompt,
        plan: Plan,
        option: Option<String>,
        answers: Vec<(String, Vec<String>)>,
    ) {
        let Prompt { thread, folder, .. } = prompt;
        let accepted = option.as_deref() != Some("decline");
        let progress = if accepted { Progress::Completed } else { Progress::Declined };
        let id = self.id("item");
        let said = match plan {
            Plan::Run(command) => {
                let output =
                    if accepted { format!("(pretended) {command}\n") } else { String::new() };
                let body = ItemBody::Command {
                    command,
                    cwd: folder,
                    progress,
                    output_bytes: output.len() as u64,
                    output,
                    exit_code: accepted.then_some(0),
                    duration_ms: accepted.then_some(1),
                };
                self.item(&thread, id, body).await;
                if accepted { "I pretended to run it." } else { "Then I leave it." }.to_owned()
            }
            Plan::Edit => {
                let body = ItemBody::FileChange { changes: vec![change(&folder)], progress };
                self.item(&thread, id, body).await;
                if accepted {
                    "I pretended to change it."
                } else {
                    "Then I leave the file as it is."
                }
                .to_owned()
            }
            Plan::Ask => {
                let chosen: Vec<_> = answers.into_iter().flat_map(|(_, a)| a).collect();
                format!("You chose {}.", chosen.join(", "))
            }
        };
        self.status(&thread, ThreadStatus::Running).await;
        self.say(thread, said, WORD_PAUSE);
    }

    /// Streams an answer beside this task, so that it can be stopped.
    fn say(&mut self, thread: String, text: String, pause: Duration) {
        let id = self.id("message");
        let stop = CancellationToken::new();
        self.busy.insert(thread.clone(), stop.clone());
        let (events, ended) = (self.events.clone(), self.ended.clone());
        tokio::spawn(async move {
            stream(events, thread.clone(), id, (text, pause), stop).await;
            let _ = ended.send(thread).await;
        });
    }
}

async fn stream(
    events: mpsc::Sender<AgentEvent>,
    thread: String,
    id: String,
    (text, pause): (String, Duration),
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
            () = tokio::time::sleep(pause) => {}
        }
        said.push_str(word);
        let (thread, item, text) = (thread.clone(), id.clone(), word.to_owned());
        let _ = events.send(AgentEvent::Delta { thread, item, text }).await;
    }
    let _ = events.send(item(said, true)).await;
}

fn option(id: &str, label: &str, allows: bool, reach: Option<&str>) -> RequestOption {
    let reach = reach.map(str::to_owned);
    RequestOption { id: id.to_owned(), label: label.to_owned(), allows, reach }
}

fn change(folder: &str) -> FileChange {
    FileChange {
        path: format!("{folder}/hello.txt"),
        change: "add".to_owned(),
        diff: "@@ -0,0 +1 @@\n+hello\n".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::wildcard_enum_match_arm, reason = "a test waits for some kinds of many")]
mod tests {
    use super::*;

    fn turn(thread: &str, text: &str) -> AgentRequest {
        let (folder, command) = ("/work".to_owned(), text.to_owned());
        AgentRequest::Turn { thread: thread.to_owned(), folder, text: text.to_owned(), command }
    }

    #[tokio::test(start_paused = true)]
    async fn a_prompt_waits_for_the_turn_and_for_the_question_before_it() {
        let (agent, mut told) = start();
        for text in ["hello", "ask", "last"] {
            agent.ask(turn("t", text)).await.expect("taken");
        }

        let mut order = Vec::new();
        while order.last().is_none_or(|l| l != "idle") {
            match told.recv().await.expect("the demo runs") {
                AgentEvent::Item { item, .. } => match item.body {
                    ItemBody::User { text, .. } => order.push(text),
                    ItemBody::Message { done: true, .. } => order.push("answered".to_owned()),
                    _ => {}
                },
                AgentEvent::Ask { .. } => {
                    order.push("asked".to_owned());
                    let interrupt = AgentRequest::Interrupt { thread: "t".to_owned() };
                    agent.ask(interrupt).await.expect("taken");
                }
                AgentEvent::Status { status: ThreadStatus::Idle, .. } => {
                    order.push("idle".to_owned());
                }
                _ => {}
            }
        }

        // The interrupt ended the question and nothing else.
        assert_eq!(order, ["hello", "answered", "ask", "asked", "last", "answered", "idle"]);
    }
}

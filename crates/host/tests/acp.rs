//! An ACP agent that dies, refuses, goes on after its turn and asks outside of one.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of many")]

use std::time::Duration;

use belay_host::{
    Launch,
    agents::{Agent, AgentAsk, AgentError, AgentEvent, AgentReply, AgentRequest, acp},
};
use belay_wire::app::{ItemBody, RequestKind, ThreadStatus};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

const DEADLINE: Duration = Duration::from_secs(20);

struct Fake {
    agent: Agent,
    events: mpsc::Receiver<AgentEvent>,
}

impl Fake {
    async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fake-acp.py");
        let launch = Launch {
            program: "python3".into(),
            args: vec![script.to_owned()],
            env: Vec::new(),
            with_version: true,
        };
        let (agent, events) = acp::start(launch, &TaskTracker::new());
        let fake = Self { agent, events };
        let started = fake.agent.ask(AgentRequest::Start { folder: "/tmp".to_owned() });
        let started = tokio::time::timeout(DEADLINE, started).await.expect("in time");
        assert!(matches!(started, Ok(AgentReply::Thread(t)) if t.id == "s1"));
        fake
    }

    /// The answer to a prompt, which comes when the agent shows that it has it.
    fn prompt(&self, text: &str) -> tokio::task::JoinHandle<Result<AgentReply, AgentError>> {
        let agent = self.agent.clone();
        let request = AgentRequest::Turn {
            thread: "s1".to_owned(),
            folder: "/tmp".to_owned(),
            text: text.to_owned(),
            command: format!("c-{text}"),
        };
        tokio::spawn(async move { agent.ask(request).await })
    }

    async fn answer(
        &self,
        key: &str,
        option: &str,
        answers: &[(&str, &str)],
    ) -> Option<AgentError> {
        let answers =
            answers.iter().map(|(id, a)| ((*id).to_owned(), vec![(*a).to_owned()])).collect();
        let (key, option) = (key.to_owned(), Some(option.to_owned()));
        self.agent.ask(AgentRequest::Answer { key, option, answers }).await.err()
    }

    /// The first event for which `pick` gives something.
    async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(AgentEvent) -> Option<T>) -> T {
        let picked = async {
            loop {
                let event = self.events.recv().await.expect("the agent is there");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        tokio::time::timeout(DEADLINE, picked).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    async fn asks(&mut self) -> AgentAsk {
        self.until("question", |event| match event {
            AgentEvent::Ask { ask, .. } => Some(*ask),
            _ => None,
        })
        .await
    }

    async fn says(&mut self, wanted: &str) {
        let mut said = String::new();
        self.until(wanted, |event| {
            if let AgentEvent::Delta { text, .. } = event {
                said.push_str(&text);
            }
            said.contains(wanted).then_some(())
        })
        .await;
    }

    async fn becomes(&mut self, wanted: &ThreadStatus) {
        self.until("status", |event| match event {
            AgentEvent::Status { status, .. } => (status == *wanted).then_some(()),
            _ => None,
        })
        .await;
    }
}

fn is_unknown(result: &Result<AgentReply, AgentError>) -> bool {
    matches!(result, Err(AgentError::Unknown))
}

#[tokio::test]
async fn a_prompt_that_the_agent_dies_on_is_unknown_and_stands_in_no_transcript() {
    let mut fake = Fake::start().await;

    assert!(is_unknown(&fake.prompt("DIE").await.expect("joined")));

    let mut prompts = 0;
    fake.until("restart", |event| match event {
        AgentEvent::Item { .. } => {
            prompts += 1;
            None
        }
        AgentEvent::State { text: Some(_), .. } => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(prompts, 0, "the prompt is not called given");
}

#[tokio::test]
async fn a_prompt_that_the_agent_refuses_is_refused_with_its_words() {
    let fake = Fake::start().await;

    let refused = fake.prompt("REFUSE").await.expect("joined").expect_err("refused");

    assert_eq!(refused.to_string(), "log in first");
}

#[tokio::test]
async fn a_prompt_given_while_the_agent_works_follows_the_turn_that_runs() {
    let mut fake = Fake::start().await;
    assert!(fake.prompt("HANG").await.expect("joined").is_ok());

    let second = fake.prompt("hello");
    fake.says("working").await;
    fake.agent.ask(AgentRequest::Interrupt { thread: "s1".to_owned() }).await.expect("stopped");

    assert!(second.await.expect("joined").is_ok());
    fake.says("you said hello").await;
    fake.becomes(&ThreadStatus::Idle).await;
}

#[tokio::test]
async fn what_an_agent_says_after_its_turn_is_kept_whole_and_ends() {
    let mut fake = Fake::start().await;
    assert!(fake.prompt("LATE").await.expect("joined").is_ok());

    let mut items = Vec::new();
    let mut text = String::new();
    fake.until("the last word", |event| {
        match event {
            AgentEvent::Item { item, .. } => items.push(item),
            AgentEvent::Delta { text: more, .. } => text.push_str(&more),
            _ => {}
        }
        text.ends_with("END").then_some(())
    })
    .await;

    let late: Vec<_> =
        items.iter().filter(|i| matches!(i.body, ItemBody::Message { done: true, .. })).collect();
    assert_eq!((late.len(), text.as_str()), (1, "one two END"));
}

#[tokio::test]
async fn a_permission_outside_a_turn_is_answered_and_the_thread_goes_on() {
    let mut fake = Fake::start().await;
    assert!(fake.prompt("LATE-ASK").await.expect("joined").is_ok());

    let ask = fake.asks().await;
    assert_eq!(fake.answer(&ask.key, "yes", &[]).await.map(|e| e.to_string()), None);
    fake.says("answered").await;

    assert!(fake.prompt("next").await.expect("joined").is_ok());
    fake.says("you said next").await;
}

#[tokio::test]
async fn an_answer_counts_as_taken_when_the_agent_goes_on_and_only_once() {
    let mut fake = Fake::start().await;
    let prompt = fake.prompt("ASK");
    let ask = fake.asks().await;
    assert!(prompt.await.expect("joined").is_ok());

    assert!(fake.answer(&ask.key, "yes", &[]).await.is_none());
    assert!(fake.answer(&ask.key, "no", &[]).await.is_some(), "the first answer won");

    let details = (ask.command.as_deref(), ask.cwd.as_deref(), ask.reason.as_deref());
    assert_eq!(details, (Some("touch x"), Some("/tmp"), Some("because")));
    let key = ask.key.clone();
    fake.until("resolved", |event| match event {
        AgentEvent::Resolved { key: over } => (over == key).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_form_is_filled_as_its_schema_wants() {
    let mut fake = Fake::start().await;
    let prompt = fake.prompt("FORM");
    let ask = fake.asks().await;
    assert!(prompt.await.expect("joined").is_ok());
    assert_eq!((ask.kind, ask.questions.len()), (RequestKind::Question, 2));

    let missing = fake.answer(&ask.key, "accept", &[("count", "2")]).await.expect("incomplete");
    assert!(missing.to_string().contains("colour"), "{missing}");
    assert!(fake.answer(&ask.key, "accept", &[("colour", "Red"), ("count", "2")]).await.is_none());

    fake.says(r#"answered {"action": "accept", "content": {"colour": "Red", "count": 2}}"#).await;
}

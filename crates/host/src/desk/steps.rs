//! How a command is carried out by an agent, and what it did.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::agents::{Agent, AgentError, AgentItem, AgentReply, AgentRequest, ThreadInfo};

/// What a command did.
#[derive(Debug)]
pub(super) enum Effect {
    Nothing,
    Started(ThreadInfo, Option<AgentError>),
    Loaded(ThreadInfo, Vec<AgentItem>),
    Renamed { thread: String, title: String },
    Archived { thread: String },
    Answered,
}

/// How a command is carried out.
pub(super) enum Plan {
    Done(Option<Value>),
    Ask(usize, Steps),
}

pub(super) enum Steps {
    One(AgentRequest),
    /// The second one unless the first one finds that it was done.
    Unless(AgentRequest, AgentRequest),
    Start {
        folder: String,
        prompt: Option<(String, String)>,
    },
}

impl Steps {
    /// A prompt that may have reached its thread is looked for before it is given again.
    pub(super) fn unless_done(self) -> Self {
        match self {
            Self::One(AgentRequest::Turn { thread, folder, text, command }) => Self::Unless(
                AgentRequest::Find { thread: thread.clone(), command: command.clone() },
                AgentRequest::Turn { thread, folder, text, command },
            ),
            other => other,
        }
    }

    /// The thread whose commands follow each other: prompts, and what loads or names it. What stops
    /// or answers does not wait.
    pub(super) fn thread(&self) -> Option<&str> {
        match self {
            Self::One(
                AgentRequest::Turn { thread, .. }
                | AgentRequest::Resume { thread, .. }
                | AgentRequest::Rename { thread, .. }
                | AgentRequest::Archive { thread },
            )
            | Self::Unless(_, AgentRequest::Turn { thread, .. }) => Some(thread),
            Self::One(_) | Self::Unless(..) | Self::Start { .. } => None,
        }
    }
}

/// A new thread, and the word that its record is written.
pub(super) type Started = (ThreadInfo, oneshot::Sender<()>);

/// `started` is told of a new thread, and its first prompt is given once the thread's record is written.
pub(super) async fn carry_out(
    agent: &Agent,
    steps: Steps,
    started: mpsc::Sender<Started>,
) -> Result<Effect, AgentError> {
    match steps {
        Steps::Unless(find, request) => {
            match agent.ask(find).await {
                Ok(AgentReply::Found(true)) => {}
                Ok(_) => drop(agent.ask(request).await?),
                // Whether it was done is as unknown as before.
                Err(_) => return Err(AgentError::Unknown),
            }
            Ok(Effect::Nothing)
        }
        Steps::Start { folder, prompt } => {
            let start = AgentRequest::Start { folder: folder.clone() };
            let AgentReply::Thread(info) = agent.ask(start).await? else {
                return Err(AgentError::Refused("the agent gave no thread".to_owned()));
            };
            let (written, record) = oneshot::channel();
            let _ = started.send((info.clone(), written)).await;
            // What the agent tells of the prompt comes another way, and would make a thread without a folder.
            let _ = record.await;
            let mut trouble = None;
            if let Some((text, command)) = prompt {
                let turn = AgentRequest::Turn { thread: info.id.clone(), folder, text, command };
                trouble = agent.ask(turn).await.err();
            }
            Ok(Effect::Started(info, trouble))
        }
        Steps::One(request) => {
            let effect = match &request {
                AgentRequest::Rename { thread, title } => {
                    Effect::Renamed { thread: thread.clone(), title: title.clone() }
                }
                AgentRequest::Archive { thread } => Effect::Archived { thread: thread.clone() },
                AgentRequest::Answer { .. } => Effect::Answered,
                _ => Effect::Nothing,
            };
            Ok(match agent.ask(request).await? {
                AgentReply::Loaded(info, items) => Effect::Loaded(info, items),
                _ => effect,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_prompt_of_a_thread_follows_when_its_record_is_written() {
        let (calls, mut queue) = mpsc::channel(4);
        let (started, mut made) = mpsc::channel(1);
        let agent = Agent::new("a", "a".to_owned(), calls);
        let prompt = Some(("hello".to_owned(), "c".to_owned()));
        let steps = Steps::Start { folder: "/".to_owned(), prompt };
        tokio::spawn(async move { drop(carry_out(&agent, steps, started).await) });
        let start = queue.recv().await.expect("a start");
        let _ = start.reply.send(Ok(AgentReply::Thread(ThreadInfo::default())));
        let (_, written) = made.recv().await.expect("a thread");
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(queue.try_recv().is_err(), "the prompt waits");

        let _ = written.send(());

        let turn = queue.recv().await.expect("a prompt");
        assert!(matches!(turn.request, AgentRequest::Turn { .. }));
    }
}

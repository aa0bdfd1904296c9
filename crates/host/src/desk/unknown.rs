//! Commands whose effect is unknown: the host or the agent ended between intent and result.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use belay_wire::{
    MemberId,
    app::{Command, CommandOutcome, CommandRequest, CommandState, CommandView, Settle, ThreadView},
};

use super::{
    Desk, Work,
    command::{done, failed},
    publish::Changed,
};
use crate::agents::{AgentReply, AgentRequest};

/// How far the clocks of phone and desktop may differ when a thread is looked for by its age.
const STARTED_SKEW_MS: u64 = 10 * 60_000;
/// Threads that are looked into for a prompt that may have started one.
const STARTED_MAX: usize = 10;

impl Desk {
    /// After a restart: what needs no person is ended, the rest is shown until one decides.
    pub(super) fn sort_out_unknown(&mut self) {
        self.end_prompts_that_stand();
        let ended: Vec<_> = self
            .unknown
            .iter()
            .filter_map(|(id, (_, request))| Some((id.clone(), ending(&request.command)?)))
            .collect();
        for (id, text) in ended {
            self.unknown.remove(&id);
            let outcome = failed(id.clone(), text.to_owned());
            self.end(&id, &outcome);
        }
    }

    /// A person decided.
    pub(super) fn settle(&mut self, id: &str, how: Settle) -> Result<(), String> {
        let decided = "this command was decided already";
        let (member, request) = self.unknown.remove(id).ok_or(decided)?;
        self.hide_unknown(&request);
        match how {
            Settle::SendAgain => self.begin(member, &request, true),
            Settle::Drop => {
                let text = "dropped; whether it was done is not known".to_owned();
                let (id, state) = (request.id.clone(), CommandState::Dropped);
                let outcome = CommandOutcome { id, state, text: Some(text), data: None };
                self.end(&request.id, &outcome);
            }
        }
        Ok(())
    }

    pub(super) fn became_unknown(&mut self, id: &str) {
        let Some((member, request)) = self.parts.journal.begun(id).cloned() else { return };
        if let Some(text) = ending(&request.command) {
            let outcome = failed(id.to_owned(), text.to_owned());
            return self.end(id, &outcome);
        }
        self.unknown.insert(id.to_owned(), (member, request));
        self.publisher.mark(Changed::Command(id.to_owned()));
        self.tell_unknown(member, id);
    }

    pub(super) fn tell_unknown(&mut self, member: MemberId, id: &str) {
        let text = "it is not known whether this was done; send it again or drop it".to_owned();
        let (id, state) = (id.to_owned(), CommandState::Unknown);
        self.tell_result(member, &CommandOutcome { id, state, text: Some(text), data: None });
    }

    /// The unknown commands that brought a prompt, each with the threads in which it may stand.
    fn unknown_prompts(&self) -> Vec<(String, String)> {
        self.unknown
            .values()
            .filter_map(|(_, request)| match &request.command {
                Command::TurnStart { thread, .. } => {
                    Some(vec![(request.id.clone(), thread.clone())])
                }
                // The thread itself may have been made, with the prompt in it.
                Command::ThreadStart { folder, prompt: Some(_), .. } => {
                    let views = self.parts.transcript.views().into_iter();
                    let may = |v: &&ThreadView| {
                        v.folder == *folder && v.created_at + STARTED_SKEW_MS >= request.at
                    };
                    let threads = views.filter(may).take(STARTED_MAX);
                    Some(threads.map(|v| (request.id.clone(), v.id.clone())).collect())
                }
                _ => None,
            })
            .flatten()
            .collect()
    }

    /// A prompt that stands in its thread was done; no agent is needed to know it.
    fn end_prompts_that_stand(&mut self) {
        for (id, thread) in self.unknown_prompts() {
            if self.parts.transcript.has_prompt(&thread, &id) {
                self.was_done(&id);
            }
        }
    }

    /// An agent is ready: it is asked for the prompts that do not stand in our record of their threads.
    pub(super) fn look_for_unknown_prompts(&mut self, agent: usize) {
        self.end_prompts_that_stand();
        for (id, thread) in self.unknown_prompts() {
            let Ok((at, native)) = self.thread_in_agent(&thread) else { continue };
            if at != agent {
                continue;
            }
            let (handle, finished) = (self.slots[at].agent.clone(), self.finished.clone());
            tokio::spawn(async move {
                let find = AgentRequest::Find { thread: native, command: id.clone() };
                if let Ok(AgentReply::Found(true)) = handle.ask(find).await {
                    let _ = finished.send(Work::Found(id)).await;
                }
            });
        }
    }

    pub(super) fn was_done(&mut self, id: &str) {
        if let Some((_, request)) = self.unknown.remove(id) {
            self.hide_unknown(&request);
            self.end(id, &done(id.to_owned(), None));
        }
    }

    fn hide_unknown(&mut self, request: &CommandRequest) {
        let (id, command, at) = (request.id.clone(), request.command.clone(), request.at);
        self.publisher.settle(CommandView { id, command, at, unknown: false });
    }
}

/// How a command ends without a person when its effect is unknown; `None`: a person decides.
fn ending(command: &Command) -> Option<&'static str> {
    match command {
        Command::Answer { .. } => {
            Some("it is not known whether the agent got this answer; it no longer waits for it")
        }
        Command::ThreadResume { .. } => {
            Some("the agent or the desktop ended; open the thread again")
        }
        Command::Settle { .. } => Some("the desktop was restarted; decide again if it still asks"),
        Command::ThreadStart { .. }
        | Command::ThreadRename { .. }
        | Command::ThreadArchive { .. }
        | Command::TurnStart { .. }
        | Command::TurnInterrupt { .. }
        | Command::ThreadList { .. }
        | Command::ItemPage { .. }
        | Command::ItemGet { .. } => None,
    }
}

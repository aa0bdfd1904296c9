//! The members' commands: at most once, answered always, never forgotten.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::path::Path;

use belay_wire::{
    MemberId,
    app::{
        Answer, Command, CommandOutcome, CommandRequest, CommandState, FromHost, ThreadStatus, seal,
    },
};
use serde_json::{Value, json};

use super::{
    Desk,
    lane::{Finished, Job},
    shorten::{shortened, shortened_thread},
    steps::{Effect, Plan, Steps},
};
use crate::{
    agents::{AgentError, AgentRequest},
    clock::unix_ms,
    journal::Known,
};

/// Threads of one page.
const THREADS_MAX: usize = 50;
/// Bytes of items that one page carries.
const PAGE_BYTES: usize = 512 * 1024;

impl Desk {
    /// Takes a command; its result follows on the member's own channel.
    pub(super) fn command(&mut self, member: MemberId, request: &CommandRequest) {
        let id = &request.id;
        if id.is_empty() || id.len() > 128 {
            return self.note("a command without a usable id was dropped".to_owned());
        }
        if request.command.is_read() {
            let outcome = if self.publisher.is_behind(member) {
                let text = "answers wait for this phone's connection; ask again in a moment";
                failed(id.clone(), text.to_owned())
            } else {
                self.read(request)
            };
            return self.tell_result(member, &outcome);
        }
        match self.parts.journal.known(id) {
            Some(Known::Ended(outcome)) => return self.tell_result(member, &outcome),
            Some(Known::Begun) => {
                if self.unknown.contains_key(id) {
                    self.tell_unknown(member, id);
                }
                return;
            }
            None => {}
        }
        if let Err(error) = self.parts.journal.intend(member, &self.without_secrets(request)) {
            let text = format!("the desktop cannot write its journal ({error}); nothing was done");
            let outcome = failed(id.clone(), text);
            return self.tell_result(member, &outcome);
        }
        self.begin(member, request, false);
    }

    /// A command as it is written down: answers that must not be shown are not kept.
    fn without_secrets(&self, request: &CommandRequest) -> CommandRequest {
        let mut kept = request.clone();
        if let Command::Answer { request, answers, .. } = &mut kept.command {
            let questions = self.parts.requests.view(request).map(|v| v.questions.as_slice());
            for question in questions.unwrap_or_default().iter().filter(|q| q.secret) {
                answers.remove(&question.id);
            }
        }
        kept
    }

    /// Begins a command whose intent is kept. `again`: it may have been done before.
    pub(super) fn begin(&mut self, member: MemberId, request: &CommandRequest, again: bool) {
        let id = request.id.clone();
        match self.plan(member, request) {
            Ok(Plan::Ask(agent, steps)) => {
                let steps = if again { steps.unless_done() } else { steps };
                if let Err(text) = self.line_up(Job { id: id.clone(), agent, steps }) {
                    self.end(&id, &failed(id.clone(), text));
                }
            }
            Ok(Plan::Done(data)) => self.end(&id, &done(id.clone(), data)),
            Err(text) => self.end(&id, &failed(id.clone(), text)),
        }
    }

    /// What a command means for an agent; what the desktop can do alone is done here.
    fn plan(&mut self, member: MemberId, request: &CommandRequest) -> Result<Plan, String> {
        let id = request.id.clone();
        match request.command.clone() {
            Command::ThreadStart { agent, folder, prompt } => {
                let at = self.agent_named(&agent)?;
                if !Path::new(&folder).is_dir() && self.is_below_allowed(&folder) {
                    return Err(format!("there is no folder {folder}; make it on the desktop"));
                }
                if !self.is_allowed(&folder) {
                    return Err(format!(
                        "{folder} is not a folder that the desktop allows; add it there with --folder"
                    ));
                }
                Ok(Plan::Ask(at, Steps::Start { folder, prompt: prompt.map(|text| (text, id)) }))
            }
            Command::ThreadResume { thread } => {
                let (at, native) = self.thread_in_agent(&thread)?;
                let folder = self.folder_of(&thread);
                Ok(Plan::Ask(at, Steps::One(AgentRequest::Resume { thread: native, folder })))
            }
            Command::ThreadRename { thread, title } => {
                let (at, native) = self.thread_in_agent(&thread)?;
                Ok(Plan::Ask(at, Steps::One(AgentRequest::Rename { thread: native, title })))
            }
            Command::ThreadArchive { thread } => {
                let (at, native) = self.thread_in_agent(&thread)?;
                Ok(Plan::Ask(at, Steps::One(AgentRequest::Archive { thread: native })))
            }
            Command::TurnStart { thread, text } => {
                let (at, native) = self.thread_in_agent(&thread)?;
                let folder = self.folder_of(&thread);
                Ok(Plan::Ask(
                    at,
                    Steps::One(AgentRequest::Turn { thread: native, folder, text, command: id }),
                ))
            }
            Command::TurnInterrupt { thread } => {
                let (at, native) = self.thread_in_agent(&thread)?;
                Ok(Plan::Ask(at, Steps::One(AgentRequest::Interrupt { thread: native })))
            }
            Command::Answer { request, option, answers } => {
                self.answer(member, &id, &request, option, answers.into_iter().collect())
            }
            Command::Settle { command, how } => {
                self.settle(&command, how).map(|()| Plan::Done(None))
            }
            Command::ThreadList { .. } | Command::ItemPage { .. } | Command::ItemGet { .. } => {
                Ok(Plan::Done(None))
            }
        }
    }

    fn answer(
        &mut self,
        member: MemberId,
        command: &str,
        request: &str,
        option: Option<String>,
        answers: Vec<(String, Vec<String>)>,
    ) -> Result<Plan, String> {
        let view = self.parts.requests.view(request);
        let view = view.ok_or("this request is not known any more; the list shows what is open")?;
        let label = match &option {
            Some(chosen) => {
                let option = view.options.iter().find(|o| o.id == *chosen);
                option.ok_or("the agent does not offer that answer")?.label.clone()
            }
            None if view.questions.is_empty() => return Err("choose one of the options".to_owned()),
            None => {
                let is_secret = |id: &str| view.questions.iter().any(|q| q.id == id && q.secret);
                let shown = |(id, given): &(String, Vec<String>)| {
                    if is_secret(id) { "(not shown)".to_owned() } else { given.join(", ") }
                };
                answers.iter().map(shown).collect::<Vec<_>>().join(", ")
            }
        };
        let by = self.device_name(member);
        self.note(format!("{by} answered: {label}"));
        let answer = Answer { by, label, at: unix_ms(), command: command.to_owned() };
        let rev = self.parts.transcript.next_rev();
        let route = self.parts.requests.take(request, answer, rev)?;
        self.request_changed(request);
        let key = route.key;
        Ok(Plan::Ask(route.agent, Steps::One(AgentRequest::Answer { key, option, answers })))
    }

    fn agent_named(&self, agent: &str) -> Result<usize, String> {
        let at = self.slots.iter().position(|s| s.agent.id == agent);
        at.ok_or_else(|| format!("the desktop has no agent \"{agent}\""))
    }

    pub(super) fn thread_in_agent(&self, thread: &str) -> Result<(usize, String), String> {
        let unknown = || "the desktop does not know this thread".to_owned();
        let view = self.parts.transcript.view(thread).ok_or_else(unknown)?;
        if !self.is_allowed(&view.folder) {
            return Err(format!("{} is not a folder that the desktop allows", view.folder));
        }
        let native = self.parts.transcript.native(thread).ok_or_else(unknown)?;
        Ok((self.agent_named(&view.agent)?, native.to_owned()))
    }

    fn may_read(&self, thread: &str) -> Result<(), String> {
        let view = self.parts.transcript.view(thread);
        let view = view.ok_or("the desktop does not know this thread")?;
        if self.is_allowed(&view.folder) {
            return Ok(());
        }
        Err(format!("{} is not a folder that the desktop allows", view.folder))
    }

    fn folder_of(&self, thread: &str) -> String {
        self.parts.transcript.view(thread).map_or(String::new(), |v| v.folder.clone())
    }

    /// A folder is allowed if it is one of the configured ones or below, links resolved.
    /// Tells whether the path reads as one below an allowed folder; of others nothing is told.
    fn is_below_allowed(&self, folder: &str) -> bool {
        let folder = Path::new(folder);
        let plain = folder.components().all(|c| !matches!(c, std::path::Component::ParentDir));
        plain && self.parts.folders.iter().any(|allowed| folder.starts_with(allowed))
    }

    pub(super) fn is_allowed(&self, folder: &str) -> bool {
        let Ok(folder) = Path::new(folder).canonicalize() else { return false };
        self.parts.folders.iter().any(|allowed| folder.starts_with(allowed))
    }

    /// A command that ran beside has ended.
    pub(super) fn finished(&mut self, finished: Finished) {
        let Finished { id, agent, lane, result } = finished;
        self.next_in(lane);
        let outcome = match result {
            Ok(effect) => self.take_effect(agent, &id, effect),
            Err(AgentError::Unknown) => return self.became_unknown(&id),
            Err(error) => {
                self.reopen_request(&id);
                failed(id.clone(), error.to_string())
            }
        };
        self.end(&id, &outcome);
    }

    fn take_effect(&mut self, agent: usize, id: &str, effect: Effect) -> CommandOutcome {
        let id = id.to_owned();
        match effect {
            Effect::Nothing | Effect::Answered => done(id, None),
            Effect::Started(info, trouble) => {
                let thread = self.put_thread(agent, &info, ThreadStatus::Idle);
                let data = Some(json!({ "thread": thread }));
                match trouble {
                    None => done(id, data),
                    Some(error) => {
                        let text = format!("the thread was made, but its prompt failed: {error}");
                        CommandOutcome { id, state: CommandState::Failed, text: Some(text), data }
                    }
                }
            }
            Effect::Loaded(info, items) => {
                let thread = self.put_thread(agent, &info, ThreadStatus::Idle);
                self.import(&thread, items);
                if self
                    .parts
                    .transcript
                    .view(&thread)
                    .is_some_and(|v| v.status == ThreadStatus::Stored)
                {
                    self.set_status(&thread, ThreadStatus::Idle, None);
                }
                done(id, Some(json!({ "thread": thread })))
            }
            Effect::Renamed { thread, title } => {
                let thread = self.thread_id(agent, &thread);
                self.change_thread(&thread, |view| view.title = title);
                done(id, None)
            }
            Effect::Archived { thread } => {
                let thread = self.thread_id(agent, &thread);
                self.change_thread(&thread, |view| view.archived = true);
                done(id, None)
            }
        }
    }

    /// An answer that did not reach the agent leaves its request open.
    fn reopen_request(&mut self, id: &str) {
        let Some((_, request)) = self.parts.journal.begun(id) else { return };
        if let Command::Answer { request, .. } = request.command.clone() {
            let rev = self.parts.transcript.next_rev();
            self.parts.requests.reopen(&request, id, rev);
            self.request_changed(&request);
        }
    }

    pub(super) fn end(&mut self, id: &str, outcome: &CommandOutcome) {
        let member = self.parts.journal.begun(id).map(|(member, _)| *member);
        if let Err(error) = self.parts.journal.end(outcome) {
            self.note(format!("a result was not written down: {error}"));
        }
        if let Some(member) = member {
            self.tell_result(member, outcome);
        }
    }

    pub(super) fn tell_result(&mut self, member: MemberId, outcome: &CommandOutcome) {
        let Ok(mut payload) = seal(&FromHost::Result { outcome: outcome.clone() }) else { return };
        if payload.text().len() > belay_wire::HOST_MESSAGE_BYTES_MAX {
            let text = "this is too large to send to the phone; look at it on the desktop";
            let short = failed(outcome.id.clone(), text.to_owned());
            let Ok(sealed) = seal(&FromHost::Result { outcome: short }) else { return };
            payload = sealed;
        }
        self.publisher.result(member, payload);
        self.flush();
    }

    /// Commands that change nothing.
    fn read(&self, request: &CommandRequest) -> CommandOutcome {
        let id = request.id.clone();
        let transcript = &self.parts.transcript;
        match &request.command {
            Command::ThreadList { before, limit } => {
                let limit = usize::try_from(*limit).unwrap_or(THREADS_MAX).clamp(1, THREADS_MAX);
                let older = transcript
                    .views()
                    .into_iter()
                    .filter(|v| before.is_none_or(|b| v.updated_at < b))
                    .filter(|v| !v.archived && self.is_allowed(&v.folder));
                let threads: Vec<_> = older.take(limit).map(shortened_thread).collect();
                done(id, Some(json!({ "more": threads.len() == limit, "threads": threads })))
            }
            Command::ItemPage { thread, before, limit } => {
                if let Err(text) = self.may_read(thread) {
                    return failed(id, text);
                }
                let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
                let (items, mut more) = transcript.page(thread, *before, limit);
                let mut bytes = 0;
                let mut page: Vec<Value> = Vec::new();
                for item in items.into_iter().rev() {
                    let value = serde_json::to_value(shortened(item)).unwrap_or_default();
                    bytes += value.to_string().len();
                    if bytes > PAGE_BYTES && !page.is_empty() {
                        more = true;
                        break;
                    }
                    page.push(value);
                }
                page.reverse();
                done(id, Some(json!({ "thread": thread, "items": page, "more": more })))
            }
            Command::ItemGet { thread, item } => match transcript.item(thread, item) {
                Some(_) if self.may_read(thread).is_err() => {
                    failed(id, "the desktop does not allow this folder".to_owned())
                }
                Some(item) => done(id, Some(json!({ "thread": thread, "item": item }))),
                None => failed(id, "the desktop does not know this item".to_owned()),
            },
            _ => failed(id, "this command does something".to_owned()),
        }
    }
}

pub(super) fn done(id: String, data: Option<Value>) -> CommandOutcome {
    CommandOutcome { id, state: CommandState::Done, text: None, data }
}

pub(super) fn failed(id: String, text: String) -> CommandOutcome {
    CommandOutcome { id, state: CommandState::Failed, text: Some(text), data: None }
}

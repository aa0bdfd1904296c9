//! What agents tell: items, text, requests, and the state of their process.

use belay_wire::app::{AgentState, ItemBody, ThreadStatus, ThreadView};

use super::{Desk, publish::Changed, shorten::shorten_ask};
use crate::{
    agents::{AgentEvent, AgentItem, AgentReply, AgentRequest, ThreadInfo},
    clock::unix_ms,
    desk::Work,
};

impl Desk {
    pub(super) fn agent_event(&mut self, agent: usize, event: AgentEvent) {
        match event {
            AgentEvent::State { state, version, pid, text } => {
                self.agent_state(agent, state, version, text, pid);
            }
            AgentEvent::Restarted => self.agent_is_new(agent),
            AgentEvent::Item { thread, item } => {
                let thread = self.thread_of(agent, &thread);
                let id = item.id.clone();
                if self.parts.transcript.put_item(&thread, item) {
                    self.item_changed(&thread, &id);
                    self.title_from_prompt(&thread, &id);
                }
            }
            AgentEvent::History { thread, items } => {
                let thread = self.thread_of(agent, &thread);
                self.import(&thread, items);
            }
            AgentEvent::Delta { thread, item, text } => {
                let thread = self.thread_of(agent, &thread);
                self.text_added(&thread, &item, &text);
            }
            AgentEvent::Status { thread, status, error } => {
                let thread = self.thread_of(agent, &thread);
                self.set_status(&thread, status, error);
            }
            AgentEvent::TurnEnded { thread, turn } => {
                let thread = self.thread_of(agent, &thread);
                self.close_items(&thread, Some(&turn));
            }
            AgentEvent::Named(name) => {
                if let Some(slot) = self.slots.get_mut(agent) {
                    slot.view.name = name;
                    self.publisher.mark(Changed::Agent(agent));
                }
            }
            AgentEvent::Title { thread, title } => {
                let thread = self.thread_of(agent, &thread);
                self.change_thread(&thread, |view| view.title = title);
            }
            AgentEvent::Ask { thread, mut ask } => {
                let thread = self.thread_of(agent, &thread);
                shorten_ask(&mut ask);
                let rev = self.parts.transcript.next_rev();
                let view = self.parts.requests.ask(agent, &thread, *ask, rev);
                self.note(format!(
                    "waiting for an answer: {}",
                    view.command.as_ref().unwrap_or(&view.title)
                ));
                self.request_changed(&view.id);
            }
            AgentEvent::Resolved { key } => {
                let rev = self.parts.transcript.next_rev();
                if let Some(id) = self.parts.requests.resolved(agent, &key, rev) {
                    self.request_changed(&id);
                }
            }
        }
    }

    /// Takes what an agent remembers of a thread of which the host has no record of its own.
    pub(super) fn import(&mut self, thread: &str, items: Vec<AgentItem>) {
        if self.parts.transcript.has_items(thread) {
            return;
        }
        for item in items {
            let id = item.id.clone();
            if self.parts.transcript.put_item(thread, item) {
                self.publisher.mark(Changed::Item(thread.to_owned(), id));
            }
        }
    }

    fn agent_state(
        &mut self,
        agent: usize,
        state: AgentState,
        version: String,
        text: Option<String>,
        pid: Option<u32>,
    ) {
        let Some(slot) = self.slots.get_mut(agent) else { return };
        slot.view.state = state;
        slot.view.text = text;
        slot.view.seen_at = unix_ms();
        if !version.is_empty() {
            slot.view.version = version;
        }
        let name = slot.view.name.clone();
        let line = match (&slot.view.text, pid) {
            (Some(cause), _) => format!("{name}: {cause}"),
            (None, Some(pid)) => format!("{name} {} runs (process {pid})", slot.view.version),
            (None, None) => format!("{name} is ready"),
        };
        let ready = slot.view.state == AgentState::Ready;
        let gone = matches!(slot.view.state, AgentState::Restarting | AgentState::Down);
        self.note(line);
        self.publisher.mark(Changed::Agent(agent));
        if ready {
            self.list_threads(agent);
        }
        if gone {
            self.agent_is_new(agent);
        }
    }

    /// A process that ended, or a new one, knows nothing of former requests and turns.
    fn agent_is_new(&mut self, agent: usize) {
        let rev = self.parts.transcript.next_rev();
        let note = "the agent ended and no longer waits for this";
        for id in self.parts.requests.void(Some(agent), note, rev) {
            self.request_changed(&id);
            let thread = self.parts.requests.view(&id).map(|v| v.thread.clone());
            if let Some(thread) = thread {
                self.add_notice(&thread, &id, "The agent ended. What it asked before is void.");
            }
        }
        let Some(slot) = self.slots.get(agent) else { return };
        let id = slot.agent.id.clone();
        let busy = |v: &&ThreadView| {
            v.agent == id
                && matches!(
                    v.status,
                    ThreadStatus::Running | ThreadStatus::Waiting | ThreadStatus::Idle
                )
        };
        let was_working = |v: &ThreadView| v.status != ThreadStatus::Idle;
        let busy = self.parts.transcript.views().into_iter().filter(busy);
        let busy: Vec<_> = busy.map(|v| (v.id.clone(), was_working(v))).collect();
        for (thread, was_working) in busy {
            self.close_items(&thread, None);
            if was_working {
                let text = "The agent ended in the middle of this turn.";
                self.add_notice(&thread, &format!("ended-{}", unix_ms()), text);
            }
            self.set_status(&thread, ThreadStatus::Stored, None);
        }
    }

    /// Ends items that nobody will complete: those of a turn, or all of a thread.
    fn close_items(&mut self, thread: &str, turn: Option<&str>) {
        for item in self.parts.transcript.close_items(thread, turn) {
            self.item_changed(thread, &item);
        }
    }

    pub(super) fn add_notice(&mut self, thread: &str, about: &str, text: &str) {
        let id = format!("notice-{about}");
        let body = ItemBody::Notice { text: text.to_owned() };
        if self.parts.transcript.put_item(thread, AgentItem { id: id.clone(), turn: None, body }) {
            self.item_changed(thread, &id);
        }
    }

    fn list_threads(&mut self, agent: usize) {
        let Some(slot) = self.slots.get(agent) else { return };
        let (handle, finished) = (slot.agent.clone(), self.finished.clone());
        tokio::spawn(async move {
            if let Ok(AgentReply::Threads(threads)) = handle.ask(AgentRequest::List).await {
                let _ = finished.send(Work::Threads(agent, threads)).await;
            }
        });
    }

    /// Adds the threads that an agent knows from before.
    pub(super) fn threads_listed(&mut self, agent: usize, threads: Vec<ThreadInfo>) {
        for info in threads {
            let id = self.thread_id(agent, &info.id);
            if self.parts.transcript.view(&id).is_none() && self.is_allowed(&info.folder) {
                self.put_thread(agent, &info, ThreadStatus::Stored);
            }
        }
        self.look_for_unknown_prompts(agent);
    }

    pub(super) fn thread_id(&self, agent: usize, native: &str) -> String {
        let agent = self.slots.get(agent).map_or("", |s| s.agent.id.as_str());
        format!("{agent}:{native}")
    }

    /// Our id of an agent's thread, which is added if it is new.
    fn thread_of(&mut self, agent: usize, native: &str) -> String {
        let id = self.thread_id(agent, native);
        if self.parts.transcript.view(&id).is_none() {
            let info = ThreadInfo { id: native.to_owned(), ..ThreadInfo::default() };
            self.put_thread(agent, &info, ThreadStatus::Idle);
        }
        id
    }

    /// Adds a thread, or completes what is known of it.
    pub(super) fn put_thread(
        &mut self,
        agent: usize,
        info: &ThreadInfo,
        status: ThreadStatus,
    ) -> String {
        let id = self.thread_id(agent, &info.id);
        let now = unix_ms();
        let held = self.parts.transcript.view(&id).cloned();
        let mut view = held.unwrap_or_else(|| ThreadView {
            id: id.clone(),
            agent: self.slots.get(agent).map_or(String::new(), |s| s.agent.id.clone()),
            title: String::new(),
            folder: String::new(),
            created_at: if info.created_at > 0 { info.created_at } else { now },
            updated_at: if info.updated_at > 0 { info.updated_at } else { now },
            status,
            error: None,
            archived: false,
            rev: 0,
        });
        if view.title.is_empty() {
            view.title.clone_from(&info.title);
        }
        if view.folder.is_empty() {
            view.folder.clone_from(&info.folder);
        }
        self.parts.transcript.put_thread(&info.id, view);
        self.publisher.mark(Changed::Thread(id.clone()));
        id
    }

    pub(super) fn set_status(&mut self, thread: &str, status: ThreadStatus, error: Option<String>) {
        let same = self
            .parts
            .transcript
            .view(thread)
            .is_none_or(|v| v.status == status && v.error == error);
        // A failed turn is followed by "idle", which must not hide the failure.
        let hides = status == ThreadStatus::Idle
            && self.parts.transcript.view(thread).is_some_and(|v| v.status == ThreadStatus::Failed);
        if !same && !hides {
            self.change_thread(thread, |view| {
                view.status = status;
                view.error = error;
            });
        }
    }

    pub(super) fn change_thread(&mut self, thread: &str, change: impl FnOnce(&mut ThreadView)) {
        let now = unix_ms();
        let changed = self.parts.transcript.change_thread(thread, |view| {
            change(view);
            view.updated_at = now;
        });
        if changed {
            self.publisher.mark(Changed::Thread(thread.to_owned()));
        }
    }

    /// A thread without a title is called by its first prompt.
    fn title_from_prompt(&mut self, thread: &str, item: &str) {
        let untitled = self.parts.transcript.view(thread).is_some_and(|v| v.title.is_empty());
        let prompt = match self.parts.transcript.item(thread, item).map(|i| &i.body) {
            Some(ItemBody::User { text, .. }) if untitled => {
                text.lines().next().unwrap_or_default()
            }
            _ => return,
        };
        let title: String = prompt.chars().take(80).collect();
        self.change_thread(thread, |view| view.title = title);
    }
}

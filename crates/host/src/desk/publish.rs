//! What goes to the members: upserts of what changed, merged while they wait.
//!
//! Changes are marked, not queued: when the outbox is full, the mark stays and a later state of the
//! same thing is sent instead. Running text also goes out as volatile deltas; each delta starts
//! where the last durable upsert ended, so a lost one leaves no hole.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    fmt::Write,
    time::Duration,
};

use belay_wire::{
    Channel, MemberId, RawJson,
    app::{
        CommandView, FileChange, FromHost, Item, ItemBody, RequestState, RequestView, SnapshotBody,
        ThreadView, seal,
    },
};
use tokio::time::Instant;

use super::Desk;
use crate::{agents::AgentAsk, transcript::Grown};

/// A running text is upserted durably at least this often, or when this much is new.
const DURABLE_EVERY: Duration = Duration::from_secs(2);
const DURABLE_BYTES: usize = 4 * 1024;
/// Output of a running command is upserted at most this often.
const OUTPUT_EVERY: Duration = Duration::from_millis(400);
/// Bytes of output and of each diff that an upsert carries; the rest is had by `itemGet`.
const OUTPUT_TAIL: usize = 4 * 1024;
const DIFF_MAX: usize = 64 * 1024;
/// Bytes of all diffs of one item or request.
const DIFFS_MAX: usize = 256 * 1024;
/// Bytes of a command line, reason or title of a request.
const WORDS_MAX: usize = 32 * 1024;
/// Bytes of the requests in a snapshot.
const SNAPSHOT_REQUEST_BYTES: usize = 512 * 1024;
/// Bytes of the prompt that a command of a snapshot shows.
const COMMAND_TEXT_MAX: usize = 2 * 1024;
/// Threads of a snapshot.
const SNAPSHOT_THREADS: usize = 50;

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Changed {
    Agent(usize),
    Thread(String),
    Item(String, String),
    Request(String),
    Command(String),
}

/// A text that grows.
#[derive(Debug)]
struct Running {
    /// Length of the text at the last durable upsert, in UTF-16 units.
    base: u64,
    /// What came since.
    text: String,
    durable_at: Instant,
    unsent: bool,
}

/// Marks and running texts.
#[derive(Debug, Default)]
pub(super) struct Publisher {
    order: VecDeque<Changed>,
    marked: HashSet<Changed>,
    running: BTreeMap<(String, String), Running>,
    /// Outputs that grow: when each was last upserted, and whether there is more.
    outputs: BTreeMap<(String, String), (Instant, bool)>,
    /// Commands that are no longer unknown, to be told once.
    settled: BTreeMap<String, CommandView>,
    results: VecDeque<(MemberId, RawJson)>,
}

impl Publisher {
    pub(super) fn mark(&mut self, changed: Changed) {
        if self.marked.insert(changed.clone()) {
            self.order.push_back(changed);
        }
    }

    pub(super) fn settle(&mut self, view: CommandView) {
        let id = view.id.clone();
        self.settled.insert(id.clone(), view);
        self.mark(Changed::Command(id));
    }

    pub(super) fn result(&mut self, member: MemberId, result: RawJson) {
        self.results.push_back((member, result));
    }
}

impl Desk {
    /// Marks all that a member should know; repeats are harmless.
    pub(super) fn publish_everything(&mut self) {
        for agent in 0..self.slots.len() {
            self.publisher.mark(Changed::Agent(agent));
        }
        for id in self.unknown.keys().cloned().collect::<Vec<_>>() {
            self.publisher.mark(Changed::Command(id));
        }
    }

    pub(super) fn request_changed(&mut self, id: &str) {
        if let Some(view) = self.parts.requests.view(id) {
            self.parts.transcript.keep_request(view);
        }
        self.publisher.mark(Changed::Request(id.to_owned()));
    }

    pub(super) fn item_changed(&mut self, thread: &str, item: &str) {
        self.publisher.running.remove(&(thread.to_owned(), item.to_owned()));
        self.publisher.mark(Changed::Item(thread.to_owned(), item.to_owned()));
    }

    /// Text that an agent added to an item.
    pub(super) fn text_added(&mut self, thread: &str, item: &str, text: &str) {
        let key = (thread.to_owned(), item.to_owned());
        match self.parts.transcript.add_text(thread, item, text) {
            None => {}
            Some(Grown::Output) => {
                let now = Instant::now();
                let output =
                    self.publisher.outputs.entry(key).or_insert((now - OUTPUT_EVERY, true));
                output.1 = true;
            }
            Some(Grown::Text { before }) => {
                let running = self.publisher.running.entry(key).or_insert_with(|| Running {
                    base: before,
                    text: String::new(),
                    durable_at: Instant::now(),
                    unsent: false,
                });
                running.text.push_str(text);
                running.unsent = true;
            }
        }
    }

    /// Writes what is marked, as far as the outbox takes it.
    pub(super) fn flush(&mut self) {
        while let Some((member, result)) = self.publisher.results.pop_front() {
            let channel = Channel::DownTo(member);
            if self.parts.client.send(channel, result.clone(), None).is_err() {
                self.publisher.results.push_front((member, result));
                break;
            }
        }
        self.mark_long_running();
        self.mark_outputs();
        while let Some(changed) = self.publisher.order.pop_front() {
            self.publisher.marked.remove(&changed);
            if !self.send_change(&changed) {
                self.publisher.marked.insert(changed.clone());
                self.publisher.order.push_front(changed);
                return;
            }
        }
        self.send_deltas();
    }

    fn mark_long_running(&mut self) {
        let due =
            |r: &Running| r.text.len() >= DURABLE_BYTES || r.durable_at.elapsed() >= DURABLE_EVERY;
        let running = self.publisher.running.iter();
        let due: Vec<_> = running.filter(|(_, r)| due(r)).map(|(key, _)| key.clone()).collect();
        for (thread, item) in due {
            self.parts.transcript.keep_item(&thread, &item);
            self.item_changed(&thread, &item);
        }
    }

    /// The last words of an output are shown, too, although nothing follows them.
    fn mark_outputs(&mut self) {
        let outputs = &mut self.publisher.outputs;
        let is_due = |(at, _): &(Instant, bool)| at.elapsed() >= OUTPUT_EVERY;
        outputs.retain(|_, output| output.1 || !is_due(output));
        let due = outputs.iter().filter(|(_, output)| output.1 && is_due(output));
        let due: Vec<_> = due.map(|(key, _)| key.clone()).collect();
        for (thread, item) in due {
            let key = (thread.clone(), item.clone());
            self.publisher.outputs.insert(key, (Instant::now(), false));
            self.item_changed(&thread, &item);
        }
    }

    /// Sends one change; `false` if the outbox is full.
    fn send_change(&mut self, changed: &Changed) -> bool {
        let (body, key) = match changed {
            Changed::Agent(at) => {
                (self.slots.get(*at).map(|s| FromHost::Agent { agent: s.view.clone() }), None)
            }
            Changed::Thread(id) => {
                let view = self.parts.transcript.view(id);
                (view.map(|v| FromHost::Thread { thread: v.clone() }), None)
            }
            Changed::Item(thread, item) => {
                let held = self.parts.transcript.item(thread, item);
                let body =
                    held.map(|i| FromHost::Item { thread: thread.clone(), item: shortened(i) });
                (body, Some(volatile_key(thread, item)))
            }
            Changed::Request(id) => {
                let view = self.parts.requests.view(id);
                (view.map(|v| FromHost::Request { request: v.clone() }), None)
            }
            Changed::Command(id) => {
                let view = self.command_view(id);
                (view.map(|command| FromHost::Command { command }), None)
            }
        };
        let Some(payload) = body.and_then(|body| seal(&body).ok()) else { return true };
        if payload.text().len() > belay_wire::HOST_MESSAGE_BYTES_MAX {
            tracing::error!(?changed, "too large to publish");
            return true;
        }
        self.parts.client.send(Channel::Down, payload, key).is_ok()
    }

    pub(super) fn command_view(&self, id: &str) -> Option<CommandView> {
        if let Some((_, request)) = self.unknown.get(id) {
            let (id, command, at) = (request.id.clone(), request.command.clone(), request.at);
            return Some(CommandView { id, command, at, unknown: true });
        }
        self.publisher.settled.get(id).cloned()
    }

    fn send_deltas(&mut self) {
        for ((thread, item), running) in &mut self.publisher.running {
            if !std::mem::take(&mut running.unsent) {
                continue;
            }
            let body = FromHost::Delta {
                thread: thread.clone(),
                item: item.clone(),
                offset: running.base,
                text: running.text.clone(),
            };
            if let Ok(payload) = seal(&body) {
                let key = volatile_key(thread, item);
                self.parts.client.send_volatile(Channel::Down, key, payload);
            }
        }
    }

    /// All requests that wait, the later ones without their diffs if there is much, and as many of the
    /// newest that are over as fit.
    fn snapshot_requests(&self) -> Vec<RequestView> {
        let mut bytes = 0;
        let mut chosen: Vec<_> = self.parts.requests.list();
        chosen.sort_by_key(|r| {
            let waits = matches!(r.state, RequestState::Open | RequestState::Answered);
            (!waits, std::cmp::Reverse(r.asked_at))
        });
        chosen.retain_mut(|r| {
            let waits = matches!(r.state, RequestState::Open | RequestState::Answered);
            bytes += serde_json::to_string(r).map_or(0, |text| text.len());
            if waits && bytes > SNAPSHOT_REQUEST_BYTES {
                for change in &mut r.changes {
                    "[see the thread: much waits here]".clone_into(&mut change.diff);
                }
            }
            waits || bytes <= SNAPSHOT_REQUEST_BYTES
        });
        chosen
    }

    /// The newest threads that are not archived, and whatever needs a person.
    fn snapshot_threads(&self) -> Vec<ThreadView> {
        let unknown = |id: &str| {
            let threads = self.unknown.values().filter_map(|(_, r)| r.command.thread());
            threads.into_iter().any(|thread| thread == id)
        };
        let views = self.parts.transcript.views();
        let allowed = views.into_iter().filter(|v| self.is_allowed(&v.folder));
        let needs = |v: &ThreadView| self.parts.requests.waits_in(&v.id) || unknown(&v.id);
        let mut shown = 0;
        let mut threads = Vec::new();
        for view in allowed {
            let newest = !view.archived && shown < SNAPSHOT_THREADS;
            shown += usize::from(newest);
            if newest || needs(view) {
                threads.push(view.clone());
            }
        }
        threads
    }

    fn snapshot_commands(&self) -> Vec<CommandView> {
        let mut views: Vec<_> =
            self.unknown.keys().filter_map(|id| self.command_view(id)).collect();
        for view in &mut views {
            view.command.shorten(COMMAND_TEXT_MAX);
        }
        views
    }

    /// Answers a snapshot request on the member's own channel.
    pub(super) fn send_snapshot(&mut self, id: String, member: MemberId) {
        let Some(position) = self.parts.client.head(Channel::Down) else {
            // Nothing was ever published: publishing names a position.
            self.publish_everything();
            self.flush();
            if self.parts.client.head(Channel::Down).is_some() {
                self.send_snapshot(id, member);
            }
            return;
        };
        let body = SnapshotBody {
            host: self.parts.host_name.clone(),
            agents: self.slots.iter().map(|s| s.view.clone()).collect(),
            folders: self.parts.folders.iter().map(|f| f.display().to_string()).collect(),
            threads: self.snapshot_threads(),
            requests: self.snapshot_requests(),
            commands: self.snapshot_commands(),
            more: BTreeMap::new(),
        };
        let (epoch, seq) = (position.epoch, position.seq);
        let snapshot = FromHost::Snapshot { id, part: 1, parts: 1, epoch, seq, body };
        if let Ok(payload) = seal(&snapshot) {
            self.publisher.result(member, payload);
            self.flush();
        }
    }
}

fn volatile_key(thread: &str, item: &str) -> String {
    let mut key = format!("{thread}/{item}");
    if key.len() > belay_wire::KEY_BYTES_MAX {
        key = key[key.ceil_char_boundary(key.len() - belay_wire::KEY_BYTES_MAX)..].to_owned();
    }
    key
}

/// An item as an upsert carries it.
pub(super) fn shortened(item: &Item) -> Item {
    let mut item = item.clone();
    match &mut item.body {
        ItemBody::Command { output, .. } if output.len() > OUTPUT_TAIL => {
            *output = output[output.ceil_char_boundary(output.len() - OUTPUT_TAIL)..].to_owned();
        }
        ItemBody::FileChange { changes, .. } => shorten_changes(changes),
        ItemBody::Other { value, .. } if value.to_string().len() > DIFF_MAX => {
            *value = serde_json::json!({ "cut": "too large to show" });
        }
        _ => {}
    }
    item
}

/// Cuts diffs that are long, and all of them when they are many.
pub(super) fn shorten_changes(changes: &mut [FileChange]) {
    let most = (DIFFS_MAX / changes.len().max(1)).min(DIFF_MAX);
    for change in changes.iter_mut().filter(|c| c.diff.len() > most) {
        change.diff.truncate(change.diff.floor_char_boundary(most));
        change.diff.push_str("\n[cut here; the whole diff is on the desktop]");
    }
}

/// Cuts what an agent asks down to what a message carries.
pub(super) fn shorten_ask(ask: &mut AgentAsk) {
    shorten_changes(&mut ask.changes);
    let words = [ask.command.as_mut(), ask.reason.as_mut(), Some(&mut ask.title)];
    for text in words.into_iter().flatten() {
        cut_words(text, WORDS_MAX);
    }
    for question in &mut ask.questions {
        cut_words(&mut question.text, WORDS_MAX / 8);
    }
}

fn cut_words(text: &mut String, most: usize) {
    if text.len() > most {
        let whole = text.len();
        text.truncate(text.floor_char_boundary(most));
        let _ =
            write!(text, "\n[cut here: {whole} bytes; look at the desktop before you allow it]");
    }
}

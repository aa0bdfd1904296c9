//! What goes to the members: upserts of what changed, merged while they wait.
//!
//! Changes are marked, not queued: when the outbox is full, the mark stays and a later state of the
//! same thing is sent instead. Running text also goes out as volatile deltas; each delta starts
//! where the last durable upsert ended, so a lost one leaves no hole.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Duration,
};

use belay_wire::{
    Channel, MemberId, RawJson,
    app::{
        CommandView, FileChange, FromHost, Item, ItemBody, RequestState, RequestView, SnapshotBody,
        seal,
    },
};
use tokio::time::Instant;

use super::Desk;
use crate::transcript::Grown;

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
/// Bytes of the requests in a snapshot.
const SNAPSHOT_REQUEST_BYTES: usize = 512 * 1024;
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
    outputs: BTreeMap<(String, String), Instant>,
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
                let last = self.publisher.outputs.entry(key).or_insert(now - OUTPUT_EVERY);
                if now.duration_since(*last) >= OUTPUT_EVERY {
                    *last = now;
                    self.item_changed(thread, item);
                }
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

    /// All requests that wait, and as many of the newest that are over as fit.
    fn snapshot_requests(&self) -> Vec<RequestView> {
        let mut bytes = 0;
        let mut chosen: Vec<_> = self.parts.requests.list();
        chosen.sort_by_key(|r| {
            let waits = matches!(r.state, RequestState::Open | RequestState::Answered);
            (!waits, std::cmp::Reverse(r.asked_at))
        });
        chosen.retain(|r| {
            bytes += serde_json::to_string(r).map_or(0, |text| text.len());
            bytes <= SNAPSHOT_REQUEST_BYTES
        });
        chosen
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
        let views = self.parts.transcript.views();
        let shown = views.into_iter().filter(|v| !v.archived).take(SNAPSHOT_THREADS);
        let body = SnapshotBody {
            host: self.parts.host_name.clone(),
            agents: self.slots.iter().map(|s| s.view.clone()).collect(),
            folders: self.parts.folders.iter().map(|f| f.display().to_string()).collect(),
            threads: shown.cloned().collect(),
            requests: self.snapshot_requests(),
            commands: self.unknown.keys().filter_map(|id| self.command_view(id)).collect(),
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
fn shortened(item: &Item) -> Item {
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

//! What goes to the members: upserts of what changed, merged while they wait.
//!
//! Changes are marked, not queued: when the outbox is full, the mark stays and a later state of the
//! same thing is sent instead. Running text also goes out as volatile deltas; each delta starts
//! where the last durable upsert ended, so a lost one leaves no hole.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::Duration,
};

use belay_client::ClientError;
use belay_wire::{
    Channel, MemberId, RawJson,
    app::{CommandView, FromHost, seal},
};
use tokio::time::Instant;

use super::{
    Desk,
    shorten::{shortened, shortened_thread},
    snapshot::Snapshots,
};
use crate::transcript::Grown;

/// A running text is upserted durably at least this often, or when this much is new.
const DURABLE_EVERY: Duration = Duration::from_secs(2);
const DURABLE_BYTES: usize = 4 * 1024;
/// Output of a running command is upserted at most this often.
const OUTPUT_EVERY: Duration = Duration::from_millis(400);
/// Bytes of results that wait for one member; beyond it nothing more is read for it, and at twice as much
/// results are dropped.
const RESULTS_BYTES_MAX: usize = 4 * 1024 * 1024;

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

/// Results of one member, and their bytes.
#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<RawJson>,
    bytes: usize,
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
    /// Results that wait for room in their member's outbox, oldest first.
    results: BTreeMap<MemberId, Waiting>,
    pub(super) snapshots: Snapshots,
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

    /// What finds no room is given again when its phone asks for it once more.
    pub(super) fn result(&mut self, member: MemberId, result: RawJson) {
        let waiting = self.results.entry(member).or_default();
        if waiting.bytes > 2 * RESULTS_BYTES_MAX {
            return tracing::warn!(%member, "a result was dropped: too many wait");
        }
        waiting.bytes += result.text().len();
        waiting.queue.push_back(result);
    }

    /// Tells whether so much waits for a member that nothing more is read for it.
    pub(super) fn is_behind(&self, member: MemberId) -> bool {
        self.results.get(&member).is_some_and(|waiting| waiting.bytes > RESULTS_BYTES_MAX)
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
        self.send_results();
        self.answer_snapshots();
        self.send_parts();
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

    /// A member whose outbox is full does not hold up the others.
    fn send_results(&mut self) {
        let client = &self.parts.client;
        self.publisher.results.retain(|member, waiting| {
            while let Some(result) = waiting.queue.front() {
                match client.send(Channel::DownTo(*member), result.clone(), None) {
                    Err(ClientError::TooLarge { bytes, limit }) => {
                        tracing::error!(bytes, limit, "a result is too large to be sent");
                    }
                    Err(_) => return true,
                    Ok(_) => {}
                }
                waiting.bytes -= result.text().len();
                waiting.queue.pop_front();
            }
            false
        });
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
                (view.map(|v| FromHost::Thread { thread: shortened_thread(v) }), None)
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
}

fn volatile_key(thread: &str, item: &str) -> String {
    let mut key = format!("{thread}/{item}");
    if key.len() > belay_wire::KEY_BYTES_MAX {
        key = key[key.ceil_char_boundary(key.len() - belay_wire::KEY_BYTES_MAX)..].to_owned();
    }
    key
}

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

use belay_client::ClientError;
use belay_wire::{
    Channel, MemberId, RawJson,
    app::{CommandView, FileChange, FromHost, Item, ItemBody, ThreadView, seal},
};
use tokio::time::Instant;

use super::{Desk, snapshot::Snapshots};
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
/// Files that an item or a request names; the rest is counted.
const CHANGES_MAX: usize = 500;
/// Bytes of a command line, reason or title of a request.
const WORDS_MAX: usize = 32 * 1024;
/// Bytes of a path, a question, or what an option says.
const NAME_MAX: usize = 4 * 1024;
const TITLE_MAX: usize = 512;
/// Bytes of JSON of a request; beyond it only so many files, options, questions and choices of each are left,
/// and so many bytes of each text.
const ASK_MAX: usize = 600 * 1024;
const CHOICES_MAX: usize = 20;
const LEAST: usize = 128;

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

/// Cuts diffs that are long, and all of them when they are many; of very many files only the first are named.
pub(super) fn shorten_changes(changes: &mut Vec<FileChange>) {
    if changes.len() > CHANGES_MAX {
        let path = format!("and {} more files; look at the desktop", changes.len() - CHANGES_MAX);
        changes.truncate(CHANGES_MAX);
        changes.push(FileChange { path, change: "update".to_owned(), diff: String::new() });
    }
    for change in changes.iter_mut() {
        cut_words(&mut change.path, NAME_MAX);
    }
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
    for option in &mut ask.options {
        cut_words(&mut option.label, NAME_MAX);
        if let Some(reach) = &mut option.reach {
            cut_words(reach, NAME_MAX);
        }
    }
    for question in &mut ask.questions {
        cut_words(&mut question.text, NAME_MAX);
    }
    if ask_bytes(ask) > ASK_MAX {
        shorten_most(ask);
    }
}

fn ask_bytes(ask: &AgentAsk) -> usize {
    let words = (&ask.title, &ask.command, &ask.reason, &ask.cwd);
    json_bytes(&(words, &ask.changes, &ask.questions, &ask.options))
}

/// The last resort, for what no person could read on a phone: so that it is asked at all.
fn shorten_most(ask: &mut AgentAsk) {
    ask.changes.truncate(CHOICES_MAX);
    ask.changes.iter_mut().for_each(|change| change.diff.clear());
    ask.options.truncate(CHOICES_MAX);
    ask.questions.truncate(CHOICES_MAX);
    for question in &mut ask.questions {
        question.choices.truncate(CHOICES_MAX);
    }
    let words = [ask.command.as_mut(), ask.reason.as_mut(), ask.cwd.as_mut(), Some(&mut ask.title)];
    let paths = ask.changes.iter_mut().map(|c| &mut c.path);
    let labels = ask.options.iter_mut().flat_map(|o| [Some(&mut o.label), o.reach.as_mut()]);
    let asked = ask.questions.iter_mut().flat_map(|q| q.choices.iter_mut().chain([&mut q.text]));
    let all = words.into_iter().chain(labels).flatten().chain(paths).chain(asked);
    all.for_each(|text| cut_words(text, LEAST));
}

/// A thread as an upsert carries it.
pub(super) fn shortened_thread(view: &ThreadView) -> ThreadView {
    let mut view = view.clone();
    for (text, most) in [(Some(&mut view.title), TITLE_MAX), (view.error.as_mut(), NAME_MAX)] {
        if let Some(text) = text.filter(|text| text.len() > most) {
            text.truncate(text.floor_char_boundary(most));
            text.push('…');
        }
    }
    view
}

pub(super) fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).map_or(0, |text| text.len())
}

fn cut_words(text: &mut String, most: usize) {
    if text.len() > most {
        let whole = text.len();
        text.truncate(text.floor_char_boundary(most));
        let _ =
            write!(text, "\n[cut here: {whole} bytes; look at the desktop before you allow it]");
    }
}

#[cfg(test)]
mod tests {
    use belay_wire::app::{Question, RequestKind, RequestOption};

    use super::*;

    fn ask(text: &str, count: usize) -> AgentAsk {
        let own = || text.to_owned();
        let change = FileChange { path: own(), change: "update".to_owned(), diff: own() };
        let id = || "1".to_owned();
        let (label, reach) = (own(), Some(own()));
        let option = RequestOption { id: id(), label, allows: true, reach };
        let (choices, free, secret) = (vec![own(); count], false, false);
        let question = Question { id: id(), text: own(), choices, free, secret };
        AgentAsk {
            key: id(),
            item: None,
            kind: RequestKind::FileChange,
            title: own(),
            command: Some(own()),
            cwd: Some(own()),
            reason: Some(own()),
            changes: vec![change; count],
            questions: vec![question; count.min(60)],
            options: vec![option; count],
        }
    }

    #[test]
    fn what_an_agent_asks_passes_whatever_its_size() {
        let long = "x".repeat(100_000);
        let control = "\u{1}".repeat(5_000);
        for (text, count) in [("short", 1), ("a/path", 12_000), (&long, 30), (&control, 100)] {
            let mut ask = ask(text, count);
            shorten_ask(&mut ask);
            assert!(ask_bytes(&ask) < 900 * 1024, "{} bytes of {count}", ask_bytes(&ask));
            assert!(!ask.changes.is_empty() && !ask.options.is_empty());
        }
    }

    #[test]
    fn of_very_many_files_the_first_are_named_and_the_rest_is_counted() {
        let change = |n: usize| FileChange {
            path: n.to_string(),
            change: "update".to_owned(),
            diff: "+".to_owned(),
        };
        let mut changes: Vec<_> = (0..12_000).map(change).collect();

        shorten_changes(&mut changes);

        assert_eq!(changes.len(), CHANGES_MAX + 1);
        assert_eq!(changes[CHANGES_MAX].path, "and 11500 more files; look at the desktop");
    }
}

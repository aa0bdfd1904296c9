//! The host's own record of threads and their items: one file of JSON lines per thread, the last
//! line of an id wins.

mod thread;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use belay_wire::app::{Item, ItemBody, RequestView, ThreadView};

use crate::{agents::AgentItem, clock::unix_ms, lines};
use thread::{COMPACT_ABOVE, ITEM_TEXT_MAX, Line, Thread, close, cut, file_name};

/// Items of a page.
const PAGE_MAX: usize = 100;

/// All threads of this host.
#[derive(Debug)]
pub(crate) struct Transcript {
    folder: PathBuf,
    threads: BTreeMap<String, Thread>,
    rev: u64,
}

impl Transcript {
    /// Reads all threads and the requests that belong to them.
    pub(crate) fn open(folder: &Path) -> std::io::Result<(Self, Vec<RequestView>)> {
        lines::private_folder(folder)?;
        let mut transcript = Self { folder: folder.to_owned(), threads: BTreeMap::new(), rev: 0 };
        let mut requests = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "jsonl") {
                transcript.read(&path, &mut requests)?;
            }
        }
        // Text that grew since it was last written has told higher revisions than the files know.
        transcript.rev = transcript.rev.max(unix_ms());
        Ok((transcript, requests.into_values().collect()))
    }

    fn read(
        &mut self,
        path: &Path,
        requests: &mut BTreeMap<String, RequestView>,
    ) -> std::io::Result<()> {
        let mut thread: Option<Thread> = None;
        let mut own = BTreeMap::new();
        let all = lines::read(path)?;
        let lines = all.len();
        for line in all {
            match (line, &mut thread) {
                (Line::Thread { view, native }, Some(thread)) => {
                    thread.view = view;
                    thread.native = native;
                }
                (Line::Thread { view, native }, None) => {
                    thread = Some(Thread {
                        view,
                        native,
                        items: HashMap::new(),
                        order: Vec::new(),
                        path: path.to_owned(),
                        rewritten: 0,
                    });
                }
                (Line::Item(item), Some(thread)) => {
                    self.rev = self.rev.max(item.rev);
                    thread.put(item);
                }
                (Line::Request(request), _) => {
                    self.rev = self.rev.max(request.rev);
                    own.insert(request.id.clone(), request);
                }
                (Line::Item(_), None) => {}
            }
        }
        if let Some(mut thread) = thread {
            self.rev = self.rev.max(thread.view.rev);
            let needed = 1 + thread.order.len() + own.len();
            if lines > COMPACT_ABOVE * needed {
                thread.rewrite()?;
            }
            self.threads.insert(thread.view.id.clone(), thread);
        }
        requests.append(&mut own);
        Ok(())
    }

    /// The next revision.
    pub(crate) fn next_rev(&mut self) -> u64 {
        self.rev += 1;
        self.rev
    }

    /// The views of all threads, newest change first.
    pub(crate) fn views(&self) -> Vec<&ThreadView> {
        let mut views: Vec<_> = self.threads.values().map(|t| &t.view).collect();
        views.sort_by(|a, b| b.updated_at.cmp(&a.updated_at).then_with(|| a.id.cmp(&b.id)));
        views
    }

    pub(crate) fn view(&self, thread: &str) -> Option<&ThreadView> {
        self.threads.get(thread).map(|t| &t.view)
    }

    /// The agent's own id of a thread.
    pub(crate) fn native(&self, thread: &str) -> Option<&str> {
        self.threads.get(thread).map(|t| t.native.as_str())
    }

    /// Adds or changes a thread.
    pub(crate) fn put_thread(&mut self, native: &str, mut view: ThreadView) {
        view.rev = self.next_rev();
        let path = self.folder.join(file_name(&view.id));
        let line = Line::Thread { native: native.to_owned(), view: view.clone() };
        let id = view.id.clone();
        let thread = self.threads.entry(id).or_insert_with(|| Thread {
            view: view.clone(),
            native: native.to_owned(),
            items: HashMap::new(),
            order: Vec::new(),
            path,
            rewritten: 0,
        });
        thread.view = view;
        thread.append(&line);
    }

    /// Changes a thread's view; tells whether there is such a thread.
    pub(crate) fn change_thread(
        &mut self,
        thread: &str,
        change: impl FnOnce(&mut ThreadView),
    ) -> bool {
        let Some(held) = self.threads.get(thread) else { return false };
        let (mut view, native) = (held.view.clone(), held.native.clone());
        change(&mut view);
        self.put_thread(&native, view);
        true
    }

    /// Adds or changes an item; `false` if nothing is different or the thread is unknown.
    pub(crate) fn put_item(&mut self, thread: &str, new: AgentItem) -> bool {
        let rev = self.rev + 1;
        let Some(held) = self.threads.get_mut(thread) else { return false };
        let mut body = new.body;
        cut(&mut body);
        let known = held.items.get(&new.id);
        if known.is_some_and(|k| k.body == body) {
            return false;
        }
        let (ord, at) = known.map_or((held.order.len() as u64 + 1, unix_ms()), |k| (k.ord, k.at));
        let turn = new.turn.or_else(|| known.and_then(|k| k.turn.clone()));
        let item = Item { id: new.id, turn, ord, rev, at, body };
        self.rev = rev;
        let line = Line::Item(item.clone());
        held.put(item);
        held.append(&line);
        true
    }

    /// Adds text to an item, in memory only; gives what kind it is and its length in UTF-16 units
    /// before.
    pub(crate) fn add_text(&mut self, thread: &str, item: &str, more: &str) -> Option<Grown> {
        let rev = self.rev + 1;
        let held = self.threads.get_mut(thread)?.items.get_mut(item)?;
        self.rev = rev;
        held.rev = rev;
        match &mut held.body {
            ItemBody::Message { text, .. } | ItemBody::Reasoning { text, .. } => {
                if text.len() > ITEM_TEXT_MAX {
                    return None;
                }
                let before = text.encode_utf16().count() as u64;
                text.push_str(more);
                let whole = text.len() <= ITEM_TEXT_MAX;
                cut(&mut held.body);
                Some(if whole { Grown::Text { before } } else { Grown::Output })
            }
            ItemBody::Command { output, output_bytes, .. } => {
                *output_bytes += more.len() as u64;
                output.push_str(more);
                cut(&mut held.body);
                Some(Grown::Output)
            }
            ItemBody::User { .. }
            | ItemBody::Plan { .. }
            | ItemBody::FileChange { .. }
            | ItemBody::Tool { .. }
            | ItemBody::Notice { .. }
            | ItemBody::Other { .. } => None,
        }
    }

    /// Writes what `add_text` changed.
    pub(crate) fn keep_item(&mut self, thread: &str, item: &str) {
        if let Some(held) = self.threads.get_mut(thread)
            && let Some(item) = held.items.get(item)
        {
            let line = Line::Item(item.clone());
            held.append(&line);
        }
    }

    /// Ends items that nobody will complete, of one turn or of all; gives their ids.
    pub(crate) fn close_items(&mut self, thread: &str, turn: Option<&str>) -> Vec<String> {
        let Some(held) = self.threads.get_mut(thread) else { return Vec::new() };
        let mut closed = Vec::new();
        for item in held.items.values_mut() {
            let theirs = turn.is_none() || item.turn.as_deref() == turn;
            if theirs && close(&mut item.body) {
                self.rev += 1;
                item.rev = self.rev;
                closed.push(item.id.clone());
            }
        }
        closed.sort();
        for id in &closed {
            self.keep_item(thread, id);
        }
        closed
    }

    /// Keeps a request with its thread.
    pub(crate) fn keep_request(&mut self, request: &RequestView) {
        if let Some(held) = self.threads.get_mut(&request.thread) {
            held.append(&Line::Request(request.clone()));
        }
    }

    pub(crate) fn item(&self, thread: &str, item: &str) -> Option<&Item> {
        self.threads.get(thread)?.items.get(item)
    }

    pub(crate) fn has_items(&self, thread: &str) -> bool {
        self.threads.get(thread).is_some_and(|t| !t.order.is_empty())
    }

    /// Tells whether a prompt that a command brought is in the thread.
    pub(crate) fn has_prompt(&self, thread: &str, id: &str) -> bool {
        let is_it = |item: &Item| matches!(&item.body, ItemBody::User { command: Some(command), .. } if command == id);
        self.threads.get(thread).is_some_and(|t| t.items.values().any(is_it))
    }

    /// The items before place `before`, oldest first, and whether there are older ones.
    pub(crate) fn page(
        &self,
        thread: &str,
        before: Option<u64>,
        limit: usize,
    ) -> (Vec<&Item>, bool) {
        let Some(held) = self.threads.get(thread) else { return (Vec::new(), false) };
        let end = before.map_or(held.order.len(), |ord| {
            usize::try_from(ord.saturating_sub(1)).unwrap_or(usize::MAX).min(held.order.len())
        });
        let start = end.saturating_sub(limit.clamp(1, PAGE_MAX));
        let items = held.order[start..end].iter().filter_map(|id| held.items.get(id)).collect();
        (items, start > 0)
    }
}

/// What `add_text` added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grown {
    Text { before: u64 },
    Output,
}

#[cfg(test)]
mod tests {
    use belay_wire::app::ThreadStatus;

    use super::*;

    fn view(id: &str) -> ThreadView {
        ThreadView {
            id: id.to_owned(),
            agent: "codex".to_owned(),
            title: "t".to_owned(),
            folder: "/".to_owned(),
            created_at: 1,
            updated_at: 1,
            status: ThreadStatus::Idle,
            error: None,
            archived: false,
            rev: 0,
        }
    }

    fn message(id: &str, text: &str) -> AgentItem {
        let body = ItemBody::Message { text: text.to_owned(), done: true };
        AgentItem { id: id.to_owned(), turn: None, body }
    }

    #[test]
    fn a_file_that_grew_by_changes_is_written_anew_at_start() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (mut transcript, _) = Transcript::open(folder.path()).expect("opens");
        transcript.put_thread("n", view("t"));
        for n in 0..100 {
            assert!(transcript.put_item("t", message("one", &"x".repeat(n + 1))));
        }
        let size = || -> u64 {
            let files = std::fs::read_dir(folder.path()).expect("there");
            files.map(|f| f.expect("readable").metadata().expect("readable").len()).sum()
        };
        let before = size();

        let (transcript, _) = Transcript::open(folder.path()).expect("opens again");

        assert!(size() < before / 10, "{} of {before}", size());
        assert_eq!(transcript.page("t", None, 10).0.len(), 1);
    }

    #[test]
    fn threads_and_items_survive_a_restart_and_a_torn_line() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (mut transcript, _) = Transcript::open(folder.path()).expect("opens");
        transcript.put_thread("n", view("codex:../x"));
        for n in 0..5 {
            assert!(transcript.put_item("codex:../x", message(&n.to_string(), "hello")));
        }
        assert!(!transcript.put_item("codex:../x", message("1", "hello")), "nothing new");
        let file = std::fs::read_dir(folder.path()).expect("there").next().expect("one");
        let path = file.expect("readable").path();
        let mut text = std::fs::read(&path).expect("readable");
        text.extend_from_slice(b"{\"item\":{\"id\":\"torn");
        std::fs::write(&path, text).expect("writable");

        let (transcript, _) = Transcript::open(folder.path()).expect("opens again");

        let (items, more) = transcript.page("codex:../x", None, 3);
        assert_eq!(items.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["2", "3", "4"]);
        assert!(more);
        let (items, more) = transcript.page("codex:../x", Some(items[0].ord), 3);
        assert_eq!(items.len(), 2);
        assert!(!more);
    }
}

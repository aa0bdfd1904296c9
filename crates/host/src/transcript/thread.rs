//! One thread's record: its items in their order, and the file that they are in.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use belay_wire::app::{Item, ItemBody, Progress, RequestState, RequestView, ThreadView};
use serde::{Deserialize, Serialize};

use crate::lines;

/// Bytes of one item's text or output that are kept; beyond it the end is cut and said so.
pub(super) const ITEM_TEXT_MAX: usize = 256 * 1024;
/// Where the middle of an output was.
const OUTPUT_CUT: &str = "\n[cut here by belay: too long to keep]\n";
/// An output may grow by this before it is cut again.
const OUTPUT_SLACK: usize = 64 * 1024;
/// A file is written anew when it has this many times what is needed.
pub(super) const COMPACT_ABOVE: usize = 4;
/// Requests that are over and stay in their thread's file when it is written anew.
const REQUESTS_MAX: usize = 50;
/// While the host runs, a file of fewer bytes is not written anew.
const COMPACT_BYTES: u64 = 8 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line {
    Thread { native: String, view: ThreadView },
    Item(Item),
    Request(RequestView),
}

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) view: ThreadView,
    pub(super) native: String,
    pub(super) items: HashMap<String, Item>,
    /// Ids in their order; an item's `ord` is its place here plus one.
    pub(super) order: Vec<String>,
    pub(super) path: PathBuf,
    /// Length of the file when it was last written anew.
    pub(super) rewritten: u64,
}

impl Thread {
    /// Adds a line to the file; a long one that holds little is written anew.
    pub(super) fn append(&mut self, line: &Line) {
        let appended = lines::append(&self.path, line, false);
        let written = appended.and_then(|len| {
            let due = len > COMPACT_BYTES.max(COMPACT_ABOVE as u64 * self.rewritten);
            if due { self.rewrite() } else { Ok(()) }
        });
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "transcript not written");
        }
    }

    /// Writes the file anew with the last state of everything. The requests are in the file alone.
    pub(super) fn rewrite(&mut self) -> std::io::Result<()> {
        let mut requests = BTreeMap::new();
        for line in lines::read(&self.path)? {
            if let Line::Request(request) = line {
                requests.insert(request.id.clone(), request);
            }
        }
        let mut over: Vec<_> = requests.values().filter(|r| is_over(r)).map(age).collect();
        over.sort();
        for (_, id) in over.iter().take(over.len().saturating_sub(REQUESTS_MAX)) {
            requests.remove(id);
        }
        let view = Line::Thread { native: self.native.clone(), view: self.view.clone() };
        let items = self.order.iter().filter_map(|id| self.items.get(id).cloned()).map(Line::Item);
        let requests = requests.into_values().map(Line::Request);
        let lines = std::iter::once(view).chain(items).chain(requests);
        self.rewritten = lines::rewrite(&self.path, lines)?;
        Ok(())
    }

    pub(super) fn put(&mut self, item: Item) {
        if !self.items.contains_key(&item.id) {
            self.order.push(item.id.clone());
        }
        self.items.insert(item.id.clone(), item);
    }
}

fn is_over(request: &RequestView) -> bool {
    matches!(request.state, RequestState::Resolved | RequestState::Void)
}

fn age(request: &RequestView) -> (u64, String) {
    (request.asked_at, request.id.clone())
}

/// Ends an open item; `false` if it was not open.
pub(super) fn close(body: &mut ItemBody) -> bool {
    match body {
        ItemBody::Message { done, .. } | ItemBody::Reasoning { done, .. } => {
            !std::mem::replace(done, true)
        }
        ItemBody::Command { progress, .. }
        | ItemBody::FileChange { progress, .. }
        | ItemBody::Tool { progress, .. } => {
            let open = *progress == Progress::Running;
            if open {
                *progress = Progress::Failed;
            }
            open
        }
        ItemBody::User { .. }
        | ItemBody::Plan { .. }
        | ItemBody::Notice { .. }
        | ItemBody::Other { .. } => false,
    }
}

/// Cuts texts that are too long to keep.
pub(super) fn cut(body: &mut ItemBody) {
    let text = match body {
        ItemBody::Message { text, .. }
        | ItemBody::Reasoning { text, .. }
        | ItemBody::Tool { text, .. } => text,
        ItemBody::Command { output, .. } => return keep_ends(output),
        ItemBody::FileChange { changes, .. } => {
            let most = ITEM_TEXT_MAX / changes.len().max(1);
            return changes.iter_mut().for_each(|change| cut_end(&mut change.diff, most));
        }
        ItemBody::Other { value, .. } if value.to_string().len() > ITEM_TEXT_MAX => {
            *value = serde_json::json!({ "cut": "too large to keep" });
            return;
        }
        ItemBody::User { .. }
        | ItemBody::Plan { .. }
        | ItemBody::Notice { .. }
        | ItemBody::Other { .. } => return,
    };
    cut_end(text, ITEM_TEXT_MAX);
}

fn cut_end(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str("\n[cut here by belay: too long to keep]");
    }
}

/// A long output keeps its beginning and, since errors stand there, its end.
fn keep_ends(output: &mut String) {
    if output.len() <= ITEM_TEXT_MAX + OUTPUT_SLACK {
        return;
    }
    let head = match output.find(OUTPUT_CUT) {
        Some(at) => at,
        None => output.floor_char_boundary(ITEM_TEXT_MAX / 4),
    };
    let tail = output.ceil_char_boundary(output.len() - ITEM_TEXT_MAX / 2);
    let tail = output.split_off(tail);
    output.truncate(head);
    output.push_str(OUTPUT_CUT);
    output.push_str(&tail);
}

/// A file name that is safe for any thread id.
pub(super) fn file_name(thread: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a
    for byte in thread.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = thread.chars().map(safe).take(80).collect();
    format!("{name}-{hash:016x}.jsonl")
}

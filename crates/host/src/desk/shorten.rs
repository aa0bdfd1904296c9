//! What a message carries of what is large: the rest is looked at on the desktop.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::fmt::Write;

use belay_wire::app::{FileChange, Item, ItemBody, ThreadView};

use crate::agents::AgentAsk;

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
const CUT_DIFF: &str = "[cut here; the whole diff is on the desktop]";
const MORE_FILES: &str = " more files; look at the desktop";

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
    name_the_first(changes, CHANGES_MAX);
    for change in changes.iter_mut() {
        cut_words(&mut change.path, NAME_MAX);
    }
    let most = (DIFFS_MAX / changes.len().max(1)).min(DIFF_MAX);
    for change in changes.iter_mut().filter(|c| c.diff.len() > most) {
        change.diff.truncate(change.diff.floor_char_boundary(most));
        change.diff.push('\n');
        change.diff.push_str(CUT_DIFF);
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

/// The last resort, for what no person could read on a phone: so that it is asked at all, and says that it is
/// cut.
fn shorten_most(ask: &mut AgentAsk) {
    name_the_first(&mut ask.changes, CHOICES_MAX);
    for change in ask.changes.iter_mut().filter(|change| !change.diff.is_empty()) {
        CUT_DIFF.clone_into(&mut change.diff);
    }
    // A way to refuse stays.
    let refusal = ask.options.iter().skip(CHOICES_MAX).find(|option| !option.allows).cloned();
    ask.options.truncate(CHOICES_MAX);
    ask.options.extend(refusal);
    ask.questions.truncate(CHOICES_MAX);
    for question in &mut ask.questions {
        // A choice is sent back as it stands, so one that is long is left out.
        question.choices.retain(|choice| choice.len() <= LEAST);
        question.choices.truncate(CHOICES_MAX);
    }
    let words = [ask.command.as_mut(), ask.reason.as_mut(), ask.cwd.as_mut(), Some(&mut ask.title)];
    let paths = ask.changes.iter_mut().map(|c| &mut c.path);
    let labels = ask.options.iter_mut().flat_map(|o| [Some(&mut o.label), o.reach.as_mut()]);
    let asked = ask.questions.iter_mut().map(|q| &mut q.text);
    let all = words.into_iter().chain(labels).flatten().chain(paths).chain(asked);
    all.for_each(|text| cut_words(text, LEAST));
}

/// Names the first files, and counts the rest in a last row.
fn name_the_first(changes: &mut Vec<FileChange>, most: usize) {
    let Some(hidden) = changes.len().checked_sub(most).filter(|hidden| *hidden > 0) else { return };
    // The rest may stand in such a row already.
    let counted = changes.last().and_then(|last| {
        last.path.strip_prefix("and ")?.strip_suffix(MORE_FILES)?.parse::<usize>().ok()
    });
    let hidden = counted.map_or(hidden, |counted| counted + hidden - 1);
    changes.truncate(most);
    let path = format!("and {hidden}{MORE_FILES}");
    changes.push(FileChange { path, change: "update".to_owned(), diff: String::new() });
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
        let refusal = RequestOption { allows: false, reach: None, ..option.clone() };
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
            options: [vec![option; count], vec![refusal]].concat(),
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
            assert!(!ask.changes.is_empty() && ask.options.iter().any(|o| !o.allows));
            let last = ask.changes.last().expect("a change");
            let rest = count.saturating_sub(ask.changes.len() - 1);
            assert!(count < 50 || last.path == format!("and {rest}{MORE_FILES}"), "{}", last.path);
            let is_told = |c: &FileChange| c.diff.is_empty() || c.diff.contains("on the desktop");
            assert!(text.len() < 1_000 || ask.changes.iter().all(is_told), "a diff was cut");
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

//! Commands run at most once: the intent is on disk before the effect, the result after it.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
};

use belay_wire::{
    MemberId,
    app::{CommandOutcome, CommandRequest},
};
use serde::{Deserialize, Serialize};

use crate::lines;

/// Results kept for repeats, per host.
const RESULTS_MAX: usize = 1_024;
/// Lines appended after which the file is written anew.
const COMPACT_ABOVE: usize = 4 * RESULTS_MAX;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Intent { member: MemberId, request: CommandRequest },
    Result { outcome: CommandOutcome },
}

/// What is known of a command.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It runs now, or ran when the host died.
    Begun,
    /// It ended so.
    Ended(CommandOutcome),
}

/// The journal of commands.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    begun: BTreeMap<String, (MemberId, CommandRequest)>,
    ended: BTreeMap<String, CommandOutcome>,
    order: VecDeque<String>,
    appended: usize,
}

impl Journal {
    /// Reads the journal. What had begun and did not end is given back: its effect is unknown.
    pub(crate) fn open(path: &Path) -> std::io::Result<(Self, Vec<(MemberId, CommandRequest)>)> {
        let mut journal = Self {
            path: path.to_owned(),
            begun: BTreeMap::new(),
            ended: BTreeMap::new(),
            order: VecDeque::new(),
            appended: 0,
        };
        for line in lines::read(path)? {
            match line {
                Line::Intent { member, request } => {
                    journal.begun.insert(request.id.clone(), (member, request));
                }
                Line::Result { outcome } => journal.remember(outcome),
            }
        }
        journal.compact()?;
        let unknown = journal.begun.values().cloned().collect();
        Ok((journal, unknown))
    }

    fn remember(&mut self, outcome: CommandOutcome) {
        self.begun.remove(&outcome.id);
        self.order.push_back(outcome.id.clone());
        self.ended.insert(outcome.id.clone(), outcome);
        while self.order.len() > RESULTS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }

    /// Writes the file anew with what is still needed.
    fn compact(&mut self) -> std::io::Result<()> {
        let intents = self
            .begun
            .values()
            .map(|(member, request)| Line::Intent { member: *member, request: request.clone() });
        let ended = self.order.iter().filter_map(|id| self.ended.get(id));
        let results = ended.map(|outcome| Line::Result { outcome: outcome.clone() });
        lines::rewrite(&self.path, intents.chain(results))?;
        self.appended = 0;
        Ok(())
    }

    pub(crate) fn known(&self, id: &str) -> Option<Known> {
        if let Some(outcome) = self.ended.get(id) {
            return Some(Known::Ended(outcome.clone()));
        }
        self.begun.contains_key(id).then_some(Known::Begun)
    }

    /// The command whose effect is under way or unknown.
    pub(crate) fn begun(&self, id: &str) -> Option<&(MemberId, CommandRequest)> {
        self.begun.get(id)
    }

    /// Keeps the intent, synced to disk; only then may the effect begin.
    pub(crate) fn intend(
        &mut self,
        member: MemberId,
        request: &CommandRequest,
    ) -> std::io::Result<()> {
        self.append(&Line::Intent { member, request: request.clone() })?;
        self.begun.insert(request.id.clone(), (member, request.clone()));
        Ok(())
    }

    /// Keeps the result.
    pub(crate) fn end(&mut self, outcome: &CommandOutcome) -> std::io::Result<()> {
        self.remember(outcome.clone());
        self.append(&Line::Result { outcome: outcome.clone() })
    }

    fn append(&mut self, line: &Line) -> std::io::Result<()> {
        lines::append(&self.path, line, true)?;
        self.appended += 1;
        if self.appended > COMPACT_ABOVE
            && let Err(error) = self.compact()
        {
            // The line is kept; the next one tries again.
            tracing::warn!(path = %self.path.display(), %error, "journal not written anew");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use belay_wire::app::{Command, CommandState};

    use super::*;

    fn request(id: &str) -> CommandRequest {
        let command = Command::TurnInterrupt { thread: "t".to_owned() };
        CommandRequest { id: id.to_owned(), command, at: 1 }
    }

    #[test]
    fn what_began_and_did_not_end_is_unknown_after_a_crash() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("journal.jsonl");
        let member = MemberId::from_bytes([1; 16]);
        let (mut journal, _) = Journal::open(&path).expect("opens");
        journal.intend(member, &request("a")).expect("written");
        journal.intend(member, &request("b")).expect("written");
        let done = CommandOutcome {
            id: "a".to_owned(),
            state: CommandState::Done,
            text: None,
            data: None,
        };
        journal.end(&done).expect("written");
        drop(journal);

        let (journal, unknown) = Journal::open(&path).expect("opens again");

        assert_eq!(unknown.len(), 1);
        assert_eq!(unknown[0].1, request("b"));
        assert!(matches!(journal.known("a"), Some(Known::Ended(o)) if o == done));
        assert!(matches!(journal.known("b"), Some(Known::Begun)));
        assert!(journal.known("c").is_none());
    }

    #[test]
    fn the_file_does_not_grow_with_the_commands_that_ended() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("journal.jsonl");
        let member = MemberId::from_bytes([1; 16]);
        let (mut journal, _) = Journal::open(&path).expect("opens");
        journal.intend(member, &request("open")).expect("written");
        journal.appended = COMPACT_ABOVE - 10;
        for n in 0..20 {
            let id = n.to_string();
            journal.intend(member, &request(&id)).expect("written");
            let state = CommandState::Done;
            journal.end(&CommandOutcome { id, state, text: None, data: None }).expect("written");
        }

        let lines = std::fs::read_to_string(&path).expect("readable").lines().count();
        assert!(lines < 41, "{lines} lines for 20 results and one open command");
        let (_, unknown) = Journal::open(&path).expect("opens");
        assert_eq!(unknown.len(), 1);
    }
}

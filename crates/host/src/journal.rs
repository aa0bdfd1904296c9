//! Commands run at most once: the intent is on disk before the effect, the result after it.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, Write},
    path::{Path, PathBuf},
};

use belay_wire::{
    MemberId,
    app::{CommandOutcome, CommandRequest},
};
use serde::{Deserialize, Serialize};

/// Results kept for repeats, per host.
const RESULTS_MAX: usize = 1_024;

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
}

impl Journal {
    /// Reads the journal. What had begun and did not end is given back: its effect is unknown.
    pub(crate) fn open(path: &Path) -> std::io::Result<(Self, Vec<(MemberId, CommandRequest)>)> {
        let mut journal = Self {
            path: path.to_owned(),
            begun: BTreeMap::new(),
            ended: BTreeMap::new(),
            order: VecDeque::new(),
        };
        if path.exists() {
            for line in std::io::BufReader::new(std::fs::File::open(path)?).split(b'\n') {
                match serde_json::from_slice(&line?) {
                    Ok(Line::Intent { member, request }) => {
                        journal.begun.insert(request.id.clone(), (member, request));
                    }
                    Ok(Line::Result { outcome }) => journal.remember(outcome),
                    // A line that a crash cut short: its command was not begun.
                    Err(_) => {}
                }
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
    fn compact(&self) -> std::io::Result<()> {
        let mut text = Vec::new();
        for (member, request) in self.begun.values() {
            let line = Line::Intent { member: *member, request: request.clone() };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        for outcome in self.order.iter().filter_map(|id| self.ended.get(id)) {
            serde_json::to_writer(&mut text, &Line::Result { outcome: outcome.clone() })?;
            text.push(b'\n');
        }
        let temporary = self.path.with_extension("new");
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)
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

    fn append(&self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.path)?;
        file.write_all(&text)?;
        file.sync_data()
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
}

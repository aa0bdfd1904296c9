//! A relay, a host that can be killed at each step, and a phone.

use std::time::{Duration, Instant};

use belay_testkit::SOON;
use belay_wire::app::{Command, CommandOutcome, Settle};

use super::{desktop::Desktop, phone::Phone};
use crate::relay::{Relay, start};

/// A host that has made no step for so long has done what the command asked.
const QUIET: Duration = Duration::from_millis(500);
/// How often a person decides about one command.
const DECISIONS_MAX: usize = 5;

pub(super) struct World {
    pub(super) desktop: Desktop,
    pub(super) phone: Phone,
    /// How often a person decided, and how often that came in time.
    decisions: usize,
    pub(super) decided: usize,
    /// How often the person said "send again", to the command that is tried now.
    pub(super) sent_again: usize,
    folder: tempfile::TempDir,
    _relay: Relay,
}

impl World {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let relay = start(&folder.path().join("relay"));
        let mut desktop = Desktop::new(folder.path(), &relay.url);
        let phone = Phone::new(desktop.pair().await);
        Self { desktop, phone, decisions: 0, decided: 0, sent_again: 0, folder, _relay: relay }
    }

    /// A folder in which threads may be started.
    pub(super) fn folder(&self, name: &str) -> String {
        let folder = self.folder.path().join("work").join(name);
        std::fs::create_dir_all(&folder).expect("made");
        folder.display().to_string()
    }

    /// Listens until something is so; it is forgotten if that takes too long.
    pub(super) async fn until(&mut self, what: &str, is_so: impl Fn(&Phone) -> bool) {
        let deadline = Instant::now() + SOON;
        while !is_so(&self.phone) {
            let late = || format!("{what} was forgotten after {:?}", self.desktop.steps());
            assert!(Instant::now() < deadline, "{}", late());
            self.phone.listen(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn carry_out(&mut self, id: &str, command: Command) -> CommandOutcome {
        self.phone.give(id, command);
        self.until(id, |phone| phone.results.contains_key(id)).await;
        self.phone.results[id].clone()
    }

    /// A thread for prompts.
    pub(super) async fn thread(&mut self) -> String {
        let (agent, folder) = ("acp-python3".to_owned(), self.folder("."));
        let start = Command::ThreadStart { agent, folder, prompt: None };
        let outcome = self.carry_out("thread", start).await;
        outcome.data.expect("a thread")["thread"].as_str().expect("an id").to_owned()
    }

    /// Lets the host work until it dies at a step of this name, or at one that is new, or until it is done.
    /// Tells whether it died.
    pub(super) async fn work(
        &mut self,
        id: &str,
        step: Option<&str>,
        begin: impl AsyncFn(&mut Self, &str),
    ) -> bool {
        self.desktop.die_at(step);
        begin(self, id).await;
        let deadline = Instant::now() + SOON;
        let (mut steps, mut since) = (0, Instant::now());
        while !self.desktop.is_dead() && since.elapsed() < QUIET {
            self.phone.listen(Duration::from_millis(5)).await;
            let now = self.desktop.steps().len();
            if now != steps || now == 0 || !self.phone.knows(id) {
                (steps, since) = (now, Instant::now());
            }
            assert!(Instant::now() < deadline, "{id} was forgotten by a host that lives");
        }
        let died = self.desktop.is_dead();
        self.desktop.live();
        died
    }

    /// Waits for the end of a command, and decides when it is shown as unknown.
    pub(super) async fn end(&mut self, id: &str) -> CommandOutcome {
        for _ in 0..DECISIONS_MAX {
            self.until(id, |phone| phone.knows(id)).await;
            if let Some(outcome) = self.phone.results.get(id).cloned() {
                self.until("a command", |phone| phone.waiting().next().is_none()).await;
                return outcome;
            }
            let how =
                if self.decisions.is_multiple_of(2) { Settle::SendAgain } else { Settle::Drop };
            let settle = self.settle(id, how);
            self.until(&settle, |phone| phone.results.contains_key(&settle)).await;
            // The phone may still show what the host has decided since it is back.
            let told = self.phone.results[&settle].text.as_deref().unwrap_or_default();
            if told.contains("decided already") {
                self.sent_again -= usize::from(how == Settle::SendAgain);
            } else {
                self.decided += 1;
            }
        }
        panic!("{id} asks for ever");
    }

    /// The person decides. Gives the id of that command.
    pub(super) fn settle(&mut self, id: &str, how: Settle) -> String {
        self.decisions += 1;
        self.sent_again += usize::from(how == Settle::SendAgain);
        self.phone.unknown.remove(id);
        let settle = format!("settle-{}", self.decisions);
        self.phone.give(&settle, Command::Settle { command: id.to_owned(), how });
        settle
    }
}

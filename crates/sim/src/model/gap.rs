//! What a gap may say.

use belay_wire::{Gap, Position};

use super::scene::Scene;
use crate::{audit::Promise, log::number_of};

impl Scene {
    /// A gap begins where its reader stands, and covers nothing that is kept for it.
    pub(super) fn check_gap(&mut self, at: usize, gap: &Gap) {
        let client = &self.people[at].client;
        let Some(before) = client.ledger.resume().get(&gap.ch).copied() else {
            // Who has applied nothing yet starts from the newest, and is told of all before.
            return;
        };
        let reader = client.id;
        if before.epoch == gap.epoch && gap.from > before.seq.next() {
            let text = format!("a gap from {} to {} is too short for {reader}", gap.from, gap.to);
            self.audit.edit().fail(Promise::Told, text);
        }
        if let Some(number) = self.kept_but_gone(reader, gap) {
            let text = format!("{reader} was told that {number} is gone, which is kept for it");
            self.audit.edit().fail(Promise::Arrives, text);
        }
    }

    /// A message of the window that a gap covers although its reader is owed it.
    fn kept_but_gone(&self, reader: usize, gap: &Gap) -> Option<usize> {
        let setup = &self.stage.setup;
        let all: Vec<_> = self.logs.records(gap.ch).collect();
        let to = Position::new(gap.epoch, gap.to);
        let end = all.iter().rposition(|record| record.position == to).map_or(0, |at| at + 1);
        let messages = all.iter().filter(|record| record.is_message()).count();
        let is_up = !gap.ch.is_written_by_host();
        // Of `up` nothing leaves that was not applied; what aged out was given up.
        let kept = if is_up { messages } else { setup.kept.min(messages) };
        let outside = messages - if self.has_slept() && !is_up { 0 } else { kept };
        let covered = all[..end].iter().filter_map(|record| number_of(record)).skip(outside);
        covered.into_iter().find(|number| self.audit.awaits(reader, gap.ch, *number))
    }

    /// Everything from before was too old once.
    fn has_slept(&self) -> bool {
        u128::from(self.at) > self.stage.shared.policy.log_age.as_millis()
    }
}

//! What a run showed, and what counts as a violation.

use std::{collections::BTreeMap, time::Duration};

use belay_chaos::audit::Findings;
use belay_wire::Channel;
use serde_json::{Value, json};

/// What a run showed.
#[derive(Debug, Default)]
pub struct Played {
    /// In words; empty is well.
    pub violations: Vec<String>,
    pub messages: u64,
    pub applied: u64,
    /// Messages whose absence a reader was told of.
    pub told: u64,
    /// Messages that a writer gave up.
    pub given_up: u64,
    /// How many of each kind.
    pub faults: BTreeMap<&'static str, u64>,
    pub simulated: Duration,
}

impl Played {
    /// All of it, and what tells its trace from others.
    pub fn json(&self, trace: &[String]) -> Value {
        json!({
            "violations": self.violations, "messages": self.messages, "applied": self.applied,
            "told": self.told, "given_up": self.given_up, "faults": self.faults,
            "simulated_ms": u64::try_from(self.simulated.as_millis()).unwrap_or(u64::MAX),
            "hash": format!("{:016x}", hash(trace)),
        })
    }

    pub(crate) fn add(&mut self, what: &str, channel: Channel, found: &Findings) {
        self.applied += found.applied;
        self.told += found.told;
        let kinds = [
            ("lost", &found.lost),
            ("missing in silence", &found.silent),
            ("doubled", &found.doubled),
            ("reordered", &found.reordered),
        ];
        for (kind, numbers) in kinds.into_iter().filter(|(_, numbers)| !numbers.is_empty()) {
            let some: Vec<_> = numbers.iter().take(10).collect();
            self.violations.push(format!("{what}: {} {kind}: {some:?}", numbers.len()));
        }
        // Commands wait for their desktop for a day: nothing of them may be told as gone.
        if matches!(channel, Channel::Up(_)) && found.told > 0 {
            self.violations.push(format!("{what}: {} told as gone", found.told));
        }
    }
}

/// FNV-1a of all lines.
fn hash(lines: &[String]) -> u64 {
    let bytes = lines.iter().flat_map(|line| line.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

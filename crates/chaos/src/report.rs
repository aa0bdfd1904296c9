//! What a run showed.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use crate::{
    audit::{self, Findings},
    fleet::Party,
    lists,
};

/// A fault that happened.
#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: &'static str,
    pub target: String,
    pub at_ms: u64,
    pub healed_ms: u64,
    /// Messages that were sent and not applied when it began.
    pub in_flight: u64,
    /// From its end until all parties were connected.
    pub resume_ms: u64,
}

/// All findings of a run.
#[derive(Debug, Default)]
pub struct Report {
    pub messages: u64,
    pub applied: u64,
    pub told: u64,
    pub unknown: u64,
    /// Breaches in words, one for each channel and reader.
    pub breaches: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    pub resume_p99_ms: u64,
    pub longest_pause_ms: u64,
    pub longest_drain_pause_ms: u64,
}

/// Reads the lists of all parties and compares them.
///
/// # Errors
/// When a list cannot be read.
pub fn audit(parties: &[Party], faults: &[Fault]) -> anyhow::Result<Report> {
    let mut report = Report::default();
    for writer in parties {
        for channel in &writer.writes {
            let sent = lists::read_sent(&lists::path(&writer.folder, "sent", *channel))?;
            report.messages += sent.len() as u64;
            let is_unknown = |word: &&lists::Sent| !matches!(word, lists::Sent::Done(_));
            report.unknown += sent.values().filter(is_unknown).count() as u64;
            for reader in parties.iter().filter(|party| party.reads.contains(channel)) {
                let path = lists::path(&reader.folder, "applied", *channel);
                let applied = lists::read_applied(&path)?;
                report.add(
                    &format!("{channel} at {}", reader.name),
                    &audit::compare(&sent, &applied),
                );
                for fault in faults {
                    report.add_pause(fault, &applied);
                }
            }
        }
    }
    let mut resumes: Vec<_> = faults.iter().map(|fault| fault.resume_ms).collect();
    resumes.sort_unstable();
    let at = (resumes.len() * 99).div_ceil(100).saturating_sub(1);
    report.resume_p99_ms = resumes.get(at).copied().unwrap_or(0);
    Ok(report)
}

impl Report {
    fn add(&mut self, what: &str, found: &Findings) {
        self.applied += found.applied;
        self.told += found.told;
        let kinds = [
            ("lost", &found.lost),
            ("doubled", &found.doubled),
            ("reordered", &found.reordered),
            ("silent_gaps", &found.silent),
        ];
        for (kind, numbers) in kinds {
            *self.counts.entry(kind).or_default() += numbers.len() as u64;
            if !numbers.is_empty() {
                let some: Vec<_> = numbers.iter().take(10).collect();
                self.breaches.push(format!("{what}: {} {kind}: {some:?}", numbers.len()));
            }
        }
    }

    fn add_pause(&mut self, fault: &Fault, applied: &[lists::Applied]) {
        let end = fault.healed_ms + fault.resume_ms;
        let pause = audit::longest_pause(applied, fault.at_ms, end);
        self.longest_pause_ms = self.longest_pause_ms.max(pause);
        if fault.kind == "drain_relay" {
            self.longest_drain_pause_ms = self.longest_drain_pause_ms.max(pause);
        }
    }

    /// Writes it to a file, with `more` fields.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(
        &self,
        path: &Path,
        seed: u64,
        faults: &[Fault],
        more: &Value,
    ) -> anyhow::Result<()> {
        let mut kinds = BTreeMap::<_, u64>::new();
        for fault in faults {
            *kinds.entry(fault.kind).or_default() += 1;
        }
        let in_flight = faults.iter().filter(|fault| fault.in_flight > 0).count();
        let commit = std::process::Command::new("git").args(["rev-parse", "HEAD"]).output().ok();
        let commit = commit.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
        let mut json = json!({
            "commit": commit, "ended": lists::unix_ms() / 1_000, "seed": seed,
            "messages": self.messages, "applied": self.applied, "unknown": self.unknown,
            "faults": faults.len(), "faults_with_messages_in_flight": in_flight,
            "faults_by_kind": kinds, "told_missing": self.told,
            "resume_p99_ms": self.resume_p99_ms,
            "longest_pause_ms": self.longest_pause_ms,
            "longest_drain_pause_ms": self.longest_drain_pause_ms,
        });
        for (kind, count) in &self.counts {
            json[*kind] = json!(count);
        }
        for (name, value) in more.as_object().into_iter().flatten() {
            json[name] = value.clone();
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(path, serde_json::to_string_pretty(&json)?)?)
    }
}

//! The builds that relays run: this one, and the previous one beside it if there is one; and what a run
//! shows of both.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

/// Which build a relay runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Build {
    This,
    Previous,
}

impl Build {
    fn label(self) -> &'static str {
        match self {
            Self::This => "this build",
            Self::Previous => "the previous build",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::This => Self::Previous,
            Self::Previous => Self::This,
        }
    }
}

/// Where the binaries of both are.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) this: PathBuf,
    pub(super) previous: Option<PathBuf>,
}

impl Binaries {
    /// The binary of a build. Without a previous one all relays run this one.
    pub(super) fn of(&self, build: Build) -> &Path {
        match build {
            Build::This => &self.this,
            Build::Previous => self.previous.as_ref().unwrap_or(&self.this),
        }
    }

    /// What the `n`th node runs at first, counted from 1: an odd one the previous build.
    pub(super) fn first(&self, n: usize) -> Build {
        let odd = !n.is_multiple_of(2);
        if odd && self.previous.is_some() { Build::Previous } else { Build::This }
    }
}

/// What a relay tells of itself, counted from its start on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) commit: String,
    /// Sockets that were let in.
    pub(super) sockets: u64,
    /// Messages that were stored for their writers.
    pub(super) messages: u64,
    pub(super) revocations: u64,
    /// Records, log entries and words of other relays that it could not read.
    pub(super) unread: u64,
}

impl Told {
    /// Reads the health of a relay's admin listener.
    ///
    /// # Errors
    /// When a number is missing: one that is not told would pass for 0.
    pub(super) fn read(health: &Value) -> anyhow::Result<Self> {
        let number =
            |path: &str| health.pointer(path).and_then(Value::as_u64).context(path.to_owned());
        let counted = |path: &str, reasons: &[&str]| {
            let counts =
                health.pointer(path).and_then(Value::as_object).context(path.to_owned())?;
            let numbers = reasons.iter().filter_map(|reason| counts.get(*reason)?.as_u64());
            anyhow::Ok(numbers.sum::<u64>())
        };
        let words = ["version", "kind", "malformed", "signature"];
        Ok(Self {
            commit: health["commit"].as_str().unwrap_or("unknown").to_owned(),
            sockets: number("/metrics/wsAuthSuccesses")?,
            messages: number("/metrics/messagesStored")?,
            revocations: number("/metrics/deviceRevokes")?,
            unread: counted("/cluster/bus/refused", &words)?
                + counted("/cluster/bus/unreadable", &["version", "damaged"])?
                + counted("/metrics/storeFailureReasons", &["newer", "damaged"])?
                + number("/cluster/catalog/unreadable")?,
        })
    }
}

/// One life of a relay, from a start to an end.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) build: Build,
    /// What it told last; one that was never asked in time told nothing.
    pub(super) told: Told,
}

/// What the lives of one build came to.
#[derive(Debug)]
pub(super) struct Sum {
    build: Build,
    starts: usize,
    all: Told,
}

impl Sum {
    pub(super) fn of(build: Build, lives: &[&Life]) -> Self {
        let mut sum = Self { build, starts: 0, all: Told::default() };
        for Life { told, .. } in lives.iter().filter(|life| life.build == build) {
            sum.starts += 1;
            if !told.commit.is_empty() {
                sum.all.commit.clone_from(&told.commit);
            }
            sum.all.sockets += told.sockets;
            sum.all.messages += told.messages;
            sum.all.revocations += told.revocations;
            sum.all.unread += told.unread;
        }
        sum
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "build": self.build.label(), "commit": self.all.commit, "starts": self.starts,
            "sockets": self.all.sockets, "messages_stored": self.all.messages,
            "revocations": self.all.revocations, "unread": self.all.unread,
        })
    }

    /// What is wrong with this build's part in the run, in words.
    fn breaches(&self) -> Vec<String> {
        let Self { build, starts, all } = self;
        let mut found = Vec::new();
        let mut must = |is: bool, what: String| {
            if !is {
                found.push(format!("{} ({}) {what}", build.label(), all.commit));
            }
        };
        must(*starts > 0, "never ran".to_owned());
        must(all.sockets > 0, "never served a socket".to_owned());
        must(all.messages > 0, "never stored a message".to_owned());
        must(all.unread == 0, format!("could not read {} things that relays wrote", all.unread));
        found
    }
}

/// What is wrong with the parts of the builds in a run, in words.
pub(super) fn breaches(sums: &[Sum]) -> Vec<String> {
    let mut found: Vec<_> = sums.iter().flat_map(Sum::breaches).collect();
    if let [one, other] = sums
        && one.all.commit == other.all.commit
    {
        found.push(format!("both builds are {}: nothing was shown of two", one.all.commit));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(build: Build, told: &Told) -> Life {
        Life { build, told: told.clone() }
    }

    fn told(commit: &str) -> Told {
        Told { commit: commit.to_owned(), sockets: 1, messages: 1, ..Told::default() }
    }

    /// What is said of a run with these lives.
    fn found(lives: &[Life]) -> Vec<String> {
        let lives: Vec<_> = lives.iter().collect();
        breaches(&[Build::This, Build::Previous].map(|build| Sum::of(build, &lives)))
    }

    #[test]
    fn a_build_that_took_no_part_or_could_not_read_is_found() {
        let this = life(Build::This, &told("b"));
        let before = |told| life(Build::Previous, &told);

        let well = [this.clone(), before(told("a")), before(Told::default())];
        assert_eq!(found(&well), [""; 0]);
        let says = |lives: &[Life], what: &str| {
            let found = found(lives);
            assert!(found.iter().any(|breach| breach.contains(what)), "{what}: {found:?}");
        };
        says(std::slice::from_ref(&this), "the previous build () never ran");
        says(
            &[this.clone(), before(Told { sockets: 0, ..told("a") })],
            "(a) never served a socket",
        );
        says(&[this.clone(), before(Told { messages: 0, ..told("a") })], "never stored a message");
        says(
            &[this.clone(), before(Told { unread: 2, ..told("a") })],
            "(a) could not read 2 things",
        );
        says(&[this, before(told("b"))], "both builds are b");
    }

    #[test]
    fn what_cannot_be_read_is_added_up_and_a_number_that_is_missing_is_no_zero() {
        let mut health = json!({
            "commit": "a",
            "cluster": {
                "bus": { "refused": { "version": 1, "old": 90 }, "unreadable": { "damaged": 2 } },
                "catalog": { "unreadable": 4 },
            },
            "metrics": {
                "wsAuthSuccesses": 7, "messagesStored": 8, "deviceRevokes": 9,
                "storeFailureReasons": { "newer": 8, "unavailable": 90 },
            },
        });
        let all = Told { sockets: 7, messages: 8, revocations: 9, unread: 15, ..told("a") };

        assert_eq!(Told::read(&health).expect("whole"), all);
        health["cluster"]["bus"]["refused"] = Value::Null;
        assert!(Told::read(&health).is_err());
    }
}

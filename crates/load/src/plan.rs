//! What is to be measured, from the command line or the environment.

use std::path::PathBuf;

use clap::value_parser;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::proc::machine_load;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// The program whose relays are measured.
    #[arg(long)]
    pub(crate) binary: PathBuf,
    /// Desktops with a phone each.
    #[arg(long, env = "PAIRS", default_value_t = 500, value_parser = value_parser!(u64).range(1..))]
    pub(crate) pairs: u64,
    #[arg(long, env = "RELAYS", default_value_t = 2, value_parser = value_parser!(u64).range(1..))]
    pub(crate) relays: u64,
    /// Copies of each message; with more than one there are three brokers.
    #[arg(long, env = "REPLICAS", default_value_t = 1)]
    pub(crate) replicas: u64,
    /// Time between two messages of a pair.
    #[arg(long, env = "EVERY_MS", default_value_t = 1_000)]
    pub(crate) every_ms: u64,
    /// How long pairs talk.
    #[arg(long, env = "TALK_S", default_value_t = 60)]
    pub(crate) talk_s: u64,
    /// How long they are idle before.
    #[arg(long, env = "IDLE_S", default_value_t = 60)]
    pub(crate) idle_s: u64,
    /// How long all but one in a hundred are idle; 0: not at all.
    #[arg(long, env = "BESIDE_S", default_value_t = 0)]
    pub(crate) beside_s: u64,
    /// What relays log; their most frequent words are told in the end.
    #[arg(long, default_value = "warn")]
    pub(crate) log_level: String,
    /// Added to the arguments of each relay.
    #[arg(long = "relay-arg", allow_hyphen_values = true)]
    pub(crate) relay_args: Vec<String>,
    #[arg(long, default_value = "target/reports/pairs.json")]
    pub(crate) report: PathBuf,
    #[arg(long, env = "BELAY_COMMIT", default_value = "unknown")]
    commit: String,
}

impl Plan {
    /// What a report begins with.
    pub(crate) fn told(&self) -> anyhow::Result<Map<String, Value>> {
        let started = OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?;
        let fields = [
            ("commit", json!(self.commit)),
            ("started", json!(started)),
            ("build", json!(self.build())),
            ("pairs", json!(self.pairs)),
            ("relays", json!(self.relays)),
            ("replicas", json!(self.replicas)),
            ("every_ms", json!(self.every_ms)),
            ("machine_load_before", json!(machine_load()?)),
        ];
        Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn build(&self) -> &'static str {
        let is = |word: &str| self.binary.components().any(|part| part.as_os_str() == word);
        if is("release") { "release" } else { "debug" }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::Args;

    #[test]
    fn nothing_to_measure_is_refused() {
        for nothing in ["--relays=0", "--pairs=0"] {
            let parsed = Args::try_parse_from(["belay-load", "pairs", "--binary=belay", nothing]);

            let told = parsed.map(drop).expect_err(nothing).to_string();
            assert!(told.contains("invalid value '0'"), "{told}");
        }
    }
}

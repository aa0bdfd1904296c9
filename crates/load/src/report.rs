//! `target/reports/pairs.json`: an array of runs, the newest of each size.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// A number divided by another.
#[expect(clippy::cast_precision_loss, reason = "no number here comes near 2^52")]
pub(crate) fn ratio(number: u64, by: u64) -> f64 {
    number as f64 / by.max(1) as f64
}

/// Three places are enough for people.
pub(crate) fn round(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// What a run is known by: a later one of the same takes its place.
const SAME: [&str; 5] = ["pairs", "relays", "replicas", "build", "every_ms"];

/// Adds a run to the file.
pub(crate) fn write(path: &Path, run: Map<String, Value>) -> anyhow::Result<()> {
    let mut runs: Vec<Value> = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?,
        Err(_) => Vec::new(),
    };
    runs.retain(|there| SAME.iter().any(|name| there.get(name) != run.get(*name)));
    runs.push(Value::Object(run));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, format!("{:#}\n", json!(runs)))?;
    Ok(())
}

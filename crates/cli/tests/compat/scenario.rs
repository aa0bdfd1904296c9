//! Scenarios, each listed under the row that it shows, and the report of a run.

use std::{path::Path, pin::Pin};

use belay_testkit::unix_ms;
use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::world::World;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One thing that clients in the field rely on.
pub(crate) struct Scenario {
    /// Section of the protocol's description, and what of it.
    pub(crate) row: String,
    run: Box<dyn FnOnce(World) -> Running + Send>,
}

impl Scenario {
    pub(crate) fn new<F>(
        row: impl Into<String>,
        run: impl FnOnce(World) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self { row: row.into(), run: Box::new(|world| Box::pin(run(world))) }
    }
}

/// How a run ended.
pub(crate) struct Report {
    pub(crate) scenarios: usize,
    /// Rows that did not hold, with the reason.
    pub(crate) failed: Vec<String>,
}

/// What is about one process, and not about the relay that several are together.
const OF_ONE_NODE: &[&str] = &[
    "2.2 list that is not given",
    "2.4 PUBLIC_BASE_URL",
    "2.5 503",
    "2.7 healthz",
    "2.8 ",
    // A node may hear a moment after a phone came what a desktop said at another one a moment before.
    "3.1 nothing unasked after auth_ok of a phone",
    // And one tells its own clients who left a moment before the others know.
    "3.1 auth_ok of a phone while the desktop is away",
    "2.5 409 desktop_not_connected after it left",
    // The end of a connection is the balancer's, which may lose what came just before a reset.
    "3.4 after the close frame the connection is gone",
    "bad input: 2,000 headers",
    "3 refused: the relay is full",
    "3 refused: more phones than may be connected",
    "3 refused for now: a token of a key that is not here",
    "3 refused for now: the rotated token could not be saved",
    "3.4 server_shutdown ends neither",
    "relay_over_capacity",
    "MAX_ACTIVE_WEBSOCKET_CONNECTIONS",
    "MAX_PENDING_JOIN_WAITERS",
    "8 ",
    "epic B: belay devices",
    "epic B: a phone that calls itself",
];

/// Over several nodes so many scenarios may be played once more.
const AGAIN_MAX: usize = 2;

/// Scenarios that run at one time.
const AT_ONCE: usize = 8;

/// Runs all scenarios and writes `target/reports/compat.json`.
pub(crate) async fn run(scenarios: Vec<Scenario>) -> Report {
    let (report, whole) = play(scenarios).await;
    if std::env::var_os("COMPAT_ONLY").is_none() {
        let several = crate::relay::count() > 1;
        write(if several { "compat-cluster.json" } else { "compat.json" }, &whole);
    }
    report
}

/// Plays scenarios once more that met a moment in which nodes had not heard of each other: if they are few.
pub(crate) async fn again(report: Report, scenarios: Vec<Scenario>) -> Report {
    if report.failed.is_empty() || report.failed.len() > AGAIN_MAX {
        return report;
    }
    eprintln!("ONCE MORE: {:#?}", report.failed);
    let failed = |row: &String| report.failed.iter().any(|why| why.starts_with(row));
    let (second, _) = play(scenarios.into_iter().filter(|s| failed(&s.row)).collect()).await;
    assert!(second.scenarios >= report.failed.len(), "they are played");
    Report { failed: second.failed, ..report }
}

async fn play(scenarios: Vec<Scenario>) -> (Report, serde_json::Value) {
    let only = std::env::var("COMPAT_ONLY").unwrap_or_default();
    let started = unix_ms();
    let chosen = scenarios.into_iter().filter(|s| s.row.contains(&only));
    let several = crate::relay::count() > 1;
    let (chosen, skipped): (Vec<_>, Vec<_>) =
        chosen.partition(|s| !several || !OF_ONE_NODE.iter().any(|row| s.row.contains(row)));
    if !skipped.is_empty() {
        eprintln!(
            "SKIPPED over several nodes, because they are about one (its address, numbers, limits, \
             files or start): {} scenarios, all rows with one of {OF_ONE_NODE:?}",
            skipped.len()
        );
    }
    let chosen = chosen.into_iter();
    let shared = World::shared();
    let running = chosen.enumerate().map(|(at, scenario)| {
        let world = World::new(&shared, at);
        async move {
            let Scenario { row, run } = scenario;
            let done = tokio::spawn(run(world)).await;
            let why = done.err().map(|error| match error.try_into_panic() {
                Ok(panic) => {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or(panic.downcast_ref::<&str>().copied());
                    text.unwrap_or("it panicked").to_owned()
                }
                Err(error) => error.to_string(),
            });
            (row, why)
        }
    });
    let mut rows: Vec<_> = stream::iter(running).buffer_unordered(AT_ONCE).collect().await;
    rows.sort();
    let failed: Vec<_> =
        rows.iter().filter_map(|(row, why)| Some(format!("{row}: {}", why.as_ref()?))).collect();
    let listed: Vec<_> = rows
        .iter()
        .map(|(row, why)| json!({ "row": row, "held": why.is_none(), "why": why }))
        .collect();
    let report = json!({
        "commit": std::env::var("BELAY_COMMIT").unwrap_or_default(), "started": started,
        "scenarios": rows.len(), "failed": failed.len(), "rows": listed,
    });
    (Report { scenarios: rows.len(), failed }, report)
}

/// Writes a report beside those of the other suites.
pub(crate) fn write(name: &str, report: &serde_json::Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/reports");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = serde_json::to_string_pretty(report).expect("plain data");
    std::fs::write(folder.join(name), text).expect("written");
}

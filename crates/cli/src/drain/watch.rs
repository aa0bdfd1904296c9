//! How far a drain is: as a line, and until it is over.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::bail;
use reqwest::{StatusCode, Url};
use serde_json::Value;

use crate::devices::admin::{Admin, Refused};

/// Time between two looks at a drain that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// It is shown at least so often that it goes on.
const SHOW_EVERY: Duration = Duration::from_secs(5);
/// Another relay may say nothing for so long, as while the brokers choose a leader.
const SILENCE: Duration = Duration::from_secs(30);

impl Admin {
    /// How far the drain of a relay is; without a name that of the one that is asked.
    pub(super) async fn drain_status(&self, node: Option<&str>) -> anyhow::Result<Value> {
        let Some(name) = node else { return self.get("/admin/drain/status").await };
        let mut query = Url::parse("relay:/admin/drain/status")?;
        query.query_pairs_mut().append_pair("node", name);
        let path = format!("/admin/drain/status?{}", query.query().unwrap_or_default());
        told_of(node, self.get(&path).await?)
    }
}

/// What was told, if it is of the relay of this name. Relays of an earlier version tell of themselves.
pub(super) fn told_of(node: Option<&str>, status: Value) -> anyhow::Result<Value> {
    if let Some(name) = node.filter(|_| !status["node"].is_string()) {
        bail!(
            "the relay that was asked is of an earlier version and tells of itself only: ask {name} at its own \
             admin listener (--admin)"
        );
    }
    Ok(status)
}

/// Shows progress until nobody is connected. Fails if the drain ends before that.
pub(super) async fn watch(
    admin: &Admin,
    node: Option<&str>,
    mut status: Value,
) -> anyhow::Result<()> {
    let began = status["id"].clone();
    let (mut shown, mut heard) = (Instant::now(), Instant::now());
    while status["state"] == "draining" {
        tokio::time::sleep(LOOK_EVERY).await;
        let before = who_left(&status);
        status = match admin.drain_status(node).await {
            Ok(status) => status,
            Err(error) => {
                bear(node, error, &status, heard.elapsed())?;
                continue;
            }
        };
        heard = Instant::now();
        if who_left(&status) != before || shown.elapsed() >= SHOW_EVERY {
            shown = Instant::now();
            show(node, &status)?;
        }
    }
    // It may take clients again by now, after it had none.
    let ended = if status["state"] == "active" { &status["last"] } else { &status };
    if ended["state"] != "drained" || ended["id"] != began {
        bail!(
            "that drain ended while clients were connected: it was called off, or the relay started anew"
        );
    }
    Ok(())
}

/// Whether it can be waited on although nothing was told.
fn bear(
    node: Option<&str>,
    error: anyhow::Error,
    last: &Value,
    silent: Duration,
) -> anyhow::Result<()> {
    let Some(name) = node else { return Err(error) };
    match error.downcast_ref::<Refused>().map(|refused| refused.status) {
        Some(StatusCode::NOT_FOUND) => bail!(
            "{name} does not live any more, or is not known: {} when it was last heard; clients come back \
             elsewhere by themselves",
            connections(last["sockets_now"].as_i64().unwrap_or(0)),
        ),
        Some(StatusCode::GATEWAY_TIMEOUT) if silent < SILENCE => {
            Ok(writeln!(std::io::stdout(), "{name} is not heard now; waiting")?)
        }
        Some(_) => Err(error),
        None => Err(error.context(format!(
            "{name} goes on draining; ask another relay of the cluster how it stands (--admin, --data-dir)"
        ))),
    }
}

fn who_left(status: &Value) -> [Value; 4] {
    ["state", "sockets_now", "migrated", "forced"].map(|name| status[name].clone())
}

/// Shows how a drain stands.
pub(super) fn show(node: Option<&str>, status: &Value) -> anyhow::Result<()> {
    let name = node.map(|name| format!("{name}: ")).unwrap_or_default();
    // It says so each second.
    let age = match status["told_ms_ago"].as_u64() {
        Some(age @ 2_000..) => format!(" ({} s ago)", age / 1_000),
        _ => String::new(),
    };
    Ok(writeln!(std::io::stdout(), "{name}{}{age}", line(status))?)
}

fn line(status: &Value) -> String {
    let n = |name: &str| status[name].as_i64().unwrap_or(0);
    if status["state"] == "active" {
        let last = &status["last"];
        let last = last["reason"].as_str().map_or(String::new(), |reason| {
            let at = last["started_at"].as_u64().unwrap_or(0);
            let time = belay_wire::compat::format_time(at);
            let cut = match last["sockets_now"].as_i64() {
                None | Some(0) => String::new(),
                Some(left) => format!(", and ended with {}", connections(left)),
            };
            format!("; last drained for \"{reason}\" at {time}{cut}")
        });
        return format!("active: {}{last}", connections(n("sockets_now")));
    }
    let (left, initial) = (n("sockets_now"), n("sockets_initial"));
    let remain = match left {
        0 => String::new(),
        _ => format!(", {} s remain", n("remaining_s")),
    };
    format!(
        "{}: {left} of {} left ({} moved, {} closed), {} tries refused{remain}",
        status["state"].as_str().unwrap_or("unknown"),
        connections(initial),
        n("migrated"),
        n("forced"),
        n("blocked_upgrades"),
    )
}

fn connections(count: i64) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

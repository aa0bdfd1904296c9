//! `belay drain`: sends the clients of a relay away before it is stopped or replaced.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use crate::{
    devices::admin::{self, Admin},
    settings,
};

/// Time between two looks at a drain that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// It is shown at least so often that it goes on.
const SHOW_EVERY: Duration = Duration::from_secs(5);

/// The command and its subcommands.
pub(crate) fn command() -> Command {
    let common = |command: Command| command.arg(admin::address()).arg(settings::data_dir());
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("drain")
        .about("Send a relay's clients away before it stops")
        .long_about(
            "Send a relay's clients away before it stops.\n\nA relay that drains is not ready, takes no new \
             connections and pairings, and tells each client a time of its own at which to go elsewhere or \
             to come back. Who is still there at the end is closed and comes back by itself; no message is \
             lost.\n\n  belay drain start --reason \"deploy 42\" --window 60 --wait\n  belay drain \
             status\n  belay drain complete\n  belay drain cancel\n\nOf a cluster, \
             through any of its relays:\n\n  belay drain start --reason \"deploy 42\" --node relay2\n\nWhere there is no other relay, a \
             window only delays:\n\n  belay drain start --reason \"deploy 42\" --window 1 --exit",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(common(
            Command::new("start")
                .about("Begin")
                .arg(Arg::new("reason").long("reason").value_name("TEXT").required(true).help("Why, for the audit log and for clients"))
                .arg(
                    Arg::new("window")
                        .long("window")
                        .value_name("SECONDS")
                        .value_parser(clap::value_parser!(u64).range(1..=3_600))
                        .default_value("60")
                        .help("How long clients get"),
                )
                .arg(Arg::new("endpoint").long("endpoint").value_name("URL").help("Where clients should go instead"))
                .arg(
                    Arg::new("node")
                        .long("node")
                        .value_name("NAME")
                        .help("Another relay of the cluster, by its --instance; `belay drain status` at its own admin listener shows how far it is"),
                )
                .arg(flag("wait", "Show progress until nobody is connected"))
                .arg(flag("exit", "The same, then end the relay's process")),
        ))
        .subcommand(common(Command::new("status").about("Show how far it is")))
        .subcommand(common(
            Command::new("complete")
                .about("End the relay's process, or take clients again")
                .arg(flag("resume", "Take clients again instead of ending"))
                .arg(flag("force", "Also while clients are connected")),
        ))
        .subcommand(common(Command::new("cancel").about("Take clients again")))
}

/// Runs one of the subcommands.
pub(crate) async fn run(args: &ArgMatches) -> anyhow::Result<()> {
    match args.subcommand() {
        Some(("start", args)) => start(args).await,
        Some(("status", args)) => show(&Admin::open(args)?.get("/admin/drain/status").await?),
        Some(("complete", args)) => {
            let then = if args.get_flag("resume") { "resume" } else { "exit" };
            complete(&Admin::open(args)?, then, args.get_flag("force")).await
        }
        Some(("cancel", args)) => {
            show(&Admin::open(args)?.post("/admin/drain/cancel", &json!({})).await?)
        }
        _ => unreachable!("clap accepts the subcommands above only"),
    }
}

async fn complete(admin: &Admin, then: &str, force: bool) -> anyhow::Result<()> {
    admin.post("/admin/drain/complete", &json!({ "then": then, "force": force })).await?;
    let what = if then == "exit" { "the relay ends" } else { "the relay takes clients again" };
    Ok(writeln!(std::io::stdout(), "{what}")?)
}

async fn start(args: &ArgMatches) -> anyhow::Result<()> {
    let exits = args.get_flag("exit");
    let waits = exits || args.get_flag("wait");
    if waits && args.contains_id("node") {
        bail!(
            "--wait and --exit watch the relay that is asked, not the one of --node: ask that one itself \
             (--admin), or leave them out"
        );
    }
    let admin = Admin::open(args)?;
    let body = json!({
        "reason": args.get_one::<String>("reason"),
        "max_session_age_seconds": args.get_one::<u64>("window"),
        "endpoint": args.get_one::<String>("endpoint"),
        "node": args.get_one::<String>("node"),
    });
    let mut status = admin.post("/admin/drain/start", &body).await?;
    if let Some(node) = args.get_one::<String>("node") {
        return Ok(writeln!(
            std::io::stdout(),
            "{node} was asked to drain, which changes nothing if it does already. Nobody confirms that: see \
             `belay drain status` at its own admin listener before you stop it"
        )?);
    }
    if status["reason"] != body["reason"] {
        writeln!(
            std::io::stdout(),
            "it drains already, for {}; this changes nothing",
            status["reason"]
        )?;
    }
    show(&status)?;
    let mut shown = Instant::now();
    while waits && status["state"] == "draining" {
        tokio::time::sleep(LOOK_EVERY).await;
        let before = who_left(&status);
        status = admin.get("/admin/drain/status").await?;
        if who_left(&status) != before || shown.elapsed() >= SHOW_EVERY {
            shown = Instant::now();
            show(&status)?;
        }
    }
    if exits { complete(&admin, "exit", false).await } else { Ok(()) }
}

fn who_left(status: &Value) -> [Value; 4] {
    ["state", "sockets_now", "migrated", "forced"].map(|name| status[name].clone())
}

fn show(status: &Value) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{}", line(status))?)
}

fn line(status: &Value) -> String {
    let n = |name: &str| status[name].as_i64().unwrap_or(0);
    if status["state"] == "active" {
        let last = &status["last"];
        let last = last["reason"].as_str().map_or(String::new(), |reason| {
            let at = last["started_at"].as_u64().unwrap_or(0);
            let time = belay_wire::compat::format_time(at);
            format!("; last drained for \"{reason}\" at {time}")
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

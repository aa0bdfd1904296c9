//! `belay drain`: sends the clients of a relay away before it is stopped or replaced.

mod watch;

use std::io::Write;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use self::watch::{show, told_of, watch};
use crate::{
    devices::admin::{self, Admin},
    settings,
};

const ABOUT: &str = "\
Send a relay's clients away before it stops.

A relay that drains is not ready, takes no new connections and pairings, and tells each client a time of its own at \
which to go elsewhere or to come back. Who is still there at the end is closed and comes back by itself; no message \
is lost.

  belay drain start --reason \"deploy 42\" --window 60 --wait
  belay drain status
  belay drain complete
  belay drain cancel

Of a cluster, through any of its relays:

  belay drain start --reason \"deploy 42\" --node relay2 --wait
  belay drain status --node relay2
  belay drain cancel --node relay2

Where there is no other relay, a window only delays:

  belay drain start --reason \"deploy 42\" --window 1 --exit";

/// The command and its subcommands.
pub(crate) fn command() -> Command {
    let common = |command: Command| command.arg(admin::address()).arg(settings::data_dir());
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let node = || {
        Arg::new("node").long("node").value_name("NAME").help(
            "Another relay of the cluster, by its --instance, instead of the one that is asked",
        )
    };
    let start = Command::new("start")
        .about("Begin")
        .arg(
            Arg::new("reason")
                .long("reason")
                .value_name("TEXT")
                .required(true)
                .help("Why, for the audit log and for clients"),
        )
        .arg(
            Arg::new("window")
                .long("window")
                .value_name("SECONDS")
                .value_parser(clap::value_parser!(u64).range(1..=3_600))
                .default_value("60")
                .help("How long clients get"),
        )
        .arg(
            Arg::new("endpoint")
                .long("endpoint")
                .value_name("URL")
                .help("Where clients should go instead"),
        )
        .arg(node())
        .arg(flag("wait", "Show progress until nobody is connected"))
        .arg(flag("exit", "The same, then end the relay's process").conflicts_with("node"));
    let complete = Command::new("complete")
        .about("End the relay's process, or take clients again")
        .arg(flag("resume", "Take clients again instead of ending"))
        .arg(flag("force", "Also while clients are connected"));
    Command::new("drain")
        .about("Send a relay's clients away before it stops")
        .long_about(ABOUT)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(common(start))
        .subcommand(common(Command::new("status").about("Show how far it is").arg(node())))
        .subcommand(common(complete))
        .subcommand(common(Command::new("cancel").about("Take clients again").arg(node())))
}

/// Runs one of the subcommands.
pub(crate) async fn run(args: &ArgMatches) -> anyhow::Result<()> {
    match args.subcommand() {
        Some(("start", args)) => start(args).await,
        Some(("status", args)) => {
            let (admin, node) = (Admin::open(args)?, node_of(args));
            show(node, &admin.drain_status(node).await?)
        }
        Some(("complete", args)) => {
            let then = if args.get_flag("resume") { "resume" } else { "exit" };
            complete(&Admin::open(args)?, then, args.get_flag("force")).await
        }
        Some(("cancel", args)) => {
            let (admin, node) = (Admin::open(args)?, node_of(args));
            // An earlier version would take clients again itself.
            told_of(node, admin.drain_status(None).await?)?;
            let body = json!({ "node": node });
            show(node, &admin.post("/admin/drain/cancel", &body).await?)
        }
        _ => unreachable!("clap accepts the subcommands above only"),
    }
}

async fn complete(admin: &Admin, then: &str, force: bool) -> anyhow::Result<()> {
    admin.post("/admin/drain/complete", &json!({ "then": then, "force": force })).await?;
    let what = if then == "exit" { "the relay ends" } else { "the relay takes clients again" };
    Ok(writeln!(std::io::stdout(), "{what}")?)
}

fn node_of(args: &ArgMatches) -> Option<&str> {
    args.get_one::<String>("node").map(String::as_str)
}

async fn start(args: &ArgMatches) -> anyhow::Result<()> {
    let exits = args.get_flag("exit");
    let (admin, node) = (Admin::open(args)?, node_of(args));
    let body = json!({
        "reason": args.get_one::<String>("reason"),
        "max_session_age_seconds": args.get_one::<u64>("window"),
        "endpoint": args.get_one::<String>("endpoint"),
        "node": node,
    });
    // An earlier version would order it and tell of itself.
    told_of(node, admin.drain_status(None).await?)?;
    let status = admin.post("/admin/drain/start", &body).await?;
    if status["reason"] != body["reason"] {
        writeln!(
            std::io::stdout(),
            "it drains already, for {}; this changes nothing",
            status["reason"]
        )?;
    }
    show(node, &status)?;
    if status["elsewhere"] == 0 && args.get_one::<String>("endpoint").is_none() {
        let warning =
            "no other relay takes clients now: who is sent away stays away until one does";
        writeln!(std::io::stdout(), "{warning}")?;
    }
    if exits || args.get_flag("wait") {
        watch(&admin, node, status).await?;
    }
    if exits { complete(&admin, "exit", false).await } else { Ok(()) }
}

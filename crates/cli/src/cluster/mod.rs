//! `belay cluster-dev`: Redis, NATS, PostgreSQL, several relays and a balancer on this machine, to see what
//! a cluster does when its parts die.

mod balancer;
mod folder;
mod ready;
mod relays;
mod secrets;
mod servers;
mod show;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use balancer::Balancer;
use folder::Folder;
use relays::{Launcher, Relay};
use secrets::{SECRETS, Secrets};
use servers::Servers;
use show::say;

/// Relays that one machine is asked to run at most.
const RELAYS_MAX: i64 = 16;

/// The command.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("cluster-dev")
        .about("Run a whole cluster on this machine, to try what it survives")
        .long_about(
            "Run a whole cluster on this machine: Redis, three NATS servers, PostgreSQL, several relays and a \
             balancer in front of them that sends each connection to a relay at random. Everything listens \
             on 127.0.0.1 only.\n\nKill any part of it (`kill -9 <pid>`, the table shows all of them): it is \
             told and started again, and who was connected goes on through the other relays.\n\n  belay \
             cluster-dev\n  belay cluster-dev --relays 5 --sentinels\n  belay cluster-dev --folder \
             ./cluster --port 8787\n\nCtrl-C ends all of it. Without --folder everything it wrote is removed \
             then. This is for trying: nothing in it has a password, and one disk holds all. \
             docs/operations/cluster.md says how to run a real one.",
        )
        .arg(
            Arg::new("relays")
                .long("relays")
                .value_name("N")
                .value_parser(value_parser!(u8).range(1..=RELAYS_MAX))
                .default_value("3")
                .help("How many relays"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("PORT")
                .value_parser(value_parser!(u16))
                .default_value("0")
                .help("Port of the balancer; 0 takes a free one"),
        )
        .arg(
            Arg::new("folder")
                .long("folder")
                .value_name("FOLDER")
                .value_parser(value_parser!(PathBuf))
                .help("Keep everything here; a later start goes on with it [default: a temporary folder]"),
        )
        .arg(
            Arg::new("public-url")
                .long("public-url")
                .value_name("URL")
                .action(ArgAction::Append)
                .help("Another address under which clients reach it, such as that of a proxy in front"),
        )
        .arg(flag("sentinels", "A Redis replica and three Sentinels, too, so that Redis itself can fail over"))
        .arg(flag("affinity", "Relays give the hint that keeps a session at one of them, and the balancer follows it"))
        .arg(flag("no-restart", "Leave what died as it is"))
        .arg(flag("exit-with-stdin", "End when standard input does").hide(true))
}

/// Runs it until it is told to stop.
pub(crate) async fn run(args: &ArgMatches) -> anyhow::Result<()> {
    let stopped = crate::stop_signal()?;
    let with_stdin = args.get_flag("exit-with-stdin");
    let sentinels = args.get_flag("sentinels");
    servers::check_installed(sentinels)?;
    let folder = Folder::open(args.get_one::<PathBuf>("folder").map(PathBuf::as_path), sentinels)?;
    let port = args.get_one::<u16>("port").copied().unwrap_or(0);
    // First, so that a port that is taken is told at once.
    let balancer = Balancer::bind(port, args.get_flag("affinity")).await?;
    say("starting; the first start takes some seconds");
    let servers = servers::start(folder.path().to_owned(), sentinels).await?;
    let (mut front, mut back) = (Tasks::default(), Tasks::default());
    let result = tokio::select! {
        result = work(args, &folder, (balancer, servers), &mut front, &mut back) => result,
        () = stopped => Ok(()),
        () = crate::stdin_end(), if with_stdin => Ok(()),
    };
    say("stopping");
    // Relays that end well write until their end.
    front.end().await;
    back.end().await;
    folder.end();
    result
}

/// Tasks that end together.
#[derive(Default)]
struct Tasks {
    stop: CancellationToken,
    running: JoinSet<()>,
}

impl Tasks {
    async fn end(mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

/// Starts the relays and watches over everything, until it is dropped.
async fn work(
    args: &ArgMatches,
    folder: &Folder,
    (balancer, servers): (Balancer, Servers),
    front: &mut Tasks,
    back: &mut Tasks,
) -> anyhow::Result<()> {
    let restart = !args.get_flag("no-restart");
    let secrets = Secrets::open(&folder.path().join(SECRETS))?;
    let mut table = show::Table::new(balancer.url(), folder);
    table.servers(&servers.all);
    let also = args.get_many::<String>("public-url").into_iter().flatten().cloned();
    let public: Vec<String> = [balancer.url()].into_iter().chain(also).collect();
    let (public, affinity) = (public.join(","), args.get_flag("affinity"));
    let launcher = Launcher::new(folder.path(), &public, &servers.urls, affinity, secrets)?;
    for server in servers.all {
        back.running.spawn(servers::watch(server, restart, back.stop.clone()));
    }
    let count = args.get_one::<u8>("relays").copied().unwrap_or(3);
    let mut backends = Vec::new();
    for relay in start_relays(&launcher, count).await? {
        table.relay(&relay);
        let (stop, backend) = (front.stop.clone(), balancer.backend(relay.public));
        backends.push(backend.clone());
        front.running.spawn(ready::watch(backend, stop.clone()));
        front.running.spawn(relays::watch(launcher.clone(), relay, restart, stop));
    }
    front.running.spawn(balancer.run(front.stop.clone()));
    ready::all(&backends).await;
    table.print();
    front.stop.cancelled().await;
    Ok(())
}

/// All at once: they are the first to use the same servers.
async fn start_relays(launcher: &Launcher, count: u8) -> anyhow::Result<Vec<Relay>> {
    let mut starting = JoinSet::new();
    for n in 1..=count {
        let launcher = launcher.clone();
        starting.spawn(async move { launcher.start(&format!("relay{n}"), None).await });
    }
    let mut relays = Vec::new();
    while let Some(started) = starting.join_next().await {
        let relay: Relay = started.context("a relay was not started")??;
        say(&format!("{} is up: {}, pid {}", relay.name, relay.url(), relay.pid));
        relays.push(relay);
    }
    relays.sort_by_key(|relay| relay.name.clone());
    Ok(relays)
}

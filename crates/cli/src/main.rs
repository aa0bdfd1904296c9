//! The one binary: reads the command line and joins the crates.

mod cluster;
mod devices;
mod drain;
mod host;
mod settings;
mod up;
mod why;

use std::{pin::pin, process::ExitCode};

use anyhow::Context as _;
use belay_relay::{Config, log::LogFile};
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::io::AsyncReadExt;

fn command() -> Command {
    Command::new("belay")
        .version(belay_relay::VERSION)
        .about("A relay that does not drop: drive what runs on your machine from a phone")
        .long_about(
            "Belay lets you drive what runs on your own machine, such as a coding agent, from a \
             phone or browser, through a relay that you host.\n\nStart with `belay up`: it runs \
             relay and desktop side, and shows the link to open.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(up_command())
        .subcommand(serve_command())
        .subcommand(host_command())
        .subcommand(devices::command())
        .subcommand(drain::command())
        .subcommand(why::command())
        .subcommand(cluster::command())
        .subcommand(settings::add(
            Command::new("config")
                .about("Print the effective configuration of the relay, secrets hidden")
                .after_help("The output is a file that --config reads."),
        ))
}

fn up_command() -> Command {
    let lan = Arg::new("lan")
        .long("lan")
        .action(ArgAction::SetTrue)
        .help("Let phones on this network in, by plain http");
    settings::add(host::add(
        Command::new("up")
            .about("Run relay and desktop side together, and show the link to open")
            .long_about(
                "Run the relay and the desktop side on this machine.\n\nOpen the link on a phone \
                 (or in a browser here), compare the six digits on both screens, and approve. \
                 From then on the phone drives the agent. A second start finds the same session \
                 and devices. The relay runs as a child process and is restarted when it dies.\n\n\
                 Without --lan or --public-url the link works on this machine only; with one of \
                 them a QR code is shown for the phone's camera.",
            )
            .arg(lan),
    ))
}

fn serve_command() -> Command {
    let with_stdin =
        Arg::new("exit-with-stdin").long("exit-with-stdin").action(ArgAction::SetTrue).hide(true);
    settings::add(
        Command::new("serve")
            .about("Run the relay")
            .long_about(
                "Run the relay: pairing, websockets and the phone page on the public listener, \
                 metrics and the admin API on the admin listener.\n\nEvery setting can be given \
                 as a flag, as BELAY_<NAME> in the environment, or in a TOML file named by \
                 --config; flags win over the environment, which wins over the file.",
            )
            .arg(with_stdin),
    )
}

fn host_command() -> Command {
    let relay = Arg::new("relay")
        .long("relay")
        .value_name("URL")
        .env("BELAY_RELAY")
        .default_value("http://127.0.0.1:8787")
        .help("Address of the relay");
    host::add(
        Command::new("host")
            .about("Run the desktop side against a relay that runs elsewhere")
            .arg(relay)
            .arg(settings::data_dir()),
    )
}

fn main() -> ExitCode {
    belay_client::install_crypto();
    let matches = command().get_matches();
    let result = match matches.subcommand() {
        Some(("up", args)) => run_up(args),
        Some(("serve", args)) => serve(args),
        Some(("host", args)) => run_host(args),
        Some(("devices", args)) => block_on(devices::run(args)),
        Some(("drain", args)) => block_on(drain::run(args)),
        Some(("why", args)) => block_on(why::run(args)),
        Some(("cluster-dev", args)) => block_on(cluster::run(args)),
        Some(("config", args)) => settings::read(args).and_then(|config| settings::print(&config)),
        _ => unreachable!("clap accepts the subcommands above only"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output had enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A read of the terminal cannot be cancelled; the process ends without waiting for it.
    runtime.shutdown_background();
    result
}

fn run_up(args: &ArgMatches) -> anyhow::Result<()> {
    let config = settings::read(args)?;
    let mut options = host::options(args)?;
    options.folder = config.data_dir.join("host");
    options.check_folders()?;
    start_log(&config, &config.data_dir.join("host.log"))?;
    block_on(up::run(args, config, options))
}

fn run_host(args: &ArgMatches) -> anyhow::Result<()> {
    let folder = settings::data_dir_of(args);
    let mut options = host::options(args)?;
    options.folder = folder.join("host");
    options.relay = args.get_one::<String>("relay").cloned().unwrap_or_default();
    options.link.clone_from(&options.relay);
    options.check_folders()?;
    options.check_relay()?;
    start_log(&Config::default(), &folder.join("host.log"))?;
    block_on(host::run(args, options))
}

/// The desktop side logs to a file, because its terminal is taken.
fn start_log(config: &Config, path: &std::path::Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let file = LogFile::open(path)?;
    let json = config.log_format == "json";
    belay_relay::log::start_in_file(&config.log_level, json, file).map_err(anyhow::Error::msg)
}

/// Makes the data folder.
pub(crate) fn make_folder(folder: &std::path::Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| {
        format!("the data folder {} cannot be made; name another with --data-dir", folder.display())
    })
}

fn serve(args: &ArgMatches) -> anyhow::Result<()> {
    let config = settings::read(args)?;
    belay_relay::log::start(&config.log_level, config.log_format == "json")
        .map_err(anyhow::Error::msg)?;
    let with_stdin = args.get_flag("exit-with-stdin");
    // The database, its journal and the list of revoked devices are for this user only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    block_on(async {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        // Heard from before the relay says that it is ready.
        let mut stopped = pin!(stop_signal()?);
        let known_as = config.public_urls.first().cloned();
        let server = tokio::select! {
            server = belay_relay::serve(config) => server?,
            () = &mut stopped => {
                tracing::info!("stopping before it was up");
                return Ok(());
            }
        };
        tracing::info!(public = %server.public, admin = %server.admin, "relay is up");
        if with_stdin {
            tell_parent(server.public.port())?;
        } else {
            let own = || format!("http://localhost:{}", server.public.port());
            let relay = known_as.unwrap_or_else(own);
            tracing::info!("connect a desktop with: belay host --relay {relay}");
        }
        tokio::select! {
            () = &mut stopped => {}
            () = server.exited() => {}
            () = stdin_end(), if with_stdin => {}
        }
        tracing::info!("stopping");
        let failure = server.failure();
        server.stop().await;
        match failure {
            Some(why) => Err(anyhow::anyhow!("{why}; start the relay again once the disk is well")),
            None => Ok(()),
        }
    })
}

/// What a relay that was started by `belay up` prints before its port.
pub(crate) const READY: &str = "ready ";

fn tell_parent(port: u16) -> std::io::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{READY}{port}")?;
    stdout.flush()
}

/// Listens for SIGTERM, SIGINT and SIGHUP from now on; the future waits for one.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

async fn stdin_end() {
    let mut buffer = [0; 64];
    let mut stdin = tokio::io::stdin();
    while !matches!(stdin.read(&mut buffer).await, Ok(0) | Err(_)) {}
}

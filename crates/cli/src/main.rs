//! The one binary: reads the command line and joins the crates.

mod settings;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

fn command() -> Command {
    Command::new("belay")
        .version(version())
        .about("A relay that does not drop: drive what runs on your machine from a phone")
        .long_about(
            "Belay lets you drive what runs on your own machine, such as a coding agent, from a \
             phone or browser, through a relay that you host.\n\nStart with `belay up`: it runs \
             relay and desktop side, and shows a QR code for the phone.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(settings::add(
            Command::new("serve")
                .about("Run the relay")
                .long_about(
                    "Run the relay: pairing, websockets and the phone page on the public \
                     listener, metrics and the admin API on the admin listener.\n\nEvery setting \
                     can be given as a flag, as BELAY_<NAME> in the environment, or in a TOML file \
                     named by --config; flags win over the environment, which wins over the file.",
                ),
        ))
        .subcommand(settings::add(
            Command::new("config").about("Print the effective configuration, secrets hidden"),
        ))
}

fn version() -> &'static str {
    belay_relay::VERSION
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let result = match matches.subcommand() {
        Some(("serve", args)) => serve(args),
        Some(("config", args)) => settings::read(args).map(|config| settings::print(&config)),
        _ => unreachable!("clap accepts the subcommands above only"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &ArgMatches) -> anyhow::Result<()> {
    let config = settings::read(args)?;
    belay_relay::log::start(&config.log_level, config.log_format == "json")
        .map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let server = belay_relay::serve(config).await?;
        tracing::info!(public = %server.public, admin = %server.admin, "relay is up");
        stop_signal().await?;
        tracing::info!("stopping");
        server.stop().await;
        Ok(())
    })
}

/// Waits for SIGTERM or SIGINT.
async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

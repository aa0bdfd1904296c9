//! Records what clients of the compat protocol and a relay say to each other, and plays it against
//! another relay.

use std::{io::Write as _, net::SocketAddr, path::PathBuf, process::ExitCode};

use belay_testkit::compat::{Recorder, Transcript, normalise, replay};
use clap::{Parser, Subcommand};

/// Record clients of the compat protocol, and play a recording against a relay.
///
/// A recording holds their tokens: keep it as you keep those. `normalise` takes them out, with what
/// else differs from one run to the next, so that two recordings can be compared.
#[derive(Debug, Parser)]
#[command(name = "transcript")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stand between clients and a relay until Ctrl-C, then write what passed.
    Record {
        /// Where clients connect to.
        #[arg(long, default_value = "127.0.0.1:9787")]
        listen: SocketAddr,
        /// The relay behind.
        #[arg(long, default_value = "http://127.0.0.1:8787")]
        relay: String,
        /// The file to write, one line of JSON for each thing that passed.
        #[arg(long)]
        out: PathBuf,
    },
    /// Play the clients of a recording, and tell the first thing that the relay does otherwise.
    Replay {
        file: PathBuf,
        #[arg(long, default_value = "http://127.0.0.1:8787")]
        relay: String,
    },
    /// Print a recording with names for tokens, ids and times, one conversation after the other.
    Normalise { file: PathBuf },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "transcript: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), String> {
    match command {
        Command::Record { listen, relay, out } => {
            let recorder = Recorder::start(listen, &relay, None).await;
            let recorder = recorder.map_err(|error| format!("{listen}: {error}"))?;
            say(&format!("recording at {}; Ctrl-C ends it\n", recorder.url))?;
            tokio::signal::ctrl_c().await.map_err(|error| error.to_string())?;
            let transcript = recorder.transcript().await;
            let written = write_private(&out, &transcript.to_text());
            written.map_err(|error| format!("{}: {error}", out.display()))?;
            say(&format!("{} lines in {}\n", transcript.0.len(), out.display()))
        }
        Command::Replay { file, relay } => {
            let transcript = read(&file)?;
            replay(&transcript, &relay).await?;
            say(&format!("{} lines came out alike\n", transcript.0.len()))
        }
        Command::Normalise { file } => say(&normalise(&read(&file)?.by_conversation()).to_text()),
    }
}

/// Nobody else on the machine reads tokens.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

fn say(text: &str) -> Result<(), String> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("standard output: {error}"))
}

fn read(file: &std::path::Path) -> Result<Transcript, String> {
    let named = |error: String| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    let transcript = Transcript::parse(&text).map_err(named)?;
    if transcript.0.is_empty() {
        return Err(named("holds nothing".to_owned()));
    }
    Ok(transcript)
}

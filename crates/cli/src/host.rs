//! `belay host` and the desktop half of `belay up`.

use std::path::PathBuf;

use anyhow::Context as _;
use belay_host::{AgentChoice, HostOptions, HostView, Launch, UiCommand, agents::find, ui};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tokio::sync::{mpsc, watch};

/// Commands of the terminal that may wait.
const COMMANDS_LEN: usize = 16;

/// Flags of the desktop side.
pub(crate) fn add(command: Command) -> Command {
    command
        .arg(
            Arg::new("folder")
                .long("folder")
                .value_name("FOLDER")
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("Folder in which threads may work, also more than once [default: here]"),
        )
        .arg(
            Arg::new("agent")
                .long("agent")
                .value_name("AGENT")
                .action(ArgAction::Append)
                .value_parser(["codex", "acp", "scripted"])
                .help("Agent to run, also more than once [default: what is installed]"),
        )
        .arg(
            Arg::new("codex")
                .long("codex")
                .value_name("FILE")
                .env("BELAY_CODEX")
                .value_parser(value_parser!(PathBuf))
                .help("The Codex binary [default: `codex` on the search path]"),
        )
        .arg(Arg::new("acp").long("acp").value_name("COMMAND").env("BELAY_ACP").help(
            "Command line of an agent that speaks ACP, for example \"opencode acp\" \
                     [default: the first known one on the search path, if there is no Codex]",
        ))
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .help("Name that phones show for this desktop [default: the host name]"),
        )
        .arg(
            Arg::new("plain")
                .long("plain")
                .action(ArgAction::SetTrue)
                .help("Plain lines instead of the full-screen terminal"),
        )
}

/// The agents to run, with a word about each.
pub(crate) fn agents(args: &ArgMatches) -> anyhow::Result<(Vec<AgentChoice>, Vec<String>)> {
    let explicit = args.get_one::<PathBuf>("codex");
    let search = path_variable();
    let codex = find::codex(explicit.map(PathBuf::as_path), search.as_deref());
    let asked: Vec<&String> = args.get_many("agent").map(Iterator::collect).unwrap_or_default();
    let wants = |name: &str| asked.iter().any(|a| *a == name);
    let mut chosen = Vec::new();
    let mut said = Vec::new();
    match codex {
        Some(program) if asked.is_empty() || wants("codex") => {
            said.push(format!("agent codex: {}", program.display()));
            chosen.push(AgentChoice::Codex(Launch {
                program,
                args: vec!["app-server".to_owned()],
                env: Vec::new(),
                with_version: false,
            }));
        }
        None if wants("codex") => {
            anyhow::bail!(
                "no Codex binary was found; install it with `{}`, or name it with --codex",
                find::CODEX_INSTALL
            );
        }
        Some(_) => {}
        None => said.push(format!("agent codex: not installed (`{}`)", find::CODEX_INSTALL)),
    }
    match args.get_one::<String>("acp") {
        Some(line) if asked.is_empty() || wants("acp") => {
            said.push(format!("agent acp: {line}"));
            let launch = acp_launch(line)?;
            if !find::is_there(&launch.program, search.as_deref()) {
                anyhow::bail!(
                    "--acp: {} is not on the search path; install it, or name it with its folder",
                    launch.program.display()
                );
            }
            chosen.push(AgentChoice::Acp(launch));
        }
        Some(_) => {}
        None => {
            let found = find::acp(search.as_deref());
            let wanted = wants("acp") || (asked.is_empty() && chosen.is_empty());
            let first = found.first().filter(|_| wanted);
            if let Some(first) = first {
                said.push(format!("agent acp: {} (`{}`)", first.name, first.line));
                chosen.push(AgentChoice::Acp(acp_launch(first.line)?));
            } else if wants("acp") {
                anyhow::bail!(
                    "no agent that speaks ACP was found; name its command line, for example \
                     --acp \"opencode acp\", or install one: `{}`",
                    find::KNOWN_ACP[0].install
                );
            }
            said.push(about_acp(&found, first));
        }
    }
    if wants("scripted") || (asked.is_empty() && chosen.is_empty()) {
        said.push(
            "agent: a built-in demo without a model; say `run ls`, `edit`, `ask` or `slow` to it"
                .to_owned(),
        );
        chosen.push(AgentChoice::Scripted);
    }
    Ok((chosen, said))
}

/// What other agents there are: those that are installed and how to install the rest.
fn about_acp(found: &[find::KnownAcp], runs: Option<&find::KnownAcp>) -> String {
    let others = find::KNOWN_ACP.iter().filter(|a| Some(*a) != runs);
    let say = |a: &find::KnownAcp| {
        if found.contains(a) {
            format!("{} (run it with --acp \"{}\")", a.name, a.line)
        } else {
            format!("{} (`{}`)", a.name, a.install)
        }
    };
    format!("other agents: {}", others.map(say).collect::<Vec<_>>().join(", "))
}

fn acp_launch(line: &str) -> anyhow::Result<Launch> {
    let words = shlex::split(line).with_context(|| format!("--acp: a quote is open in {line}"))?;
    let mut words = words.into_iter();
    let program = words.next().context("--acp is empty")?.into();
    Ok(Launch { program, args: words.collect(), env: Vec::new(), with_version: true })
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
fn path_variable() -> Option<std::ffi::OsString> {
    std::env::var_os("PATH")
}

/// How long a host may take to end after a signal.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(6);

/// Name of this machine.
fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What the flags say; relay, link and data folder are still to be named.
pub(crate) fn options(args: &ArgMatches) -> anyhow::Result<HostOptions> {
    let (agents, notes) = agents(args)?;
    let folders = match args.get_many::<PathBuf>("folder") {
        Some(folders) => folders.cloned().collect(),
        None => vec![std::env::current_dir().context("this folder is gone")?],
    };
    let name = args.get_one::<String>("name").cloned().unwrap_or_else(machine_name);
    let unnamed = String::new;
    let (relay, link, folder, warning) = (unnamed(), unnamed(), PathBuf::new(), None);
    let news = tokio::sync::watch::channel(String::new()).1;
    Ok(HostOptions { relay, link, folder, name, folders, agents, notes, warning, news })
}

/// Runs the desktop side until its person quits or a signal comes.
pub(crate) async fn run(args: &ArgMatches, options: HostOptions) -> anyhow::Result<()> {
    let (view, shown) = watch::channel(HostView::default());
    let (commands, asked) = mpsc::channel(COMMANDS_LEN);
    let full_screen = !args.get_flag("plain")
        && std::io::IsTerminal::is_terminal(&std::io::stdout())
        && std::io::IsTerminal::is_terminal(&std::io::stdin());
    let for_host = commands.clone();
    let terminal = tokio::spawn(async move {
        if full_screen {
            ui::full_screen(shown, commands).await;
        } else {
            ui::plain(shown, commands).await;
        }
    });
    let quit = for_host.clone();
    let mut running = std::pin::pin!(belay_host::run(options, view, for_host, asked));
    let result = tokio::select! {
        result = &mut running => result,
        () = crate::stop_signal()? => {
            // The host stops its agents before it ends.
            let _ = quit.send(UiCommand::Quit).await;
            tokio::time::timeout(STOP_TIMEOUT, running).await.unwrap_or(Ok(()))
        }
    };
    let result = result.map_err(anyhow::Error::from);
    let ended_well = result.is_ok();
    // The terminal ends by itself when the view is gone, and restores the screen.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), terminal).await;
    if ended_well {
        eprintln!("belay: stopped; devices and threads are kept, the next start goes on with them");
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_may_have_quotes_and_spaces() {
        let launch = acp_launch("'/opt/my agent/run' --name \"a b\" acp").expect("a command");

        assert_eq!(launch.program, PathBuf::from("/opt/my agent/run"));
        assert_eq!(launch.args, ["--name", "a b", "acp"]);
        assert!(acp_launch("'open").is_err() && acp_launch(" ").is_err());
    }
}

//! The relay's settings as flags.

use std::path::PathBuf;

use belay_relay::{Config, Setting, config::Values, settings};
use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, value_parser};

const DATA_DIR_DEFAULT: &str = " [default: ~/.local/share/belay]";

/// Where `--help` shows them.
const HEADING: &str = "Settings of the relay (each also as BELAY_<NAME>)";

/// Adds a flag for every setting, and `--config`.
pub(crate) fn add(command: Command) -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("BELAY_CONFIG")
        .value_parser(value_parser!(PathBuf))
        .help("Read settings from a TOML file; `belay config` prints one")
        .help_heading(HEADING);
    settings().iter().filter(|s| !s.hidden).map(flag).fold(command.arg(file), Command::arg)
}

fn flag(setting: &Setting) -> Arg {
    let shown = (setting.show)(&Config::default());
    let default = match setting.name {
        "data-dir" => DATA_DIR_DEFAULT.to_owned(),
        _ if shown.is_empty() => String::new(),
        _ => format!(" [default: {shown}]"),
    };
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .help(format!("{}{default}", setting.help))
        .help_heading(HEADING)
        .action(ArgAction::Set);
    if setting.value.is_empty() {
        arg.value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(["true", "false"]))
            .hide_possible_values(true)
    } else {
        arg.value_name(setting.value)
    }
}

/// Reads file, environment and flags.
pub(crate) fn read(args: &ArgMatches) -> anyhow::Result<Config> {
    let file = match args.get_one::<PathBuf>("config") {
        Some(path) => Config::read_file(path)?,
        None => Values::new(),
    };
    let flags: Values = settings()
        .iter()
        .filter(|s| !s.hidden)
        .filter_map(|s| Some((s.name.to_owned(), args.get_one::<String>(s.name)?.clone())))
        .collect();
    let sources = [("file", file), ("environment", Config::read_environment()), ("flag", flags)];
    Ok(Config::from_sources(&sources)?)
}

/// Prints every setting as a line of TOML that `--config` reads.
pub(crate) fn print(config: &Config) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for setting in settings().iter().filter(|s| !s.hidden) {
        let value = (setting.show)(config);
        writeln!(out, "# {}", setting.help)?;
        if value.is_empty() || setting.secret {
            writeln!(out, "# {} = \"{value}\"\n", setting.name)?;
        } else {
            writeln!(out, "{} = {}\n", setting.name, toml::Value::String(value))?;
        }
    }
    Ok(())
}

/// The `--data-dir` flag, for commands that take no other setting of the relay.
pub(crate) fn data_dir() -> Arg {
    Arg::new("data-dir")
        .long("data-dir")
        .value_name("FOLDER")
        .env("BELAY_DATA_DIR")
        .value_parser(value_parser!(PathBuf))
        .help(format!("Where keys, session and transcript live{DATA_DIR_DEFAULT}"))
}

/// The data folder of such a command.
pub(crate) fn data_dir_of(args: &ArgMatches) -> PathBuf {
    args.get_one::<PathBuf>("data-dir")
        .cloned()
        .unwrap_or_else(belay_relay::config::default_data_dir)
}

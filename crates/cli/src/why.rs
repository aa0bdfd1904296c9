//! `belay why`: why a connection ended, in words.

use std::io::Write;

use clap::{Arg, ArgMatches, Command};

use crate::{
    devices::admin::{self, Admin},
    settings,
};

/// The command.
pub(crate) fn command() -> Command {
    Command::new("why")
        .about("Tell why a connection ended")
        .long_about(
            "Tell why a connection ended: who it was, how long it lasted, who closed it and why, and what to \
             do about it. Without an id, list the connections that ended last. The relay remembers the last \
             10,000 of its process; its log names each connection by the same id.\n\n  belay why\n  belay why \
             EdX5m21MAcSs-0wDl-Knww",
        )
        .arg(
            Arg::new("connection")
                .value_name("CONNECTION")
                .allow_hyphen_values(true)
                .help("Its id; without it, those that ended last are listed"),
        )
        .arg(admin::address())
        .arg(settings::data_dir())
}

/// Runs it.
pub(crate) async fn run(args: &ArgMatches) -> anyhow::Result<()> {
    let admin = Admin::open(args)?;
    let mut out = std::io::stdout();
    if let Some(id) = args.get_one::<String>("connection") {
        let answer = admin.get(&format!("/admin/connections/{id}/why")).await?;
        return Ok(writeln!(out, "{}", answer["text"].as_str().unwrap_or_default())?);
    }
    let answer = admin.get("/admin/connections/closed").await?;
    let closed = answer["closed"].as_array().cloned().unwrap_or_default();
    if closed.is_empty() {
        return Ok(writeln!(
            out,
            "no connection has ended since this relay started; earlier ones are not kept"
        )?);
    }
    for one in closed {
        let text = |name: &str| one["closed"][name].as_str().unwrap_or_default();
        let who = match text("member") {
            "" => "host".to_owned(),
            member => format!("device {member}"),
        };
        let time = one["endedTime"].as_str().unwrap_or_default();
        let why = match text("because") {
            "" => String::new(),
            because => format!("  {because}"),
        };
        writeln!(out, "{time}  {}  {who:<30}  {}{why}", text("connection"), text("reason"))?;
    }
    Ok(())
}

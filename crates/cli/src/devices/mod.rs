//! `belay devices`: the devices of this machine's sessions, through the desktop side that runs here,
//! or through the relay's admin listener.

pub(crate) mod admin;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::bail;
use belay_wire::{DeviceListed, DeviceView, SessionId};
use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};

use crate::settings;
use admin::Admin;

/// The command and its subcommands.
pub(crate) fn command() -> Command {
    let admin = admin::address()
        .help("Address of the relay's admin listener; asked when no desktop side runs here");
    Command::new("devices")
        .about("List, remove or add the devices of this machine's session")
        .long_about(
            "List, remove or add the devices of this machine's session.\n\nThe desktop side that runs \
             on the data folder is asked; when none runs, `list` and `revoke` ask the relay's admin \
             listener, which works where the relay runs on this machine. Sessions that desktop apps of the \
             compat protocol opened at that relay are listed after it.\n\n  belay devices list\n  \
             belay devices revoke \"Ana's phone\"\n  belay devices add",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list")
                .about("List paired devices")
                .arg(admin.clone())
                .arg(settings::data_dir()),
        )
        .subcommand(
            Command::new("revoke")
                .about("Remove a device; its connection is closed at once")
                .arg(Arg::new("device").value_name("DEVICE").required(true).allow_hyphen_values(true).help("Name or id, as `list` shows it"))
                .arg(
                    Arg::new("yes")
                        .long("yes")
                        .short('y')
                        .action(ArgAction::SetTrue)
                        .help("Do not ask"),
                )
                .arg(admin)
                .arg(settings::data_dir()),
        )
        .subcommand(
            Command::new("add")
                .about("Show a link for one more device on the running desktop side")
                .arg(settings::data_dir()),
        )
}

/// Runs one of the subcommands.
pub(crate) async fn run(args: &ArgMatches) -> anyhow::Result<()> {
    match args.subcommand() {
        Some(("list", args)) => list(args).await,
        Some(("revoke", args)) => revoke(args).await,
        Some(("add", args)) => add(args).await,
        _ => unreachable!("clap accepts the subcommands above only"),
    }
}

/// Who is asked.
enum Desk {
    /// The desktop side that runs on this folder.
    Running(PathBuf),
    Admin(Box<Admin>, SessionId),
}

/// The devices of one session.
struct Group {
    /// Its name, for a session of the compat protocol.
    name: Option<String>,
    desk: Desk,
    listed: DeviceListed,
}

impl Desk {
    async fn open(args: &ArgMatches) -> anyhow::Result<Group> {
        let folder = settings::data_dir_of(args).join("host");
        let (desk, listed) = match belay_host::ask_for_devices(&folder).await {
            Ok(listed) => (Self::Running(folder), listed),
            Err(error) => {
                let Some(session) = admin::own_session(args)? else {
                    bail!(nobody(&folder, &error))
                };
                let admin = Admin::open(args)?;
                let listed = match admin.devices(session).await {
                    Err(_)
                        if is_nobody(&error)
                            && args.value_source("admin") != Some(ValueSource::CommandLine) =>
                    {
                        bail!(nobody(&folder, &error))
                    }
                    listed => listed?,
                };
                (Self::Admin(Box::new(admin), session), listed)
            }
        };
        Ok(Group { name: None, desk, listed })
    }

    async fn revoke(&self, device: &DeviceView) -> anyhow::Result<()> {
        match self {
            Self::Running(folder) => Ok(belay_host::ask_to_revoke(folder, device.member).await?),
            Self::Admin(admin, session) => admin.revoke(*session, device).await,
        }
    }
}

/// This machine's session, then those that desktops of the compat protocol opened at its relay.
async fn groups(args: &ArgMatches) -> anyhow::Result<Vec<Group>> {
    match (Desk::open(args).await, compat_groups(args).await) {
        (Err(own), Err(compat)) => {
            bail!("{own:#}\n\nFor the phones of desktop apps at a relay here: {compat:#}")
        }
        (own, compat) => Ok(own.into_iter().chain(compat.into_iter().flatten()).collect()),
    }
}

async fn compat_groups(args: &ArgMatches) -> anyhow::Result<Vec<Group>> {
    let admin = Admin::open(args)?;
    let mut groups = Vec::new();
    for (session, name) in admin.compat_sessions().await? {
        // One that has ended in the meantime has no devices.
        let Ok(listed) = admin.devices(session).await else { continue };
        let desk = Desk::Admin(Box::new(admin.clone()), session);
        groups.push(Group { name: Some(name), desk, listed });
    }
    Ok(groups)
}

/// Tells whether no desktop side listens.
fn is_nobody(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
}

/// What to do when nobody answers for a data folder.
fn nobody(folder: &Path, error: &std::io::Error) -> String {
    if !is_nobody(error) {
        return error.to_string();
    }
    let folder = folder.parent().unwrap_or(folder).display();
    format!(
        "no desktop side runs on {folder}; start it with `belay up`, or, if it was started with \
         --data-dir, give the same one here"
    )
}

async fn list(args: &ArgMatches) -> anyhow::Result<()> {
    let groups = groups(args).await?;
    let mut out = std::io::stdout().lock();
    if groups.is_empty() {
        writeln!(out, "the relay here has no session yet")?;
    }
    for Group { name, listed, .. } in &groups {
        let of = name.as_ref().map_or(String::new(), |name| format!(", session {name}"));
        writeln!(out, "{} of {} devices{of}", listed.used, listed.allowed)?;
        for device in &listed.devices {
            writeln!(out, "{}", line(device))?;
        }
    }
    Ok(())
}

fn line(device: &DeviceView) -> String {
    let state = if device.connected { "connected".to_owned() } else { ago(device.seen_at) };
    format!("  {}  {} ({}), {state}", device.member, device.name, device.platform)
}

fn ago(unix_ms: u64) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs().saturating_sub(unix_ms / 1_000);
    match seconds {
        0..=59 => format!("last seen {seconds} s ago"),
        60..=3_599 => format!("last seen {} min ago", seconds / 60),
        3_600..=86_399 => format!("last seen {} h ago", seconds / 3_600),
        _ => format!("last seen {} days ago", seconds / 86_400),
    }
}

async fn revoke(args: &ArgMatches) -> anyhow::Result<()> {
    let groups = groups(args).await?;
    let wanted = args.get_one::<String>("device").cloned().unwrap_or_default();
    let fits = |d: &&DeviceView| d.name == wanted || d.member.to_string() == wanted;
    let all = groups.iter().flat_map(|g| g.listed.devices.iter().map(move |d| (&g.desk, d)));
    let mut found: Vec<_> = all.filter(|(_, device)| fits(device)).collect();
    // A name can be anything, an id of another device too: the id is meant.
    if found.iter().any(|(_, device)| device.member.to_string() == wanted) {
        found.retain(|(_, device)| device.member.to_string() == wanted);
    }
    let (desk, device) = match found.as_slice() {
        [found] => *found,
        [] => bail!("no device \"{wanted}\"; `belay devices list` shows them"),
        _ => bail!("several devices are called \"{wanted}\"; use the id"),
    };
    if !args.get_flag("yes") && !confirmed(&format!("Remove {}?", device.name))? {
        bail!("nothing was removed");
    }
    desk.revoke(device).await?;
    writeln!(std::io::stdout(), "{} was removed", device.name)?;
    Ok(())
}

fn confirmed(question: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

async fn add(args: &ArgMatches) -> anyhow::Result<()> {
    let folder = settings::data_dir_of(args).join("host");
    let offer = belay_host::ask_for_offer(&folder).await.map_err(|error| {
        if is_nobody(&error) { anyhow::anyhow!(nobody(&folder, &error)) } else { error.into() }
    })?;
    let mut out = std::io::stdout().lock();
    if belay_host::is_local(&offer.url) {
        writeln!(out, "Open in a browser on this machine: {}", offer.url)?;
    } else {
        for row in belay_host::ui::half_blocks(&offer.url).unwrap_or_default() {
            writeln!(out, "{row}")?;
        }
        writeln!(out, "Open on the phone: {}", offer.url)?;
    }
    let page = offer.url.split('#').next().unwrap_or_default();
    writeln!(
        out,
        "or type {} on {page}. It lives two minutes. Approve where the desktop side runs.",
        offer.code
    )?;
    Ok(())
}

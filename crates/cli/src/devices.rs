//! `belay devices`: the devices of this machine's session, through the desktop side that runs here,
//! or through the relay's admin listener.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use belay_client::{CredentialStore, FileCredentials};
use belay_wire::{DeviceListed, DeviceView};
use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};

use crate::settings;

/// The command and its subcommands.
pub(crate) fn command() -> Command {
    let admin = Arg::new("admin")
        .long("admin")
        .value_name("URL")
        .env("BELAY_ADMIN")
        .default_value("http://127.0.0.1:8788")
        .help("Address of the relay's admin listener; asked when no desktop side runs here");
    Command::new("devices")
        .about("List, remove or add the devices of this machine's session")
        .long_about(
            "List, remove or add the devices of this machine's session.\n\nThe desktop side that runs \
             on the data folder is asked; when none runs, `list` and `revoke` ask the relay's admin \
             listener, which works where the relay runs on this machine.\n\n  belay devices list\n  \
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
                .arg(Arg::new("device").value_name("DEVICE").required(true).help("Name or id, as `list` shows it"))
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
    Admin(Box<Admin>),
}

impl Desk {
    async fn open(args: &ArgMatches) -> anyhow::Result<(Self, DeviceListed)> {
        let folder = settings::data_dir_of(args).join("host");
        match belay_host::ask_for_devices(&folder).await {
            Ok(listed) => Ok((Self::Running(folder), listed)),
            Err(error) => {
                let Some(admin) = Admin::open(args)? else { bail!(nobody(&folder, &error)) };
                let listed = match admin.devices().await {
                    Err(_)
                        if is_nobody(&error)
                            && args.value_source("admin") != Some(ValueSource::CommandLine) =>
                    {
                        bail!(nobody(&folder, &error))
                    }
                    listed => listed?,
                };
                Ok((Self::Admin(Box::new(admin)), listed))
            }
        }
    }

    async fn revoke(&self, device: &DeviceView) -> anyhow::Result<()> {
        match self {
            Self::Running(folder) => Ok(belay_host::ask_to_revoke(folder, device.member).await?),
            Self::Admin(admin) => admin.revoke(device).await,
        }
    }
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

struct Admin {
    http: reqwest::Client,
    url: String,
    token: String,
    session: belay_wire::SessionId,
}

impl Admin {
    /// `None`: no session is kept in the data folder.
    fn open(args: &ArgMatches) -> anyhow::Result<Option<Self>> {
        let folder = settings::data_dir_of(args);
        let session = folder.join("host/session.json");
        let credentials =
            FileCredentials::new(&session).load().with_context(|| session.display().to_string())?;
        let Some(credentials) = credentials else { return Ok(None) };
        let http = reqwest::Client::builder().no_proxy().build()?;
        let url = args.get_one::<String>("admin").cloned().unwrap_or_default();
        let token = admin_token(&folder)?;
        Ok(Some(Self { http, url, token, session: credentials.session }))
    }

    async fn devices(&self) -> anyhow::Result<DeviceListed> {
        let url = format!("{}/admin/sessions/{}/devices", self.url, self.session);
        let call = self.http.get(url).bearer_auth(&self.token);
        Ok(serde_json::from_str(&self.send(call).await?)?)
    }

    async fn revoke(&self, device: &DeviceView) -> anyhow::Result<()> {
        let url = format!("{}/admin/sessions/{}/devices/{}", self.url, self.session, device.member);
        self.send(self.http.delete(url).bearer_auth(&self.token)).await.map(|_| ())
    }

    async fn send(&self, call: reqwest::RequestBuilder) -> anyhow::Result<String> {
        let answer = call.send().await.with_context(|| {
            format!("the relay's admin listener does not answer at {}; is it running?", self.url)
        })?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("the relay answered {status}: {text}");
        }
        Ok(text)
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
fn admin_token(folder: &Path) -> anyhow::Result<String> {
    let mut named = ["BELAY_ADMIN_TOKEN", "ADMIN_TOKEN"].into_iter();
    if let Some(token) = named.find_map(|name| std::env::var(name).ok()) {
        return Ok(token);
    }
    let path = folder.join("admin-token");
    let token = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(token.trim().to_owned())
}

async fn list(args: &ArgMatches) -> anyhow::Result<()> {
    let (_, listed) = Desk::open(args).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} of {} devices", listed.used, listed.allowed)?;
    for device in &listed.devices {
        writeln!(out, "{}", line(device))?;
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
    let (desk, listed) = Desk::open(args).await?;
    let wanted = args.get_one::<String>("device").cloned().unwrap_or_default();
    let fits = |d: &&DeviceView| d.name == wanted || d.member.to_string() == wanted;
    let found: Vec<_> = listed.devices.iter().filter(fits).collect();
    let device = match found.as_slice() {
        [device] => *device,
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
    for row in belay_host::ui::half_blocks(&offer.url).unwrap_or_default() {
        writeln!(out, "{row}")?;
    }
    writeln!(out, "Open on the phone: {}", offer.url)?;
    writeln!(
        out,
        "or type {} on the page of the relay. It lives two minutes. Approve where the desktop side \
         runs.",
        offer.code
    )?;
    Ok(())
}

//! Plain lines, for pipes and logs: what changes is printed, and lines typed are obeyed.

use std::io::Write;

use belay_wire::MemberId;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::{mpsc, watch},
};

use super::{ago, half_blocks};
use crate::view::{HostView, UiCommand};

const HELP: &str = "type: y = approve, n = decline, a = add a device, l = list devices, \
                    r <number> = remove a device, q = quit";

/// Shows the host until it ends.
pub async fn run(mut view: watch::Receiver<HostView>, commands: mpsc::Sender<UiCommand>) {
    let mut shown = HostView::default();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    let mut typing = true;
    // The device whose removal waits for a yes.
    let mut removing = None;
    say(HELP);
    loop {
        tokio::select! {
            changed = view.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = view.borrow_and_update().clone();
                for line in differences(&shown, &now) {
                    say(&line);
                }
                shown = now;
            }
            line = input.next_line(), if typing => match line {
                Ok(Some(line)) => match read(line.trim(), &shown, &mut removing) {
                    Ok(Some(command)) => {
                        let quit = command == UiCommand::Quit;
                        if commands.send(command).await.is_err() || quit {
                            return;
                        }
                    }
                    Ok(None) => {
                        for line in devices(&shown) {
                            say(&line);
                        }
                    }
                    Err(text) => say(&text),
                },
                // Without input it goes on; a signal ends it.
                _ => typing = false,
            },
        }
    }
}

/// Prints a line; when nobody reads them any more, the host goes on without.
fn say(line: &str) {
    // What agents and phones say must not command the terminal.
    let plain: String = line.chars().filter(|c| !c.is_control()).collect();
    let _ = writeln!(std::io::stdout(), "{plain}");
}

fn read(
    line: &str,
    view: &HostView,
    removing: &mut Option<MemberId>,
) -> Result<Option<UiCommand>, String> {
    if let Some(member) = removing.take() {
        return match line {
            "y" | "yes" => Ok(Some(UiCommand::Revoke(member))),
            _ => Err("nothing was removed".to_owned()),
        };
    }
    let pending = || view.phone.as_ref().map(|p| p.id).ok_or("no phone waits".to_owned());
    match line {
        "y" | "yes" => pending().map(|id| Some(UiCommand::Approve(id))),
        "n" | "no" => pending().map(|id| Some(UiCommand::Reject(id))),
        "a" => Ok(Some(UiCommand::AddDevice)),
        "l" => Ok(None),
        "q" => Ok(Some(UiCommand::Quit)),
        other => {
            let number = other.strip_prefix("r ").and_then(|n| n.trim().parse::<usize>().ok());
            let device = number.and_then(|n| view.devices.get(n.checked_sub(1)?));
            let device = device.ok_or_else(|| HELP.to_owned())?;
            *removing = Some(device.member);
            Err(format!("Remove {}? y = yes, anything else = no", device.name))
        }
    }
}

fn devices(view: &HostView) -> Vec<String> {
    let used = format!("{} of {} devices", view.devices.len(), view.devices_allowed);
    let line = |(at, d): (usize, &belay_wire::DeviceView)| {
        let state = if d.connected { "connected".to_owned() } else { ago(d.seen_at) };
        format!("  {}. {} ({}), {state}", at + 1, d.name, d.platform)
    };
    std::iter::once(used).chain(view.devices.iter().enumerate().map(line)).collect()
}

fn differences(old: &HostView, new: &HostView) -> Vec<String> {
    let count = usize::try_from(new.activity_count - old.activity_count).unwrap_or(usize::MAX);
    let from = new.activity.len().saturating_sub(count);
    let mut lines: Vec<_> = new.activity[from..].iter().map(|line| format!("- {line}")).collect();
    if let Some(offer) = new.offer.as_ref().filter(|o| old.offer.as_ref() != Some(o)) {
        lines.push(String::new());
        if new.is_local() {
            lines.push(format!("Open in a browser on this machine: {}", offer.url));
        } else {
            lines.extend(half_blocks(&offer.url).unwrap_or_default());
            lines.push(format!("Open on the phone: {}", offer.url));
        }
        lines.push(format!("or open {} there and type {}", new.relay, offer.code));
    }
    if let Some(phone) =
        new.phone.as_ref().filter(|p| old.phone.as_ref().map(|o| o.id) != Some(p.id))
    {
        lines.push(format!(
            "Phone \"{}\" ({}) at {} wants to pair. Its screen must show {}. Approve? y/n",
            phone.name, phone.platform, phone.address, phone.code
        ));
    }
    lines
}

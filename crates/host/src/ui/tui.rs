//! The full-screen terminal: link and QR, the waiting phone, devices, agents, activity.

use std::time::Duration;

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use futures_util::StreamExt;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Text},
    widgets::{Block, Paragraph, Wrap},
};
use tokio::sync::{mpsc, watch};

use super::half_blocks;
use crate::{
    clock::unix_ms,
    view::{HostView, UiCommand},
};

/// How often ages on the screen are drawn anew.
const REDRAW: Duration = Duration::from_secs(1);

/// What the keys mean now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Normal,
    /// A device was chosen and its removal waits for a yes.
    Confirm(usize),
}

/// Shows the host until it ends; restores the terminal, also after a panic.
pub async fn run(mut view: watch::Receiver<HostView>, commands: mpsc::Sender<UiCommand>) {
    let mut terminal = ratatui::init();
    let mut keys = EventStream::new();
    let mut redraw = tokio::time::interval(REDRAW);
    let (mut mode, mut selected) = (Mode::Normal, 0);
    loop {
        let shown = view.borrow_and_update().clone();
        selected = selected.min(shown.devices.len().saturating_sub(1));
        if terminal.draw(|frame| draw(frame, &shown, mode, selected)).is_err() {
            break;
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { break },
            _ = redraw.tick() => {}
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Press => {
                    let command = press(key, &shown, &mut mode, &mut selected);
                    if let Some(command) = command {
                        let quit = command == UiCommand::Quit;
                        if commands.send(command).await.is_err() || quit {
                            break;
                        }
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    ratatui::restore();
}

fn press(
    key: KeyEvent,
    view: &HostView,
    mode: &mut Mode,
    selected: &mut usize,
) -> Option<UiCommand> {
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return Some(UiCommand::Quit);
    }
    if let Mode::Confirm(at) = *mode {
        *mode = Mode::Normal;
        let device = view.devices.get(at).filter(|_| matches!(key.code, KeyCode::Char('y' | 'Y')));
        return device.map(|d| UiCommand::Revoke(d.member));
    }
    match key.code {
        KeyCode::Char('y' | 'Y') => view.phone.as_ref().map(|p| UiCommand::Approve(p.id)),
        KeyCode::Char('n' | 'N') => view.phone.as_ref().map(|p| UiCommand::Reject(p.id)),
        KeyCode::Char('a') => Some(UiCommand::AddDevice),
        KeyCode::Char('q') => Some(UiCommand::Quit),
        KeyCode::Up => {
            *selected = selected.saturating_sub(1);
            None
        }
        KeyCode::Down => {
            *selected += 1;
            None
        }
        KeyCode::Char('r') if !view.devices.is_empty() => {
            *mode = Mode::Confirm(*selected);
            None
        }
        _ => None,
    }
}

fn draw(frame: &mut Frame<'_>, view: &HostView, mode: Mode, selected: usize) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(status_line(view), head);
    frame.render_widget(keys_line(view, mode), foot);
    let qr = view.offer.as_ref().and_then(|o| half_blocks(&o.url));
    let qr_width = qr.as_ref().map_or(0, |rows| rows[0].chars().count());
    let wide = usize::from(body.width) >= qr_width + 44;
    let show_left = view.offer.is_some() && wide;
    let left_width = if show_left { u16::try_from(qr_width).unwrap_or(0) + 4 } else { 0 };
    let [left, right] =
        Layout::horizontal([Constraint::Length(left_width), Constraint::Min(0)]).areas(body);
    if show_left {
        draw_offer(frame, left, view, qr);
    }
    draw_right(frame, right, view, mode, selected, !show_left);
}

fn status_line(view: &HostView) -> Line<'static> {
    let relay = match &view.relay_trouble {
        None if !view.connected => "starting".to_owned().yellow(),
        None => format!("relay {} connected", view.relay).green(),
        Some(why) => format!("relay {}: {why}", view.relay).red(),
    };
    Line::from(vec![" belay ".bold().reversed(), "  ".into(), relay])
}

fn keys_line(view: &HostView, mode: Mode) -> Line<'static> {
    let keys = match mode {
        Mode::Confirm(at) => {
            let name = view.devices.get(at).map_or(String::new(), |d| d.name.clone());
            return Line::from(format!(" Remove {name}? y = yes, any other key = no").yellow());
        }
        Mode::Normal if view.phone.is_some() => "y approve   n decline   q quit",
        Mode::Normal => "a add a device   ↑↓ choose   r remove   q quit",
    };
    Line::from(format!(" {keys}").dim())
}

fn draw_offer(frame: &mut Frame<'_>, area: Rect, view: &HostView, qr: Option<Vec<String>>) {
    let Some(offer) = &view.offer else { return };
    let left = offer.expires_at.saturating_sub(unix_ms()) / 1_000;
    let mut lines: Vec<Line<'_>> = Vec::new();
    let scan = Style::new().fg(Color::White).bg(Color::Black);
    lines.extend(qr.unwrap_or_default().into_iter().map(|row| Line::styled(row, scan)));
    lines.push(Line::from(format!("code {}", offer.code)).bold());
    lines.push(Line::from(format!("a new one follows in {left} s")).dim());
    let block = Block::bordered().title(" scan with the phone ");
    frame.render_widget(Paragraph::new(Text::from(lines)).block(block), area);
}

fn draw_right(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &HostView,
    mode: Mode,
    selected: usize,
    with_link: bool,
) {
    let phone = if view.phone.is_some() { 8 } else { 0 };
    let link = if with_link && view.offer.is_some() || view.offer.is_some() { 5 } else { 0 };
    let devices = u16::try_from(view.devices.len()).unwrap_or(8).clamp(1, 8) + 2;
    let agents = u16::try_from(view.agents.len()).unwrap_or(4).clamp(1, 4) + 2;
    let [phone_area, link_area, device_area, agent_area, activity_area] = Layout::vertical([
        Constraint::Length(phone),
        Constraint::Length(link),
        Constraint::Length(devices),
        Constraint::Length(agents),
        Constraint::Min(3),
    ])
    .areas(area);
    draw_phone(frame, phone_area, view);
    draw_link(frame, link_area, view);
    draw_devices(frame, device_area, view, mode, selected);
    draw_agents(frame, agent_area, view);
    draw_activity(frame, activity_area, view);
}

fn draw_phone(frame: &mut Frame<'_>, area: Rect, view: &HostView) {
    let Some(phone) = &view.phone else { return };
    let left = phone.expires_at.saturating_sub(unix_ms()) / 1_000;
    let (first, second) = phone.code.split_at(3.min(phone.code.len()));
    let here = if phone.waiting { "" } else { "  (it has hung up)" };
    let lines = vec![
        Line::from(format!("{} ({}) at {}{here}", phone.name, phone.platform, phone.address)),
        Line::from(""),
        Line::from(vec![
            "Its screen must show  ".into(),
            format!(" {first} {second} ").bold().reversed(),
        ]),
        Line::from(""),
        Line::from(vec![
            "y".bold(),
            " approve   ".into(),
            "n".bold(),
            " decline   ".into(),
            format!("{left} s left").dim(),
        ]),
    ];
    let block = Block::bordered().title(" a phone wants to pair ").yellow();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn draw_link(frame: &mut Frame<'_>, area: Rect, view: &HostView) {
    let Some(offer) = &view.offer else { return };
    let text = format!("{}\nor open {} and type {}", offer.url, view.relay, offer.code);
    let block = Block::bordered().title(" link ");
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), area);
}

fn draw_devices(frame: &mut Frame<'_>, area: Rect, view: &HostView, mode: Mode, selected: usize) {
    let line = |(at, d): (usize, &belay_wire::DeviceView)| {
        let state = if d.connected { "connected".to_owned() } else { ago(d.seen_at) };
        let line = Line::from(format!("{} ({}), {state}", d.name, d.platform));
        let chosen = at == selected && (view.devices.len() > 1 || mode != Mode::Normal);
        if chosen { line.add_modifier(Modifier::REVERSED) } else { line }
    };
    let mut lines: Vec<_> = view.devices.iter().enumerate().map(line).collect();
    if lines.is_empty() {
        lines.push(Line::from("none yet: scan the code with the phone").dim());
    }
    let title = format!(" devices: {} of {} ", view.devices.len(), view.devices_allowed);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

fn draw_agents(frame: &mut Frame<'_>, area: Rect, view: &HostView) {
    let line = |a: &belay_wire::app::AgentView| {
        let state = format!("{:?}", a.state).to_lowercase();
        let why = a.text.as_ref().map_or(String::new(), |t| format!(": {t}"));
        Line::from(format!("{} {} {state}{why}", a.name, a.version))
    };
    let lines: Vec<_> = view.agents.iter().map(line).collect();
    let title = match view.pending_requests {
        0 => " agents ".to_owned(),
        n => format!(" agents: {n} waiting for an answer on the phone "),
    };
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

fn draw_activity(frame: &mut Frame<'_>, area: Rect, view: &HostView) {
    let rows = usize::from(area.height.saturating_sub(2));
    let from = view.activity.len().saturating_sub(rows);
    let lines: Vec<_> = view.activity[from..].iter().map(|l| Line::from(l.as_str())).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" activity ")), area);
}

fn ago(at: u64) -> String {
    let seconds = unix_ms().saturating_sub(at) / 1_000;
    match seconds {
        0..=59 => format!("seen {seconds} s ago"),
        60..=3_599 => format!("seen {} min ago", seconds / 60),
        3_600..=86_399 => format!("seen {} h ago", seconds / 3_600),
        _ => format!("seen {} days ago", seconds / 86_400),
    }
}

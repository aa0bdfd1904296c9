//! The screen, drawn from what the host shows and what the keys mean.

use belay_wire::app::AgentView;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Text},
    widgets::{Block, Paragraph, Wrap},
};

use super::{
    super::half_blocks,
    keys::{Keys, Mode},
};
use crate::{
    clock::unix_ms,
    view::{HostView, Offer},
};

pub(super) fn draw(frame: &mut Frame<'_>, view: &HostView, keys: &Keys) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(status_line(view), head);
    frame.render_widget(keys_line(view, keys.mode()), foot);
    // While a phone waits, its digits matter; a code for this machine only is of no use to a camera.
    let offer = view.offer.as_ref().filter(|_| view.phone.is_none() && !view.is_local());
    let qr = offer.and_then(|o| half_blocks(&o.url));
    let qr_width = qr.as_ref().map_or(0, |rows| rows[0].chars().count());
    let qr_height = qr.as_ref().map_or(0, Vec::len);
    let fits =
        usize::from(body.width) >= qr_width + 44 && usize::from(body.height) >= qr_height + 4;
    let show_left = qr.is_some() && fits;
    let left_width = if show_left { u16::try_from(qr_width).unwrap_or(0) + 4 } else { 0 };
    let [left, right] =
        Layout::horizontal([Constraint::Length(left_width), Constraint::Min(0)]).areas(body);
    if show_left {
        draw_offer(frame, left, view, qr);
    }
    draw_right(frame, right, view, keys, show_left);
}

fn status_line(view: &HostView) -> Line<'static> {
    let relay = match &view.relay_trouble {
        None if !view.connected => "starting".to_owned().yellow(),
        None => format!("relay {} connected", view.relay).green(),
        Some(why) => {
            let why = why.trim_start_matches(&view.relay).trim_start_matches([':', ' ']);
            format!("{} is not reached, trying again: {why}", view.relay).red()
        }
    };
    Line::from(vec![" belay ".bold().reversed(), "  ".into(), relay])
}

fn keys_line(view: &HostView, mode: Mode) -> Line<'static> {
    let keys = match mode {
        Mode::Confirm(member) => {
            let device = view.devices.iter().find(|d| d.member == member);
            let name = device.map_or(String::new(), |d| d.name.clone());
            return Line::from(format!(" Remove {name}? y = yes, any other key = no").yellow());
        }
        Mode::Normal if view.phone.is_some() => "y approve   n decline   q quit",
        Mode::Normal => "a add a device   c copy the link   ↑↓ choose   r remove   q quit",
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

fn draw_right(frame: &mut Frame<'_>, area: Rect, view: &HostView, keys: &Keys, has_qr: bool) {
    let rows = |n: usize, most: u16| u16::try_from(n).unwrap_or(most).clamp(1, most) + 2;
    let phone = if view.phone.is_some() { 8 } else { 0 };
    // One thing at a time: while a phone waits, its code matters and the link does not.
    let link = if view.phone.is_none() { link_rows(view, area.width, has_qr) } else { 0 };
    let wanted = [phone, link, rows(view.devices.len(), 8), rows(view.agents.len(), 4)];
    let [phone_area, link_area, device_area, agent_area, activity_area] =
        Layout::vertical(share(area.height, wanted).map(Constraint::Length)).areas(area);
    draw_phone(frame, phone_area, view);
    draw_link(frame, link_area, view, has_qr);
    draw_devices(frame, device_area, view, keys, has_qr);
    draw_agents(frame, agent_area, view);
    draw_activity(frame, activity_area, view);
}

/// Gives the blocks their rows in the order of their weight; the last one gets what is left. A block
/// that would show no line is left out.
fn share(height: u16, wanted: [u16; 4]) -> [u16; 5] {
    let mut left = height;
    let mut given = wanted.map(|rows| {
        let rows = if left < 3 { 0 } else { rows.min(left) };
        left -= rows;
        rows
    });
    if left < 3 && given[3] > 0 {
        given[3] += left;
        left = 0;
    }
    let [phone, link, devices, agents] = given;
    [phone, link, devices, agents, left]
}

/// Rows of the link's block at this width.
fn link_rows(view: &HostView, width: u16, has_qr: bool) -> u16 {
    let rows =
        link_block(view, has_qr).map_or(0, |block| block.line_count(width.saturating_sub(2)));
    u16::try_from(rows).unwrap_or(u16::MAX)
}

fn link_text(view: &HostView, offer: &Offer, has_qr: bool) -> String {
    let mut text = format!("{}\nor open {} and type {}", offer.url, view.relay, offer.code);
    if view.is_local() {
        text.push_str(
            "\n\nThis address works on this machine only. For a phone on this network start with \
             --lan; for one elsewhere put a TLS proxy in front (--public-url).",
        );
    } else if !has_qr {
        text.push_str("\n(enlarge the window for a QR code)");
    }
    if let Some(warning) = &view.warning {
        text.push_str("\n\n");
        text.push_str(warning);
    }
    text
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

fn draw_link(frame: &mut Frame<'_>, area: Rect, view: &HostView, has_qr: bool) {
    if let Some(block) = link_block(view, has_qr) {
        frame.render_widget(block, area);
    }
}

fn link_block(view: &HostView, has_qr: bool) -> Option<Paragraph<'static>> {
    let offer = view.offer.as_ref()?;
    let block = Block::bordered().title(" link ");
    let text = link_text(view, offer, has_qr);
    Some(Paragraph::new(text).wrap(Wrap { trim: false }).block(block))
}

fn draw_devices(frame: &mut Frame<'_>, area: Rect, view: &HostView, keys: &Keys, has_qr: bool) {
    let line = |(at, d): (usize, &belay_wire::DeviceView)| {
        let state = if d.connected { "connected".to_owned() } else { ago(d.seen_at) };
        let line = Line::from(format!("{} ({}), {state}", d.name, d.platform));
        let chosen =
            at == keys.selected() && (view.devices.len() > 1 || keys.mode() != Mode::Normal);
        if chosen { line.add_modifier(Modifier::REVERSED) } else { line }
    };
    let mut lines: Vec<_> = view.devices.iter().enumerate().map(line).collect();
    if lines.is_empty() {
        let how = match (has_qr, view.is_local()) {
            (true, _) => "scan the code with the phone",
            (false, true) => "open the link in a browser",
            (false, false) => "open the link on the phone",
        };
        lines.push(Line::from(format!("none yet: {how}")).dim());
    }
    let title = match view.devices_allowed {
        // The relay has not said yet.
        0 => " devices ".to_owned(),
        allowed => format!(" devices: {} of {allowed} ", view.devices.len()),
    };
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
}

fn draw_agents(frame: &mut Frame<'_>, area: Rect, view: &HostView) {
    let line = |a: &AgentView| {
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
    let width = usize::from(area.width.saturating_sub(2)).max(1);
    let wrapped = |line: &String| line.chars().count().div_ceil(width).max(1);
    // The newest lines that fit when the long ones are broken.
    let mut used = 0;
    let shown = view.activity[from..].iter().rev();
    let shown: Vec<_> = shown
        .take_while(|line| {
            used += wrapped(line) + usize::from(wrapped(line) > 1);
            used <= rows
        })
        .collect();
    let lines: Vec<_> = shown.into_iter().rev().map(|l| Line::from(l.as_str())).collect();
    let text = Paragraph::new(lines).wrap(Wrap { trim: false });
    frame.render_widget(text.block(Block::bordered().title(" activity ")), area);
}

pub(in crate::ui) fn ago(at: u64) -> String {
    let seconds = unix_ms().saturating_sub(at) / 1_000;
    match seconds {
        0..=59 => format!("seen {seconds} s ago"),
        60..=3_599 => format!("seen {} min ago", seconds / 60),
        3_600..=86_399 => format!("seen {} h ago", seconds / 3_600),
        _ => format!("seen {} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use belay_wire::RequestId;
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::view::PendingPhone;

    fn screen(view: &HostView, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, view, &Keys::default())).expect("drawn");
        terminal.backend().to_string()
    }

    fn busy() -> HostView {
        let (url, code) = ("https://relay.example/#p=1".repeat(4), "ABCD-EFGH".to_owned());
        let (name, platform) = ("Ana\u{1b}[2J’s phone".to_owned(), "iOS".to_owned());
        HostView {
            offer: Some(Offer { url, code, expires_at: u64::MAX }),
            phone: Some(PendingPhone {
                id: RequestId::from_bytes([1; 16]),
                name,
                platform,
                address: "192.168.1.20".to_owned(),
                code: "123456".to_owned(),
                waiting: true,
                expires_at: u64::MAX,
            }),
            activity: vec!["a line".to_owned(); 50],
            ..HostView::default()
        }
    }

    #[test]
    fn a_small_terminal_shows_the_comparison_code_and_its_keys() {
        for (width, height) in [(120, 45), (80, 24), (60, 20), (40, 12)] {
            let shown = screen(&busy(), width, height);
            assert!(shown.contains(" 123 456 "), "{width}x{height}:\n{shown}");
            assert!(shown.contains("y approve"), "{width}x{height}:\n{shown}");
        }
    }

    #[test]
    fn a_qr_is_shown_whole_or_not_at_all_and_the_warning_is_seen() {
        let view = HostView { phone: None, warning: Some("plain http".to_owned()), ..busy() };
        for (width, height) in [(120, 60), (120, 24), (80, 24)] {
            let shown = screen(&view, width, height);
            let whole = height == 60;
            assert_eq!(shown.contains("enlarge the window"), !whole, "{width}x{height}:\n{shown}");
            assert_eq!(shown.contains("a new one follows"), whole, "{width}x{height}:\n{shown}");
            assert!(shown.contains("plain http"), "{width}x{height}:\n{shown}");
        }
    }

    #[test]
    fn no_terminal_is_too_small_and_no_name_moves_the_cursor() {
        for (width, height) in [(1, 1), (3, 2), (10, 5), (200, 3), (5, 100)] {
            screen(&busy(), width, height);
        }
        assert!(!screen(&busy(), 120, 45).contains('\u{1b}'));
    }
}

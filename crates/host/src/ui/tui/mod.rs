//! The full-screen terminal: link and QR, the waiting phone, devices, agents, activity.

mod draw;
mod keys;

use std::time::Duration;

use crossterm::{
    clipboard::CopyToClipboard,
    event::{Event, EventStream, KeyCode, KeyEventKind},
};
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};

use crate::view::{HostView, UiCommand};
pub(super) use draw::ago;
use draw::draw;
use keys::Keys;

/// How often ages on the screen are drawn anew.
const REDRAW: Duration = Duration::from_secs(1);

/// Shows the host until it ends; restores the terminal, also after a panic.
pub async fn run(mut view: watch::Receiver<HostView>, commands: mpsc::Sender<UiCommand>) {
    let mut terminal = ratatui::init();
    let mut keys = EventStream::new();
    let mut redraw = tokio::time::interval(REDRAW);
    let mut meaning = Keys::default();
    loop {
        let shown = view.borrow_and_update().clone();
        meaning.follow(&shown);
        if terminal.draw(|frame| draw(frame, &shown, &meaning)).is_err() {
            break;
        }
        tokio::select! {
            changed = view.changed() => if changed.is_err() { break },
            _ = redraw.tick() => {}
            event = keys.next() => match event {
                Some(Ok(Event::Key(key))) if key.kind == KeyEventKind::Press => {
                    if key.code == KeyCode::Char('c') && key.modifiers.is_empty() {
                        copy(&shown);
                    }
                    if let Some(command) = meaning.press(key, &shown) {
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

/// Hands the link to the terminal's clipboard (OSC 52), which also works over ssh.
fn copy(view: &HostView) {
    if let Some(offer) = &view.offer {
        let copy = CopyToClipboard::to_clipboard_from(&offer.url);
        let _ = crossterm::execute!(std::io::stdout(), copy);
    }
}

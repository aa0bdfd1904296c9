//! What each key means, given what is on the screen.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use belay_wire::{MemberId, RequestId};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::view::{HostView, UiCommand};

/// What the keys mean now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Normal,
    /// A device was chosen and its removal waits for a yes.
    Confirm(MemberId),
}

/// The state of the keyboard.
#[derive(Debug, Default)]
pub(super) struct Keys {
    mode: Mode,
    selected: usize,
    /// The phone that was on the screen.
    phone: Option<RequestId>,
}

impl Keys {
    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    /// Follows what is shown: a question ends when its device is gone, and when a phone comes that
    /// is answered by the same key.
    pub(super) fn follow(&mut self, view: &HostView) {
        self.selected = self.selected.min(view.devices.len().saturating_sub(1));
        let phone = view.phone.as_ref().map(|p| p.id);
        if let Mode::Confirm(member) = self.mode {
            let gone = view.devices.iter().all(|d| d.member != member);
            if gone || (phone.is_some() && phone != self.phone) {
                self.mode = Mode::Normal;
            }
        }
        self.phone = phone;
    }

    pub(super) fn press(&mut self, key: KeyEvent, view: &HostView) -> Option<UiCommand> {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Some(UiCommand::Quit);
        }
        if let Mode::Confirm(member) = std::mem::take(&mut self.mode) {
            let yes = matches!(key.code, KeyCode::Char('y' | 'Y'));
            return yes.then_some(UiCommand::Revoke(member));
        }
        match key.code {
            KeyCode::Char('y' | 'Y') => view.phone.as_ref().map(|p| UiCommand::Approve(p.id)),
            KeyCode::Char('n' | 'N') => view.phone.as_ref().map(|p| UiCommand::Reject(p.id)),
            KeyCode::Char('a') => Some(UiCommand::AddDevice),
            KeyCode::Char('q') => Some(UiCommand::Quit),
            other => {
                self.choose(other, view);
                None
            }
        }
    }

    fn choose(&mut self, key: KeyCode, view: &HostView) {
        match key {
            KeyCode::Up => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down => {
                self.selected = (self.selected + 1).min(view.devices.len().saturating_sub(1));
            }
            KeyCode::Char('r') => {
                let device = view.devices.get(self.selected);
                self.mode = device.map_or(Mode::Normal, |d| Mode::Confirm(d.member));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use belay_wire::DeviceView;

    use super::*;
    use crate::view::PendingPhone;

    fn device(n: u8) -> DeviceView {
        let member = MemberId::from_bytes([n; 16]);
        let (name, platform) = (format!("phone {n}"), "test".to_owned());
        DeviceView { member, name, platform, added_at: 0, seen_at: 0, connected: true }
    }

    fn phone(n: u8) -> PendingPhone {
        let id = RequestId::from_bytes([n; 16]);
        let (name, platform, address) = ("p".to_owned(), "test".to_owned(), "::1".to_owned());
        let code = "123456".to_owned();
        PendingPhone { id, name, platform, address, code, waiting: true, expires_at: 0 }
    }

    fn press(keys: &mut Keys, view: &HostView, key: char) -> Option<UiCommand> {
        keys.follow(view);
        keys.press(KeyEvent::from(KeyCode::Char(key)), view)
    }

    #[test]
    fn a_removal_is_of_the_device_that_was_named_although_the_list_changes() {
        let mut view = HostView { devices: vec![device(1), device(2)], ..HostView::default() };
        let mut keys = Keys::default();
        keys.press(KeyEvent::from(KeyCode::Down), &view);
        assert_eq!(press(&mut keys, &view, 'r'), None);
        view.devices.insert(0, device(3));
        assert_eq!(press(&mut keys, &view, 'y'), Some(UiCommand::Revoke(device(2).member)));
    }

    #[test]
    fn a_removal_needs_a_yes_and_a_device_that_is_there() {
        let mut view = HostView { devices: vec![device(1)], ..HostView::default() };
        let mut keys = Keys::default();
        press(&mut keys, &view, 'r');
        assert_eq!(press(&mut keys, &view, 'x'), None);
        assert_eq!(press(&mut keys, &view, 'y'), None);
        press(&mut keys, &view, 'r');
        view.devices.clear();
        assert_eq!(press(&mut keys, &view, 'y'), None);
        assert_eq!(press(&mut keys, &view, 'r'), None);
        assert_eq!(keys.mode(), Mode::Normal);
    }

    #[test]
    fn a_phone_that_comes_takes_the_yes_key_from_a_removal() {
        let mut view = HostView { devices: vec![device(1)], ..HostView::default() };
        let mut keys = Keys::default();
        press(&mut keys, &view, 'r');
        view.phone = Some(phone(7));
        assert_eq!(press(&mut keys, &view, 'y'), Some(UiCommand::Approve(phone(7).id)));
        press(&mut keys, &view, 'r');
        assert_eq!(press(&mut keys, &view, 'y'), Some(UiCommand::Revoke(device(1).member)));
    }
}

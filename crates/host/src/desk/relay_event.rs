//! What the relay tells: connection, pairing, devices, and the members' commands.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use belay_client::{Event, Message};
use belay_wire::{
    Channel, Frame, RawJson,
    app::{FromMember, open},
    pair::PairOutcome,
};

use super::{Desk, command::failed};

/// The id of something that may be a command.
fn command_id(payload: &RawJson) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(payload.text()).ok()?;
    let id = value["b"]["command"]["id"].as_str()?;
    (!id.is_empty() && id.len() <= 128).then(|| id.to_owned())
}

impl Desk {
    pub(super) fn relay_event(&mut self, event: Event) {
        match event {
            Event::Connected(_) => {
                if self.relay_trouble.take().is_some() {
                    self.note("connected to the relay".to_owned());
                }
            }
            Event::Disconnected { reason, .. } => {
                if self.relay_trouble.is_none() {
                    self.note(format!("no connection to the relay: {reason}"));
                }
                self.relay_trouble = Some(reason);
                for member in std::mem::take(&mut self.revoking) {
                    let name = self.device_name(member);
                    self.note(format!(
                        "the relay went away before it removed {name}; if it is still in the \
                         list, remove it again"
                    ));
                }
            }
            Event::Message(message) => self.message(&message),
            Event::Frame(frame) => {
                self.parts.client.applied_frame(&frame);
                self.frame(*frame);
            }
            Event::GivenUp { channel, messages } => {
                let count = messages.len();
                self.note(format!("{count} messages on {channel} were given up"));
            }
            Event::Volatile { .. } | Event::Stopped { .. } => {}
        }
    }

    fn message(&mut self, message: &Message) {
        let Channel::Up(member) = message.channel else { return };
        match open::<FromMember>(&message.payload) {
            Ok(FromMember::Command { command }) => self.command(member, &command),
            Err(error) => {
                self.note(format!("a message of {}: {error}", self.device_name(member)));
                // A command of a newer page is answered, or its phone would wait for ever.
                if let Some(id) = command_id(&message.payload) {
                    let text = format!("this desktop does not understand it ({error}); update it");
                    self.tell_result(member, &failed(id, text));
                }
            }
        }
        self.parts.client.applied(message.channel, message.position);
    }

    fn frame(&mut self, frame: Frame) {
        match frame {
            Frame::PairCommitted(commit) => {
                let mut random = [0; 32];
                crate::run::fill_random(&mut random);
                if let Some(nonce) = self.pairing.committed(&commit, random) {
                    let _ = self.parts.client.control(nonce);
                }
            }
            Frame::PairRequested(request) => {
                let (id, name) = (request.id, request.device.name.clone());
                if self.pairing.requested(request) {
                    self.note(format!(
                        "{name} wants to pair: compare the six digits, then approve"
                    ));
                } else {
                    self.note(format!("{name} was declined: its key is not what it announced"));
                    self.decide(id, false);
                }
            }
            Frame::PairWaiting(waiting) => self.pairing.set_waiting(waiting.id, waiting.waiting),
            Frame::PairEnded(ended) => self.pair_ended(ended.outcome),
            Frame::DeviceListed(listed) => {
                self.devices = listed.devices;
                self.devices_allowed = listed.allowed;
            }
            Frame::DeviceRevoked(revoked) => {
                self.revoking.remove(&revoked.member);
                if revoked.durable {
                    self.parts.client.forget(Channel::DownTo(revoked.member));
                } else {
                    let name = self.device_name(revoked.member);
                    self.note(format!("{name} was removed"));
                }
            }
            Frame::Snapshot(snapshot) => {
                if let Some(member) = snapshot.from {
                    self.publisher.snapshots.ask(member, snapshot.id);
                    self.flush();
                }
            }
            Frame::Notice(notice) => self.note(notice.text),
            Frame::Gap(gap) => {
                self.note(format!("{} {}..{} is gone: {}", gap.ch, gap.from, gap.to, gap.reason));
            }
            _ => {}
        }
    }

    fn pair_ended(&mut self, outcome: PairOutcome) {
        let name = self.pairing.phone(&self.parts.identity).map(|phone| phone.name);
        let name = name.unwrap_or_else(|| "a phone".to_owned());
        self.pairing.ended();
        self.pairing.hide();
        let line = match outcome {
            PairOutcome::Paired => {
                self.adding = false;
                "is paired"
            }
            PairOutcome::Rejected => "was declined",
            PairOutcome::Expired => "was not approved in time; it must open a new link",
            PairOutcome::Conflict => {
                "and another phone used the same link, so both were denied; show the new one where \
                 nobody else sees it"
            }
            PairOutcome::Mismatch => "was denied: its key is not what it announced",
            PairOutcome::DeviceLimit => "was denied: remove a device first",
            PairOutcome::HostGone => "was not let in: this desktop did not answer in time",
        };
        self.note(format!("{name} {line}"));
    }
}

//! A client: its ledger as it is, and an application that notes what it is given.

use std::{collections::BTreeMap, time::Instant};

use belay_client::{GivenUp, Heard, Ledger};
use belay_wire::{Channel, ConnectionId, Epoch, Frame, Position, RawJson};

use crate::{
    audit::{Audit, Promise, Snapshot},
    node::MEMBERS,
};

/// One client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) id: usize,
    pub(crate) ledger: Ledger,
    /// The open connection and whether it was welcomed.
    pub(crate) connection: Option<(ConnectionId, bool)>,
    pub(crate) instance: u64,
    pub(crate) attempt: u64,
    /// Names of messages that are not known to be stored.
    unstored: BTreeMap<Channel, Vec<(usize, Position)>>,
    backup: Option<Box<Backup>>,
    /// It goes on from a copy, and was not told yet what is stored.
    pub(crate) is_copy: bool,
    /// When it was put back, in milliseconds.
    pub(crate) began: u64,
    /// It was told what is stored of its channels since it started.
    is_told: bool,
}

/// A copy of a client.
#[derive(Debug, Clone)]
struct Backup {
    ledger: Ledger,
    unstored: BTreeMap<Channel, Vec<(usize, Position)>>,
    known: Snapshot,
}

impl Client {
    pub(crate) fn new(id: usize) -> Self {
        Self {
            id,
            ledger: Ledger::default(),
            connection: None,
            instance: 1,
            attempt: 0,
            unstored: BTreeMap::new(),
            backup: None,
            is_copy: false,
            began: 0,
            is_told: false,
        }
    }

    /// A copy is made while it is connected: one of a client that has not yet found out what was stored of its
    /// own is promised nothing.
    pub(crate) fn back_up(&mut self, audit: &Audit) {
        if !self.is_told {
            return;
        }
        let (ledger, unstored) = (self.ledger.clone(), self.unstored.clone());
        self.backup = Some(Box::new(Backup { ledger, unstored, known: audit.snapshot(self.id) }));
    }

    /// A log that it writes was damaged: what a copy of it holds may be there no more.
    pub(crate) fn drop_backup(&mut self) {
        self.backup = None;
    }

    /// The last writes to its disk are lost: it starts again from the last backup. `false`: there is none, or
    /// it has opened another epoch since, which is written down before it is used.
    pub(crate) fn go_back(&mut self, audit: &mut Audit, at: u64) -> bool {
        let Some(backup) = self.backup.take() else { return false };
        let epoch = |ledger: &Ledger, ch| ledger.head(ch).map(|head| head.epoch);
        let changed = |ch: &Channel| {
            let held = epoch(&backup.ledger, *ch);
            held.is_some() && held != epoch(&self.ledger, *ch)
        };
        if self.writes().iter().any(changed) {
            return false;
        }
        self.ledger = backup.ledger;
        (self.is_copy, self.began) = (true, at);
        self.restart();
        self.unstored = backup.unstored;
        audit.go_back(self.id, &self.writes(), &backup.known);
        let places = self.ledger.resume();
        // Who names no place is told of none.
        for channel in self.reads().into_iter().filter(|ch| !places.contains_key(ch)) {
            audit.reader_lost(self.id, channel);
        }
        true
    }

    pub(crate) fn writes(&self) -> Vec<Channel> {
        match self.id {
            0 => MEMBERS.iter().map(|m| Channel::DownTo(*m)).chain([Channel::Down]).collect(),
            n => vec![Channel::Up(MEMBERS[n - 1])],
        }
    }

    pub(crate) fn reads(&self) -> Vec<Channel> {
        match self.id {
            0 => MEMBERS.iter().map(|m| Channel::Up(*m)).collect(),
            n => vec![Channel::Down, Channel::DownTo(MEMBERS[n - 1])],
        }
    }

    pub(crate) fn push(&mut self, channel: Channel, size: usize, audit: &mut Audit, epoch: Epoch) {
        let number = audit.push(channel);
        let payload = format!("{{\"n\":{number},\"x\":\"{}\"}}", "x".repeat(size));
        let Ok(payload) = serde_json::from_str::<RawJson>(&payload) else {
            unreachable!("it is JSON")
        };
        match self.ledger.push(channel, payload, None, epoch) {
            Ok(name) => self.unstored.entry(channel).or_default().push((number, name)),
            Err(_) => audit.take_back(channel),
        }
    }

    /// The process ends and starts again, with what it wrote down.
    pub(crate) fn restart(&mut self) {
        self.connection = None;
        self.is_told = false;
        self.instance += 1;
        self.attempt = 0;
        self.ledger.restart();
    }

    /// The same, and what it wrote down is gone.
    pub(crate) fn forget(&mut self, audit: &mut Audit) {
        self.restart();
        self.ledger = Ledger::default();
        self.unstored.clear();
        self.backup = None;
        self.writes().into_iter().for_each(|channel| audit.writer_lost(channel));
        self.reads().into_iter().for_each(|channel| audit.reader_lost(self.id, channel));
    }

    /// Takes a frame. `false`: it must connect again.
    pub(crate) fn hear(
        &mut self,
        frame: Frame,
        now: Instant,
        audit: &mut Audit,
        draw: &mut dyn FnMut() -> Epoch,
    ) -> bool {
        if let Frame::Welcome(welcome) = &frame {
            excuse(self.ledger.welcomed(welcome, now, draw), audit);
            if let Some((_, welcomed)) = &mut self.connection {
                *welcomed = true;
            }
            self.is_told |= welcome.pending.is_empty();
            self.is_copy &= !self.is_told;
            return true;
        }
        match self.ledger.hear(frame, now, draw) {
            Heard::Nothing => {}
            Heard::Hole => return false,
            Heard::GaveUp(_) => {
                // Every relay here keeps to the protocol.
                let text = format!("client {}: what was missing did not come", self.id);
                audit.fail(Promise::Rests, text);
                return false;
            }
            Heard::GivenUp(given_up) => excuse(given_up, audit),
            Heard::Frame(frame) => self.note(*frame, now, audit),
        }
        self.note_stored(audit);
        true
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "most frames have no place")]
    fn note(&mut self, frame: Frame, now: Instant, audit: &mut Audit) {
        let (channel, position) = match frame {
            Frame::Msg(msg) => {
                audit.apply(self.id, msg.ch, number(&msg.p));
                (msg.ch, Position::new(msg.epoch, msg.seq))
            }
            Frame::Void(v) => (v.ch, Position::new(v.epoch, v.seq)),
            Frame::Skip(s) => {
                audit.told(self.id, s.ch);
                (s.ch, Position::new(s.epoch, s.to))
            }
            Frame::Gap(g) => {
                audit.told(self.id, g.ch);
                (g.ch, Position::new(g.epoch, g.to))
            }
            Frame::EpochFrame(e) => (e.ch, Position::new(e.new, e.base.previous())),
            _ => return,
        };
        self.ledger.applied(channel, position, now);
    }

    fn note_stored(&mut self, audit: &mut Audit) {
        for (channel, names) in &mut self.unstored {
            let (stored, head) = (self.ledger.stored(*channel), self.ledger.head(*channel));
            let Some(stored) = stored else { continue };
            let is_stored = |name: &Position| {
                Some(stored) == head || (name.epoch == stored.epoch && name.seq <= stored.seq)
            };
            names.retain(|(number, name)| {
                let done = is_stored(name);
                if done {
                    audit.acknowledged(*channel, *number);
                }
                !done
            });
        }
    }

    /// A channel of which not all that it sent is stored, with what is and what should be.
    pub(crate) fn undone(&self) -> Option<String> {
        let place = |ch: &Channel| (self.ledger.stored(*ch), self.ledger.head(*ch));
        let undone = self.writes().into_iter().find(|ch| place(ch).0 != place(ch).1)?;
        Some(format!("{undone}: {:?}", place(&undone)))
    }
}

/// Nobody waits for what its writer was told to be lost or unknown.
fn excuse(given_up: Vec<(Channel, Vec<GivenUp>)>, audit: &mut Audit) {
    for (channel, given_up) in given_up {
        for message in given_up {
            audit.excuse(channel, number(&message.payload));
        }
    }
}

/// The number that a payload carries.
pub(crate) fn number(payload: &RawJson) -> usize {
    let value: serde_json::Value = serde_json::from_str(payload.text()).unwrap_or_default();
    value["n"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX)
}

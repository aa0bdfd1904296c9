//! A session of the compat protocol with a desktop and a phone, and what may be lost around them.

use belay_core::{
    Effect, Effects, Input, Session, SessionRecord,
    session::OutFrame,
    token::{Claims, Principal},
};
use belay_wire::{CloseCode, ConnectionId, MemberId, Secret};
use serde_json::Value;

use crate::{
    around::{Around, attach},
    desktop::{NONCE, SESSION, opened},
    logs::Logs,
};

pub(crate) const MEMBER: MemberId = MemberId::from_bytes([5; 16]);

pub(crate) struct World {
    pub(crate) session: Session,
    logs: Logs,
    /// All that was ever stored, the newest last.
    pub(crate) stored: Vec<SessionRecord>,
    /// What the phone has written down.
    pub(crate) token: Secret,
    pub(crate) around: Around,
    connections: u64,
    pub(crate) open: Option<ConnectionId>,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut around = Around::new();
        let record = opened(&mut around, &[MEMBER]);
        let token = around.keys.mint(&Claims {
            session: record.id,
            principal: Principal::Member(MEMBER),
            issued_at: around.now.unix_ms,
            generation: 1,
            nonce: NONCE,
        });
        let (session, stored) = (Session::load(record.clone()), vec![record]);
        let mut world = Self {
            session,
            logs: Logs::default(),
            stored,
            token,
            around,
            connections: 0,
            open: None,
        };
        let _ = world.give(Input::OpenLogs, true);
        world
    }

    pub(crate) fn generation(&self) -> u64 {
        self.session.record().device(MEMBER).expect("paired").token.generation
    }

    /// Gives an input and what follows from it; `Err`: a save failed and the session is loaded anew.
    pub(crate) fn give(&mut self, input: Input, saved: bool) -> Result<Option<CloseCode>, ()> {
        let mut inputs = vec![input];
        let mut refused = None;
        while let Some(input) = inputs.pop() {
            let mut env = self.around.env();
            let Effects { save, then, log, .. } = self.session.handle(input, &mut env);
            let mut next = Vec::new();
            if let Some(record) = save {
                if !saved {
                    self.die();
                    return Err(());
                }
                self.stored.push(record.clone());
                next.push(Input::Record(Box::new(record)));
            }
            next.extend(self.logs.carry_out(log));
            for effect in then {
                match effect {
                    Effect::Feed(input) => next.push(input),
                    Effect::Close { connection, code } if self.open == Some(connection) => {
                        refused = Some(code);
                    }
                    _ => {}
                }
            }
            inputs.extend(next.into_iter().rev());
        }
        Ok(refused)
    }

    /// The relay's process ends; the next one has what is stored.
    pub(crate) fn die(&mut self) {
        self.session = Session::load(self.stored.last().expect("one").clone());
        self.logs = Logs::default();
        self.open = None;
        let _ = self.give(Input::OpenLogs, true);
    }

    /// One connect with a token. `Ok`: what `auth_ok` offered, if it was told.
    pub(crate) fn connect(
        &mut self,
        token: &Secret,
        saved: bool,
    ) -> Result<Option<Secret>, CloseCode> {
        self.connections += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.connections.to_le_bytes());
        let connection = ConnectionId::from_bytes(id);
        self.open = Some(connection);
        let claims = self.around.keys.verify(token).expect("our own");
        let mut attach = attach(connection, claims, 1);
        attach.client.instance = connection.to_string();
        attach.proof_valid = false;
        attach.compat = true;
        match self.give(Input::Attach(Box::new(attach)), saved) {
            Err(()) => Ok(None),
            Ok(Some(code)) => Err(code),
            Ok(None) => Ok(self.offered()),
        }
    }

    fn offered(&mut self) -> Option<Secret> {
        let env = self.around.env();
        let frames = self.session.pull(self.open?, &env).frames;
        frames.into_iter().find_map(|frame| {
            let OutFrame::Text(text) = frame else { return None };
            let told: Value = serde_json::from_slice(&text).ok()?;
            let token = told["nextDeviceSessionToken"].as_str()?;
            Some(Secret::new(token.to_owned()))
        })
    }

    /// The phone says something on its connection.
    pub(crate) fn says_something(&mut self, saved: bool) {
        let Some(connection) = self.open else { return };
        let text = format!(r#"{{"type":"relay.snapshot_request","sessionID":"{SESSION}"}}"#);
        let _ = self.give(Input::CompatText { connection, text, commit: true }, saved);
    }
}

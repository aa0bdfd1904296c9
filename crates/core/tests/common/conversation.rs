//! A desktop and two phones of the compat protocol that say whatever the input holds. Each line is one
//! step: its first character says who does what.

use std::time::Duration;

use belay_core::{
    Effect, Input, Session,
    session::{CompatJoin, OutFrame, WaiterId},
    token::{Claims, Principal},
};
use belay_wire::{ConnectionId, MemberId, Secret};
use serde_json::Value;

use crate::{
    around::{Around, attach},
    desktop::{NONCE, SESSION, opened},
    logs::Logs,
};

const PHONES: [MemberId; 2] = [MemberId::from_bytes([5; 16]), MemberId::from_bytes([6; 16])];
/// Steps of one input.
const STEPS_MAX: usize = 200;

/// Plays an input; panics if something that must hold does not.
pub(crate) fn converse(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut play = Play::new();
    for line in text.lines().take(STEPS_MAX) {
        let mut characters = line.chars();
        let who = characters.next().unwrap_or(' ');
        play.step(who, characters.as_str());
        play.read_all();
    }
}

struct Play {
    session: Session,
    logs: Logs,
    around: Around,
    /// The desktop's connection, then the phones'.
    open: [Option<ConnectionId>; 3],
    /// Who ever had which connection.
    had: Vec<(String, usize)>,
    waiters: u64,
}

impl Play {
    fn new() -> Self {
        let mut around = Around::new();
        let record = opened(&mut around, &PHONES);
        let mut play = Self {
            session: Session::load(record),
            logs: Logs::default(),
            around,
            open: [None; 3],
            had: Vec::new(),
            waiters: 0,
        };
        play.give(Input::OpenLogs);
        (0..3).for_each(|who| play.connect(who));
        play.read_all();
        play
    }

    fn step(&mut self, who: char, rest: &str) {
        match who {
            'd' => self.say(0, rest),
            'p' => self.say(1, rest),
            'q' => self.say(2, rest),
            'D' => self.connect(0),
            'P' => self.connect(1),
            'Q' => self.connect(2),
            'x' => self.leave(0),
            'y' => self.leave(1),
            'j' => {
                let join = CompatJoin {
                    join_token: Secret::new(rest.to_owned()),
                    device_name: Some(rest.to_owned()),
                    address: "192.0.2.1".to_owned(),
                };
                self.waiters += 1;
                let waiter = WaiterId(self.waiters);
                self.give(Input::CompatJoin { waiter, join: Box::new(join) });
            }
            'r' => self.give(Input::Revoke { member: PHONES[1] }),
            't' => {
                self.around.wait(Duration::from_secs(7));
                self.give(Input::Tick);
            }
            _ => {}
        }
    }

    fn say(&mut self, who: usize, text: &str) {
        if let Some(connection) = self.open[who] {
            self.give(Input::CompatText { connection, text: text.to_owned(), commit: true });
        }
    }

    fn leave(&mut self, who: usize) {
        if let Some(connection) = self.open[who].take() {
            self.give(Input::Detach { connection });
        }
    }

    fn connect(&mut self, who: usize) {
        let mut id = [0; 16];
        id[0] = u8::try_from(self.had.len()).expect("fewer than 256 steps");
        let connection = ConnectionId::from_bytes(id);
        self.had.push((connection.to_string(), who));
        let principal = match who {
            0 => Principal::Host,
            who => Principal::Member(PHONES[who - 1]),
        };
        let generation = match principal {
            Principal::Host => 0,
            Principal::Member(member) => {
                self.session.record().device(member).map_or(1, |d| d.token.generation)
            }
        };
        let session = self.session.record().id;
        let claims = Claims { session, principal, issued_at: 0, generation, nonce: NONCE };
        let mut attach = attach(connection, claims, 1);
        attach.client.instance = connection.to_string();
        attach.compat = true;
        self.open[who] = Some(connection);
        self.give(Input::Attach(Box::new(attach)));
    }

    fn give(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut env = self.around.env();
            let effects = self.session.handle(input, &mut env);
            let stored = effects.save.map(|record| Input::Record(Box::new(record)));
            let mut next: Vec<_> = stored.into_iter().collect();
            next.extend(self.logs.carry_out(effects.log));
            for effect in effects.then {
                match effect {
                    Effect::Feed(input) => next.push(input),
                    Effect::Close { connection, .. } => {
                        for open in &mut self.open {
                            open.take_if(|id| *id == connection);
                        }
                        next.push(Input::Detach { connection });
                    }
                    Effect::Answer { .. }
                    | Effect::Revoke { .. }
                    | Effect::Sit { .. }
                    | Effect::Leave { .. }
                    | Effect::Spend(_)
                    | Effect::Bus(_) => {}
                }
            }
            inputs.extend(next.into_iter().rev());
        }
    }

    /// Everybody reads what is there, and it is what may be told.
    fn read_all(&mut self) {
        for who in 0..3 {
            let Some(connection) = self.open[who] else { continue };
            let env = self.around.env();
            for frame in self.session.pull(connection, &env).frames {
                let OutFrame::Text(text) = frame else { panic!("text only") };
                let told: Value = serde_json::from_slice(&text).expect("JSON only");
                self.check(who, &told);
            }
            self.give(Input::Wrote { connection });
        }
    }

    fn check(&self, who: usize, told: &Value) {
        assert_ne!(told["type"], "relay.auth", "a token is passed on");
        let from_phone = told["type"] == "relay.snapshot_request"
            || told["payload"]["type"] == "command" && told.get("relayDeviceID").is_some();
        if who == 0 && from_phone {
            let connection = told["relayConnectionID"].as_str().expect("stamped");
            let device = told["relayDeviceID"].as_str().expect("stamped");
            assert!(PHONES.iter().any(|phone| phone.to_string() == device));
            // Names that are no connection's are new ones, after a number that the desktop may miss.
            if let Some((_, who)) = self.had.iter().find(|(id, _)| id == connection) {
                assert_eq!(PHONES[who - 1].to_string(), device);
            }
            assert_eq!(told["sessionID"], SESSION);
        }
    }
}

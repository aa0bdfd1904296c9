//! Tokens of a real session: whatever is lost or rolled back around a rotation, an honest device is
//! let in again; a device that was revoked is not, whatever the store says.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of many")]

#[path = "common/around.rs"]
mod around;
#[path = "common/offered.rs"]
mod offered;
#[path = "common/phone.rs"]
mod phone;

use std::time::Duration;

use around::{Around, attach, key_of};
use belay_core::{
    Effect, Effects, Input, Session, SessionRecord,
    token::{Claims, Principal},
};
use belay_wire::{CloseCode, ConnectionId, MemberId, Secret, pair::HostInfo};
use offered::offered;
use phone::phone;
use proptest::prelude::*;

const MEMBER: MemberId = MemberId::from_bytes([5; 16]);

/// What can happen. The flags say what of it is lost.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The device connects; the save may fail, the answer may be lost, and the device may confirm.
    Connect { saved: bool, heard: bool, confirms: bool },
    /// A long connection: the relay offers a token beside it.
    Offer { heard: bool, confirms: bool, saved: bool },
    /// The relay dies and comes back with what is stored.
    RelayDies,
    /// The store comes back as it was some saves ago.
    StoreRollsBack(usize),
    /// The device comes back with a token of before.
    DeviceRollsBack(usize),
    /// Time passes, in minutes.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flag = any::<bool>;
    let step = prop_oneof![
        4 => (flag(), flag(), flag()).prop_map(|(saved, heard, confirms)| Step::Connect { saved, heard, confirms }),
        3 => (flag(), flag(), flag()).prop_map(|(heard, confirms, saved)| Step::Offer { heard, confirms, saved }),
        1 => Just(Step::RelayDies),
        1 => (1_usize..6).prop_map(Step::StoreRollsBack),
        1 => (1_usize..6).prop_map(Step::DeviceRollsBack),
        3 => (1_u64..40).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

struct World {
    session: Session,
    /// All that was ever stored, the newest last.
    stored: Vec<SessionRecord>,
    /// All tokens that the device ever wrote, the newest last.
    written: Vec<Secret>,
    around: Around,
    connections: u8,
    open: Option<ConnectionId>,
}

impl World {
    fn new() -> Self {
        let mut around = Around::new();
        let key = key_of(1);
        let host = HostInfo { name: "desk".into(), platform: "test".into(), public_key: key };
        let (session, _) = Session::create(host, &mut around.env());
        let nonce = [6; 16];
        let mut record = session.record().clone();
        record.devices.push(phone(&around, MEMBER, key, nonce));
        let token = around.keys.mint(&Claims {
            session: record.id,
            principal: Principal::Member(MEMBER),
            issued_at: around.now.unix_ms,
            generation: 1,
            nonce,
        });
        let (session, stored) = (Session::load(record.clone()), vec![record]);
        let (written, open) = (vec![token], None);
        Self { session, stored, written, around, connections: 0, open }
    }

    /// Gives an input and what follows from it; `false`: a save failed, so the session is loaded anew.
    fn give(&mut self, input: Input, saved: bool, refused: &mut Option<CloseCode>) -> bool {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut env = self.around.env();
            let Effects { save, then, .. } = self.session.handle(input, &mut env);
            let mut next = Vec::new();
            if let Some(record) = save {
                if !saved {
                    self.die();
                    return false;
                }
                self.stored.push(record.clone());
                next.push(Input::Record(Box::new(record)));
            }
            for effect in then {
                match effect {
                    Effect::Feed(input) => next.push(input),
                    Effect::Close { connection, code } if self.open == Some(connection) => {
                        *refused = Some(code);
                    }
                    _ => {}
                }
            }
            inputs.extend(next.into_iter().rev());
        }
        true
    }

    fn die(&mut self) {
        self.session = Session::load(self.stored.last().expect("one").clone());
        self.open = None;
    }

    /// The token that the device is offered, if it is offered one.
    fn offered(&mut self) -> Option<Secret> {
        let id = self.open?;
        let env = self.around.env();
        offered(&mut self.session, id, &env)
    }

    fn take(&mut self, heard: bool, confirms: bool, saved: bool) -> Option<CloseCode> {
        let mut refused = None;
        if let Some(token) = self.offered().filter(|_| heard) {
            self.written.push(token.clone());
            if let Some(connection) = self.open.filter(|_| confirms) {
                let frame = Box::new(belay_wire::TokenConfirm { token }.into());
                self.give(Input::Frame { connection, frame }, saved, &mut refused);
            }
        }
        refused
    }

    /// One connection with a valid proof; the code that refused it.
    fn connect(&mut self, saved: bool, revoked_elsewhere: bool) -> Option<CloseCode> {
        self.connections = self.connections.wrapping_add(1);
        let connection = ConnectionId::from_bytes([self.connections; 16]);
        self.open = Some(connection);
        let claims = self.around.keys.verify(self.written.last().expect("one")).expect("our own");
        // Each connection is an instance of its own.
        let mut attach = attach(connection, claims, 1);
        attach.client.instance = self.connections.to_string();
        attach.revoked_elsewhere = revoked_elsewhere;
        let mut refused = None;
        self.give(Input::Attach(Box::new(attach)), saved, &mut refused);
        refused
    }

    fn step(&mut self, step: Step) -> Option<CloseCode> {
        match step {
            Step::Connect { saved, heard, confirms } => {
                let refused = self.connect(saved, false);
                refused.or_else(|| self.take(heard, confirms, saved))
            }
            Step::Offer { heard, confirms, saved } => {
                let connection = self.open?;
                let mut env = self.around.env();
                self.session.rotate(connection, &mut env);
                self.take(heard, confirms, saved)
            }
            Step::RelayDies => {
                self.die();
                None
            }
            Step::StoreRollsBack(saves) => {
                let keep = self.stored.len().saturating_sub(saves).max(1);
                self.stored.truncate(keep);
                self.die();
                None
            }
            Step::DeviceRollsBack(writes) => {
                let keep = self.written.len().saturating_sub(writes).max(1);
                self.written.truncate(keep);
                self.open = None;
                None
            }
            Step::Wait(minutes) => {
                self.around.wait(Duration::from_mins(minutes));
                None
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_honest_device_is_let_in_whatever_is_lost_or_rolled_back(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            prop_assert_eq!(world.step(step), None, "after {:?}", step);
        }
        prop_assert_eq!(world.connect(true, false), None, "at the end");
    }

    #[test]
    fn a_revoked_device_stays_out_although_the_store_forgets_it(
        before in steps(),
        after in steps(),
    ) {
        let mut world = World::new();
        for step in before {
            world.step(step);
        }
        world.give(Input::Revoke { member: MEMBER }, true, &mut None);
        for step in after {
            if !matches!(step, Step::Connect { .. }) {
                world.step(step);
            }
        }

        // The second place has it, whatever the store says.
        prop_assert_eq!(world.connect(true, true), Some(CloseCode::Revoked));
    }
}

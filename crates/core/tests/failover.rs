//! One session at several nodes over a store that loses writes which it acknowledged, up to the whole record, as
//! a failover of Redis may: what a node that lives knows comes back, and all nodes come to rest at one record.

#[path = "common/around.rs"]
mod around;
#[path = "common/offered.rs"]
mod offered;
#[path = "common/phone.rs"]
mod phone;

use std::{collections::VecDeque, time::Duration};

use around::{Around, attach, key_of};
use belay_core::{
    Effect, Effects, Input, Session, SessionRecord,
    token::{Claims, Principal},
};
use belay_wire::{ConnectionId, MemberId, Secret, pair::HostInfo};
use offered::offered;
use phone::phone;
use proptest::prelude::*;

const NODES: usize = 3;
const MEMBERS: [MemberId; 3] =
    [MemberId::from_bytes([1; 16]), MemberId::from_bytes([2; 16]), MemberId::from_bytes([3; 16])];
/// Saves in a row that others may be in the way of.
const CONFLICTS_MAX: usize = 64;
/// Looks of all nodes after which everything must be at rest.
const ROUNDS: usize = 12;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A device is removed at a node.
    Revoke { node: usize, member: usize },
    /// A device connects at a node, is offered a new token, and uses it.
    Rotate { node: usize, member: usize },
    /// Somebody is noted as seen: a change that nothing is lost with.
    Touch { node: usize },
    /// A node looks for what changed.
    Look { node: usize },
    /// A node dies; the next one of its name knows what is stored.
    Restart { node: usize },
    /// The store forgets its last writes.
    Failover { writes: usize },
    /// It forgets the session.
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, member) = (0..NODES, 0..MEMBERS.len());
    let step = prop_oneof![
        2 => (node.clone(), member.clone()).prop_map(|(node, member)| Step::Revoke { node, member }),
        4 => (node.clone(), member).prop_map(|(node, member)| Step::Rotate { node, member }),
        2 => node.clone().prop_map(|node| Step::Touch { node }),
        6 => node.clone().prop_map(|node| Step::Look { node }),
        1 => node.prop_map(|node| Step::Restart { node }),
        2 => (1_usize..5).prop_map(|writes| Step::Failover { writes }),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..50)
}

/// One node's session, and whether it missed the record at its last look.
struct Node {
    session: Session,
    missed: bool,
}

struct World {
    nodes: Vec<Option<Node>>,
    /// What was ever stored, the newest last.
    stored: Vec<Option<SessionRecord>>,
    tokens: [Secret; 3],
    around: Around,
    draws: u64,
}

impl World {
    fn new() -> Self {
        let mut around = Around::new();
        // Each connection is offered a new token.
        around.policy.rotation_after = Duration::ZERO;
        let host = HostInfo { name: "desk".into(), platform: "test".into(), public_key: key_of(9) };
        let (session, _) = Session::create(host, &mut around.env());
        let mut record = session.record().clone();
        let nonce = |n: usize| [u8::try_from(n).expect("few"); 16];
        for (n, member) in MEMBERS.into_iter().enumerate() {
            record.devices.push(phone(&around, member, key_of(nonce(n)[0]), nonce(n)));
        }
        let token = |n: usize| {
            around.keys.mint(&Claims {
                session: record.id,
                principal: Principal::Member(MEMBERS[n]),
                issued_at: around.now.unix_ms,
                generation: 1,
                nonce: nonce(n),
            })
        };
        let tokens = [token(0), token(1), token(2)];
        let node = || Some(Node { session: Session::load(record.clone()), missed: false });
        let nodes = std::iter::repeat_with(node).take(NODES).collect();
        Self { nodes, stored: vec![Some(record)], tokens, around, draws: 0 }
    }

    fn now_stored(&self) -> Option<&SessionRecord> {
        self.stored.last().and_then(Option::as_ref)
    }

    /// Gives an input to a node and carries out what follows, as a relay does.
    fn give(&mut self, node: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = self.handle(node, input);
            if let Some(record) = effects.save.take() {
                let Some(stored) = self.save(node, record, effects) else { continue };
                effects = stored;
            }
            inputs.extend(feeds(effects));
        }
    }

    fn handle(&mut self, node: usize, input: Input) -> Effects {
        let mut env = self.around.env();
        self.nodes[node].as_mut().expect("it lives").session.handle(input, &mut env)
    }

    /// Compare-and-set, again after each conflict. `None`: there is nothing to compare with.
    fn save(
        &mut self,
        node: usize,
        mut record: SessionRecord,
        mut effects: Effects,
    ) -> Option<Effects> {
        for _ in 0..CONFLICTS_MAX {
            let redo = *effects.redo.take()?;
            self.draws = self.draws.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
            record.stride(self.draws >> 44);
            let there = self.now_stored().cloned();
            if record.replaces() == Some(there.as_ref().map_or(0, |there| there.version)) {
                self.stored.push(Some(record.clone()));
                self.take(node, record);
                return Some(effects);
            }
            let Some(newer) = there else {
                // It is gone: a look at the store puts it back.
                let env = self.around.env();
                let session = &mut self.nodes[node].as_mut().expect("it lives").session;
                session.not_stored(redo, &env);
                return None;
            };
            self.take(node, newer);
            effects = self.handle(node, redo);
            match effects.save.take() {
                Some(again) => record = again,
                None => return Some(effects),
            }
        }
        panic!("saves never end");
    }

    /// Another version is stored; what follows of it is given after that.
    fn take(&mut self, node: usize, record: SessionRecord) {
        let effects = self.handle(node, Input::Record(Box::new(record)));
        for input in feeds(effects) {
            self.give(node, input);
        }
    }

    fn look(&mut self, node: usize) {
        self.wake(node);
        let there = self.now_stored().cloned();
        let Some(known) = &mut self.nodes[node] else { return };
        let version = known.session.record().version;
        match there {
            Some(there) if there.version == version => known.missed = false,
            Some(there) => {
                known.missed = false;
                self.take(node, there);
            }
            None if std::mem::replace(&mut known.missed, true) => {
                known.missed = false;
                self.give(node, Input::Lost { version });
            }
            None => {}
        }
    }

    /// A node that does not know the session reads it. `false`: it is not there.
    fn wake(&mut self, node: usize) -> bool {
        if self.nodes[node].is_none() {
            let session = self.now_stored().cloned().map(Session::load);
            self.nodes[node] = session.map(|session| Node { session, missed: false });
        }
        self.nodes[node].is_some()
    }

    fn rotate(&mut self, node: usize, member: usize) {
        self.draws += 1;
        let connection =
            ConnectionId::from_bytes([u8::try_from(self.draws % 251).expect("small"); 16]);
        let claims = self.around.keys.verify(&self.tokens[member]).expect("our own");
        let mut attach = attach(connection, claims, 1);
        attach.client.instance = self.draws.to_string();
        self.give(node, Input::Attach(Box::new(attach)));
        let mut env = self.around.env();
        let session = &mut self.nodes[node].as_mut().expect("it lives").session;
        session.rotate(connection, &mut env);
        if let Some(token) = offered(session, connection, &env) {
            let frame = Box::new(belay_wire::TokenConfirm { token: token.clone() }.into());
            self.give(node, Input::Frame { connection, frame });
            self.tokens[member] = token;
        }
        self.give(node, Input::Detach { connection });
    }

    fn step(&mut self, step: Step) {
        self.around.wait(Duration::from_secs(3));
        match step {
            Step::Restart { node } => self.nodes[node] = None,
            Step::Failover { writes } => {
                let back = self.stored.len().saturating_sub(writes + 1);
                self.stored.push(self.stored[back].clone());
            }
            Step::Forget => self.stored.push(None),
            Step::Look { node } => self.look(node),
            Step::Revoke { node, .. } | Step::Rotate { node, .. } | Step::Touch { node }
                if !self.wake(node) => {}
            Step::Revoke { node, member } => {
                self.give(node, Input::Revoke { member: MEMBERS[member] });
            }
            Step::Rotate { node, member } => self.rotate(node, member),
            Step::Touch { node } => self.give(node, Input::Touch),
        }
    }

    /// Who is known by a node that lives as removed, and the newest token that one knows.
    fn known(&self, member: MemberId) -> (bool, u64) {
        let lives = self.nodes.iter().flatten().map(|node| node.session.record());
        let devices = lives.filter_map(|record| record.device(member));
        devices.fold((false, 0), |(removed, newest), device| {
            (removed || device.revoked_at.is_some(), newest.max(device.token.generation))
        })
    }

    /// All look until nothing changes; how many rounds that took.
    fn rest(&mut self) -> Option<usize> {
        (0..ROUNDS).find(|_| {
            let before = self.stored.len();
            (0..NODES).for_each(|node| self.look(node));
            let version = self.now_stored().map(|record| record.version);
            let same = |node: &Node| Some(node.session.record().version) == version;
            before == self.stored.len() && self.nodes.iter().flatten().all(same)
        })
    }
}

fn feeds(effects: Effects) -> impl Iterator<Item = Input> {
    effects.then.into_iter().filter_map(|e| if let Effect::Feed(i) = e { Some(i) } else { None })
}

#[test]
fn a_device_that_connects_has_a_newer_token_after_it() {
    let mut world = World::new();
    world.step(Step::Rotate { node: 0, member: 1 });
    assert_eq!(world.known(MEMBERS[1]), (false, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_a_store_lost_and_a_node_knows_comes_back_and_all_nodes_come_to_rest(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        let known: Vec<_> = MEMBERS.iter().map(|member| world.known(*member)).collect();
        let lives = world.nodes.iter().any(Option::is_some);

        prop_assert!(world.rest().is_some(), "never at rest");

        prop_assert!(!lives || world.now_stored().is_some(), "who knows it stores it");
        let Some(record) = world.now_stored() else { return Ok(()) };
        for (member, (removed, newest)) in MEMBERS.iter().zip(known) {
            let device = record.device(*member).expect("a device stays on record");
            prop_assert!(device.revoked_at.is_some() || !removed, "{member} is not removed any more");
            prop_assert!(device.token.generation >= newest, "{member} has an older token");
        }
    }
}

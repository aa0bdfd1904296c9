//! Delivery as a model: the states of one small world and what leads from one to the next.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use belay_core::Input;
use stateright::{Model, Property};

use super::{
    moves::Move,
    part::Part,
    scene::{Person, Scene, Stage, Table},
    search::Clock,
    setup::{Begin, Fault, Setup},
};
use crate::{
    audit::{Audit, Promise},
    client::Client,
    log::Logs,
    node::Node,
};

/// One small world.
#[derive(Debug, Clone)]
pub struct Delivery {
    stage: Arc<Stage>,
    clock: Clock,
}

impl Delivery {
    pub fn new(setup: Setup, clock: Clock) -> Self {
        Self { stage: Arc::new(Stage::new(setup)), clock }
    }

    /// Nothing has happened yet.
    fn new_scene(&self) -> Scene {
        let (stage, setup) = (self.stage.clone(), &self.stage.setup);
        let person = |id: &usize| Person { client: Client::new(*id), epochs: 0, tries: 0 };
        let table = Table {
            asks: vec![None; setup.nodes],
            late: Vec::new(),
            bus: vec![VecDeque::new(); setup.nodes],
            doubts: vec![false; setup.nodes],
        };
        Scene {
            nodes: (0..setup.nodes).map(|_| Part::new(Node::start(&stage.shared, 0))).collect(),
            people: setup.clients.iter().map(person).map(Part::new).collect(),
            links: Part::new(BTreeMap::new()),
            table: Part::new(table),
            logs: Part::new(Logs::default()),
            audit: Part::new(Audit::default()),
            at: 0,
            pushes: 0,
            faults: 0,
            waits: 0,
            stage,
        }
    }

    fn begin(&self) -> Scene {
        let (mut scene, setup) = (self.new_scene(), &self.stage.setup);
        (0..setup.nodes).for_each(|node| scene.give(node, Input::OpenLogs));
        (0..setup.clients.len()).for_each(|at| scene.connect(at, at % setup.nodes));
        scene.seal();
        scene = until_none(scene, |_| true);
        if setup.begin == Begin::Interrupted {
            scene = interrupted(scene);
        }
        (scene.pushes, scene.faults, scene.waits) = (setup.pushes, setup.faults, 0);
        scene
    }
}

/// A message is applied, and the nodes die: everybody is about to come back.
fn interrupted(mut scene: Scene) -> Scene {
    scene.pushes = 1;
    scene = until_none(scene, |_| true);
    scene.faults = u8::try_from(scene.nodes.len()).unwrap_or(u8::MAX);
    for node in 0..scene.nodes.len() {
        scene = scene.after(Move::Fault(Fault::Crash, node));
    }
    let arrives = |step: &Move| matches!(step, Move::ToNode(_) | Move::Wait);
    until_none(scene, |step| !arrives(step))
}

/// One thing after the other until nothing of the kind is left.
fn until_none(mut scene: Scene, kind: impl Fn(&Move) -> bool) -> Scene {
    loop {
        let mut moves = Vec::new();
        scene.moves(&mut moves);
        let Some(first) = moves.into_iter().find(&kind) else { return scene };
        scene = scene.after(first);
    }
}

fn holds(scene: &Scene, promise: Promise) -> bool {
    scene.violation().is_none_or(|violation| violation.promise != promise)
}

impl Model for Delivery {
    type State = Scene;
    type Action = Move;

    fn init_states(&self) -> Vec<Scene> {
        vec![self.begin()]
    }

    fn actions(&self, scene: &Scene, moves: &mut Vec<Move>) {
        scene.moves(moves);
    }

    fn next_state(&self, scene: &Scene, step: Move) -> Option<Scene> {
        Some(scene.after(step))
    }

    fn within_boundary(&self, _: &Scene) -> bool {
        self.clock.goes_on()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what is acknowledged arrives", |_, scene| {
                holds(scene, Promise::Arrives)
            }),
            Property::always("nothing is applied twice or out of order", |_, scene| {
                holds(scene, Promise::InOrder)
            }),
            Property::always("what is gone is told", |_, scene| holds(scene, Promise::Told)),
            Property::always("all is settled in the end", |_, scene| holds(scene, Promise::Rests)),
            Property::sometimes("all was sent and is settled", |_, scene: &Scene| scene.is_over()),
        ]
    }
}

//! Tokens as a model: one device, perhaps a thief, a relay that dies, a store that goes back, and a revoke.

mod cases;
mod hold;
mod play;
mod relay;
mod world;

use stateright::{Model, Property};
use std::sync::Arc;

pub use cases::{Case, cases};
pub use play::Step;
pub use world::{Holder, World};

use super::search::Clock;
use world::{Breach, Stage};

/// One case with all that can happen in it.
#[derive(Debug, Clone)]
pub struct Tokens {
    stage: Arc<Stage>,
    clock: Clock,
}

impl Tokens {
    pub fn new(case: Case, clock: Clock) -> Self {
        Self { stage: Arc::new(Stage::new(case)), clock }
    }
}

impl Model for Tokens {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.stage.clone())]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        world.steps(steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        Some(world.after(step))
    }

    fn within_boundary(&self, _: &World) -> bool {
        self.clock.goes_on()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let never = |name, condition: fn(&Self, &World) -> bool| Property::always(name, condition);
        vec![
            never("an honest device is let in", |_, w| w.breach != Some(Breach::LockedOut)),
            never("an honest device is not punished", |_, w| w.breach != Some(Breach::Punished)),
            never("a stolen token alone opens nothing", |_, w| w.breach != Some(Breach::Theft)),
            never("two holders are noticed", |_, w| w.breach != Some(Breach::Unnoticed)),
            never("who was revoked stays out", |_, w| w.breach != Some(Breach::Returned)),
            Property::sometimes("a successor is in use", |_, w: &World| w.has_rotated()),
        ]
    }
}

//! The model checker: small worlds of which all schedules are played, not some. What happens in them is
//! decided by the sessions of the relay and the ledgers of its clients, as they are.

mod carry;
mod delivery;
mod fault;
mod gap;
mod moves;
mod part;
mod play;
mod scene;
mod search;
mod setup;
mod tokens;
mod wire;

pub use delivery::Delivery;
pub use moves::Move;
pub use scene::Scene;
pub use search::{Checked, Limit, check};
pub use setup::{Begin, Fault, Setup, setups};
pub use tokens::{Case, Holder, Step, Tokens, World, cases};

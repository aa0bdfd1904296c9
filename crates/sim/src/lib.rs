//! Simulates delivery: the sessions of the relay and the ledgers of its clients, as they are, in invented
//! time, on links, logs and processes that fail. One seed is one schedule, the same in each run.

mod audit;
mod client;
mod log;
pub mod model;
mod node;
mod rng;
mod world;

pub use audit::{Promise, Violation};
pub use rng::Rng;
pub use world::{Outcome, simulate};

//! The real relay and the real clients in one process, on a network, a clock and processes that are
//! simulated (`turmoil`). One seed is one run, the same to the bit each time its process is started anew.

mod faults;
mod kind;
mod log;
mod net;
mod notes;
mod party;
mod play;
mod played;
mod relay;
mod setup;
mod world;

pub use net::Trace;
pub use play::play;
pub use played::Played;

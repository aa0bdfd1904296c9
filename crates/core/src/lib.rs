//! Sessions, pairing, tokens and delivery as pure state machines.
//!
//! Core never reads a clock, draws a random number, spawns or does I/O: time and randomness come in
//! through [`Env`], what must happen outside goes out as [`Effects`]. The same code runs in the
//! server, in tests with invented time, and in the model checker.

mod capability;
mod crypto;
pub mod delivery;
mod env;
pub mod fingerprint;
mod gcra;
mod lineage;
mod mutation;
pub mod ports;
mod record;
pub mod session;
pub mod token;

pub use capability::Capability;
pub use crypto::{HashKey, SecretHash, verify_signature};
pub use env::{CompatPolicy, Entropy, Env, Now, Policy};
pub use gcra::Gcra;
pub use lineage::Lineage;
pub use mutation::Mutation;
#[cfg(feature = "mutations")]
pub use mutation::{mutate, mutate_everywhere};
pub use record::{
    CompatRecord, DecidedPair, DeviceRecord, HostRecord, LeaseRecord, PairDecided, PairStage,
    PairingRecord, PendingPair, SessionRecord, TokenState, Unknown,
};
pub use session::{Effect, Effects, Event, Input, PairAnswer, PairError, Session};

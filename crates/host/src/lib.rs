//! The desktop side: agents, transcript, approvals, pairing and the terminal interface.

pub mod agents;
mod clock;
mod control;
mod desk;
mod journal;
mod lines;
mod pairing;
mod requests;
mod rpc;
mod run;
mod transcript;
pub mod ui;
mod view;

pub use control::{ask_for_devices, ask_for_offer, ask_to_revoke};
pub use rpc::Launch;
pub use run::{AgentChoice, HostError, HostOptions, run};
pub use view::{HostView, Offer, UiCommand, is_local};

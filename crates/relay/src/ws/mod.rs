//! Websockets: upgrade, handshake, and the task that owns each socket.

mod compat;
mod connection;
mod guard;
mod handshake;
mod socket;
mod upgrade;

pub(crate) use upgrade::upgrade;

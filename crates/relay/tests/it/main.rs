//! The relay as its clients see it: the real server on free ports and the real client library.

mod affinity;
mod bad_frames;
mod bad_input;
mod brokers;
mod cluster;
mod compat;
mod drain;
mod drain_elsewhere;
mod journey;
mod names;
mod pairing;
mod revoke;
mod strangers;

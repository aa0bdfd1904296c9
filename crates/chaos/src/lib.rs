//! Relay, host and phones as processes, faults at random times, and an auditor that compares what each
//! says it sent with what each says it applied.

pub mod audit;
pub mod cluster;
pub mod faults;
pub mod fleet;
pub mod flow;
pub mod lists;
pub mod proxy;
pub mod report;
pub mod rng;

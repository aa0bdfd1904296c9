//! The simulated network and clock, as relay and clients see them, and the trace of what happens.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use belay_client::{Connecting, Connector, Transport};
use parking_lot::Mutex;

/// When a simulation begins, Unix milliseconds.
pub(crate) const BEGIN_MS: u64 = 1_700_000_000_000;

/// The same as a time of the system.
pub(crate) fn begin() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(BEGIN_MS)
}

/// Simulated Unix time, milliseconds.
pub(crate) fn unix_ms() -> u64 {
    turmoil::since_epoch().map_or(BEGIN_MS, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Connects over the simulated network.
#[derive(Debug)]
pub(crate) struct Network;

impl Connector for Network {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let host = host.to_owned();
        Box::pin(async move {
            let stream = turmoil::net::TcpStream::connect((host.as_str(), port)).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

/// What happened, a line each.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// Adds a line at the simulated time of the host that runs.
    pub(crate) fn note(&self, who: &str, what: &str) {
        self.note_at(turmoil::sim_elapsed().unwrap_or_default(), who, what);
    }

    pub(crate) fn note_at(&self, at: Duration, who: &str, what: &str) {
        self.0.lock().push(format!("{:>7} {who:<6} {what}", at.as_millis()));
    }

    /// All lines until now.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

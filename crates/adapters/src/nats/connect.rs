//! The connection: made once, then kept for ever with pauses that have a bound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerInfo};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    address::{Address, Login},
    answer::{CallError, codes},
    options::{MAX_PAYLOAD_MIN, NatsError, NatsOptions},
    wire::{REQUEST_TIMEOUT, Wire},
};

/// How long one connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Tries at start, over all servers each.
const CONNECT_TRIES: usize = 5;
/// Pauses between tries to connect again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A silent server is asked for a sign of life this often; after two without, the connection is lost.
const PING_EVERY: Duration = Duration::from_secs(1);
/// Messages of one subscription that may wait: more than requests can be in flight. It costs memory only
/// while they wait.
const SUBSCRIPTION_MESSAGES: usize = 8_192;
/// The oldest server that works.
const VERSION_MIN: (u64, u64) = (2, 10);
/// The oldest one that answers one request with many entries.
const VERSION_BATCHES: (u64, u64) = (2, 11);

/// What the connection tells.
#[derive(Debug)]
pub(super) struct Signals {
    /// Changes with every loss.
    lost: watch::Sender<u64>,
    connected: AtomicBool,
    /// Wakes who tells the state.
    pub(super) changed: Notify,
    /// Something may have been missed without a loss.
    dropped: AtomicBool,
    /// The last complaint of the broker: something is not allowed, for instance.
    said: Mutex<Option<String>>,
}

impl Signals {
    pub(super) fn new() -> (Arc<Self>, watch::Receiver<u64>) {
        let (lost, receiver) = watch::channel(0);
        let signals = Self {
            lost,
            connected: AtomicBool::new(true),
            changed: Notify::new(),
            dropped: AtomicBool::new(false),
            said: Mutex::default(),
        };
        (Arc::new(signals), receiver)
    }

    pub(super) fn losses(&self) -> u64 {
        *self.lost.borrow()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    pub(super) fn take_dropped(&self) -> bool {
        self.dropped.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take_said(&self) -> Option<String> {
        self.said.lock().take()
    }

    fn take(&self, event: &Event) {
        match event {
            Event::Disconnected | Event::Closed => {
                self.connected.store(false, Ordering::Release);
                self.lost.send_modify(|n| *n += 1);
            }
            Event::Connected => self.connected.store(true, Ordering::Release),
            Event::SlowConsumer(_) => self.dropped.store(true, Ordering::Release),
            // What is lost with it comes with a loss of the connection.
            Event::ServerError(error) => {
                *self.said.lock() = Some(error.to_string());
                return;
            }
            // A try to connect again that fails is told of each time: that the connection is lost says it.
            Event::LameDuckMode | Event::Draining | Event::ClientError(_) => return,
        }
        self.changed.notify_one();
    }
}

/// Connects to one of the servers.
pub(super) async fn connect(
    options: &NatsOptions,
    signals: &Arc<Signals>,
) -> Result<Client, NatsError> {
    let address = Address::parse(&options.url)?;
    let mut last = String::new();
    for _ in 0..CONNECT_TRIES {
        let settings = settings(options, &address, signals).await?;
        let servers = address.hosts();
        match settings.connect(&address.servers[..]).await {
            Ok(client) => return Ok(client),
            Err(error) => {
                let refusals =
                    [ConnectErrorKind::Authentication, ConnectErrorKind::AuthorizationViolation];
                if refusals.contains(&error.kind()) {
                    return Err(NatsError::Unauthorized { servers });
                }
                last = error.to_string();
            }
        }
        sleep(PAUSE_MAX / 4).await;
    }
    Err(NatsError::Unreachable { servers: address.hosts(), reason: last })
}

async fn settings(
    options: &NatsOptions,
    address: &Address,
    signals: &Arc<Signals>,
) -> Result<ConnectOptions, NatsError> {
    let signals = signals.clone();
    let mut settings = ConnectOptions::new()
        .name(format!("belay {}", options.node))
        .require_tls(address.tls)
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_EVERY)
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .max_reconnects(None)
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            signals.take(&event);
            std::future::ready(())
        });
    settings = match address.login.clone() {
        Some(Login::Token(token)) => settings.token(token),
        Some(Login::User { name, password }) => settings.user_and_password(name, password),
        None => settings,
    };
    if let Some(path) = &options.ca {
        settings = settings.add_root_certificates(path.clone());
    }
    if let Some(path) = &options.credentials {
        let read = settings.credentials_file(path).await;
        settings = read.map_err(|e| NatsError::Credentials {
            path: path.display().to_string(),
            reason: e.kind().to_string(),
        })?;
    }
    Ok(settings)
}

fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(8);
    (PAUSE_MIN * (1 << doublings)).min(PAUSE_MAX)
}

/// Tells whether the broker can do what is needed.
pub(super) async fn check_server(client: &Client, wire: &Wire) -> Result<(), NatsError> {
    let ServerInfo { version, max_payload, .. } = client.server_info();
    if parsed(&version).is_none_or(|found| found < VERSION_MIN) {
        return Err(NatsError::Version { found: version });
    }
    if max_payload < MAX_PAYLOAD_MIN {
        return Err(NatsError::Payload { found: max_payload });
    }
    let mut tries = 0;
    loop {
        tries += 1;
        let asked = wire.call::<Value>("INFO", &Value::Null, REQUEST_TIMEOUT).await;
        let Err(error) = asked else { return Ok(()) };
        let off = matches!(
            error,
            CallError::Nobody
                | CallError::Refused { code: codes::NOT_ENABLED | codes::NOT_FOR_ACCOUNT, .. }
        );
        // A server that just started may not serve it yet.
        if tries >= CONNECT_TRIES {
            let reason = error.to_string();
            let subjects = "$JS.API.INFO".to_owned();
            return Err(if off {
                NatsError::NoJetStream(reason)
            } else {
                NatsError::Stream { subjects, reason }
            });
        }
        sleep(PAUSE_MAX / 4).await;
    }
}

/// Tells whether the server that we are connected with answers one request with many entries.
pub(super) fn has_batches(client: &Client) -> bool {
    parsed(&client.server_info().version) >= Some(VERSION_BATCHES)
}

fn parsed(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, known) in [("2.9.25", false), ("2.10.0", true), ("2.15.1", true)] {
            assert_eq!(parsed(version) >= Some(VERSION_MIN), known, "{version}");
        }
        assert!(parsed("dev") < Some(VERSION_MIN));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses: Vec<_> = (0..8).map(|n| pause(n).as_millis()).collect();
        assert_eq!(pauses, [100, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(pause(usize::MAX), PAUSE_MAX);
    }
}

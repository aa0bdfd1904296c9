//! The task of a socket that speaks the compat protocol, from `relay.auth` to the close frame. Every end
//! is told as text `disconnect{reason}` before the close frame; 1008 only where the phone is to forget
//! its pairing.

mod auth;

use std::{sync::Arc, time::Duration};

use belay_core::{Gcra, Input, session::OutFrame, token::Principal};
use belay_wire::{CloseCode, ConnectionId, Secret, compat::Told};
use tokio::{sync::watch, time::Instant};

use super::{
    guard::{DetachOnDrop, Unauthenticated},
    socket::{Incoming, Socket, Transport, WriteError},
};
use crate::{
    drain::Order,
    history::{By, How},
    metrics::count,
    node::{Node, unix_ms},
    registry::{Handle, Signal},
};
use auth::{Refusal, authenticate};

/// How long the farewell may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(500);
const MINUTE: Duration = Duration::from_mins(1);
/// How long a socket waits for the logs of its channels.
const LOGS_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a socket ends: what its client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    reason: &'static str,
    code: u16,
}

const fn end(reason: &'static str, code: u16) -> End {
    End { reason, code }
}

const SHUTDOWN: End = end("server_shutdown", 1012);
const SLOW: End = end("slow_consumer", 4508);

/// What is known of a socket before its first frame.
pub(super) struct Arrival {
    pub(super) origin: Option<String>,
    /// A token in the query, where that is allowed.
    pub(super) token: Option<Secret>,
}

/// Serves a socket until it ends.
pub(super) async fn run<T: Transport>(
    node: Arc<Node>,
    mut socket: Socket<T>,
    arrival: Arrival,
    place: Unauthenticated,
) {
    let attached = match Box::pin(authenticate(&node, &mut socket, &arrival)).await {
        Ok(attached) => attached,
        Err(Refusal { end, cause }) => {
            count(&node.metrics.auth_failures, cause);
            drop(place);
            tracing::info!(reason = end.reason, cause, "authentication refused");
            return farewell(&node, socket, Vec::new(), end).await;
        }
    };
    let (handle, attach) = attached;
    let (id, is_host) = (attach.connection, attach.claims.principal == Principal::Host);
    let signal = Arc::new(Signal::default());
    handle.add_signal(id, signal.clone());
    let detach = DetachOnDrop { node: node.clone(), handle: handle.clone(), id };
    node.drive(&handle, Input::Attach(Box::new(attach))).await;
    drop(place);
    socket.authenticated();
    until_logs_open(&handle, id).await;
    let now = Instant::now();
    let link = Link {
        rate: Gcra::every(
            MINUTE / node.config.ws_messages_per_minute,
            node.config.ws_messages_per_minute,
        ),
        ping_at: now + node.config.compat_heartbeat,
        orders: node.drain.orders(),
        node,
        handle,
        id,
        signal,
        is_host,
        leave_at: None,
        began_at: unix_ms(),
        peer_code: None,
        _detach: detach,
    };
    link.serve(socket).await;
}

/// These clients cannot be told that a log is not there yet: what they say would be refused.
async fn until_logs_open(handle: &Handle, id: ConnectionId) {
    let deadline = Instant::now() + LOGS_TIMEOUT;
    while !handle.session.lock().are_logs_open(id) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn leave(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn farewell<T: Transport>(
    node: &Node,
    mut socket: Socket<T>,
    mut last: Vec<OutFrame>,
    end: End,
) {
    count(&node.metrics.closes, end.reason);
    last.push(OutFrame::Text(Told::Disconnect { reason: end.reason }.encode().into()));
    let _ = tokio::time::timeout(FAREWELL_TIMEOUT, socket.write(last)).await;
    socket.close_with(end.code, end.reason).await;
}

struct Link {
    node: Arc<Node>,
    handle: Arc<Handle>,
    id: ConnectionId,
    signal: Arc<Signal>,
    is_host: bool,
    orders: watch::Receiver<Option<Order>>,
    /// When this socket is closed because the node drains.
    leave_at: Option<Instant>,
    /// Unix milliseconds.
    began_at: u64,
    /// The code of the peer's close frame.
    peer_code: Option<u16>,
    rate: Gcra,
    ping_at: Instant,
    _detach: DetachOnDrop,
}

impl Link {
    async fn serve<T: Transport>(mut self, mut socket: Socket<T>) {
        let end = self.turn(&mut socket).await;
        self.remember(end, socket.silent_for());
        let Some(end) = end else { return };
        tracing::info!(connection = %self.id, reason = end.reason, "closing");
        let last = if end == SLOW { Vec::new() } else { self.pull().0 };
        let node = self.node.clone();
        if end == SLOW {
            node.metrics.slow_consumers.inc();
        }
        // A close is a departure at once, however long its handshake takes.
        drop(self);
        farewell(&node, socket, last, end).await;
    }

    fn remember(&self, end: Option<End>, silent: Duration) {
        let how = match (end, self.peer_code) {
            (Some(end), _) => How { by: By::Relay, code: Some(end.code), reason: end.reason },
            (None, code) => How::gone(code),
        };
        self.node.remember(&self.handle, self.id, self.began_at, silent, how);
    }

    /// Reads, writes and keeps time until the socket ends; `None`: the peer is gone.
    async fn turn<T: Transport>(&mut self, socket: &mut Socket<T>) -> Option<End> {
        loop {
            if let Some(code) = self.signal.closing() {
                return Some(self.end_of(code));
            }
            if let Err(end) = self.write(socket).await {
                return end;
            }
            tokio::select! {
                incoming = socket.next() => {
                    if let Err(end) = self.read(incoming).await {
                        return end;
                    }
                }
                () = self.signal.woken() => {}
                () = tokio::time::sleep_until(self.ping_at) => {
                    if let Err(end) = self.beat(socket).await {
                        return end;
                    }
                }
                Ok(()) = self.orders.changed() => {
                    let order = self.orders.borrow_and_update().clone();
                    self.leave_at = order.map(|order| Instant::now() + order.slot());
                }
                () = leave(self.leave_at) => return Some(SHUTDOWN),
                () = self.node.stopping.cancelled() => return Some(SHUTDOWN),
            }
        }
    }

    fn end_of(&self, code: CloseCode) -> End {
        match code {
            CloseCode::TakenOver | CloseCode::Moved | CloseCode::OutdatedAttempt
                if self.is_host =>
            {
                end("desktop_reconnected", 4500)
            }
            CloseCode::TakenOver | CloseCode::Moved | CloseCode::OutdatedAttempt => {
                end("device_reconnected", 4500)
            }
            CloseCode::Revoked => end("device_revoked", 1008),
            CloseCode::SessionEnded => match self.handle.session.lock().end_reason() {
                Some("retention_expired") => end("retention_expired", 4500),
                reason => end(reason.unwrap_or("session_expired"), 1008),
            },
            CloseCode::UnknownDevice | CloseCode::StaleToken | CloseCode::NotAuthenticated => {
                end("session_expired", 1008)
            }
            CloseCode::RateLimited => end("device_cap_reached", 4500),
            CloseCode::SlowConsumer => SLOW,
            CloseCode::PingTimeout => end("heartbeat_timeout", 4500),
            CloseCode::Unavailable if self.node.stopping.is_cancelled() => SHUTDOWN,
            CloseCode::Unavailable => end("store_unavailable", 1013),
            CloseCode::ProtocolError => end("invalid_json", 1003),
        }
    }

    fn pull(&self) -> (Vec<OutFrame>, bool) {
        let mut session = self.handle.session.lock();
        let pulled = self.node.with_env(|env| session.pull(self.id, env));
        drop(session);
        if pulled.more {
            self.signal.wake();
        }
        (pulled.frames, pulled.close.is_some())
    }

    async fn write<T: Transport>(&self, socket: &mut Socket<T>) -> Result<(), Option<End>> {
        let (frames, is_slow) = self.pull();
        if is_slow {
            return Err(Some(SLOW));
        }
        if frames.is_empty() {
            return Ok(());
        }
        let written = {
            let mut writing = std::pin::pin!(socket.write(frames));
            loop {
                tokio::select! {
                    written = &mut writing => break written,
                    () = self.signal.woken() => {}
                }
                if let Some(code) = self.signal.closing() {
                    return Err(Some(self.end_of(code)));
                }
                if self.lags() {
                    return Err(Some(SLOW));
                }
            }
        };
        match written {
            Ok(()) => {}
            Err(WriteError::Gone) => return Err(None),
            Err(WriteError::Stuck) => {
                self.node.metrics.outbound_failures.inc();
                return Err(Some(SLOW));
            }
        }
        // What came while this was written is looked at again.
        self.signal.wake();
        self.node.drive(&self.handle, Input::Wrote { connection: self.id }).await;
        Ok(())
    }

    fn lags(&self) -> bool {
        let lag = self.handle.session.lock().lag(self.id);
        lag >= u64::try_from(self.node.config.outbound_queue).unwrap_or(u64::MAX)
    }

    async fn read(&mut self, incoming: Incoming) -> Result<(), Option<End>> {
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Binary(_) => return Err(Some(end("binary_not_supported", 1003))),
            Incoming::Malformed(_) => return Err(Some(end("protocol_error", 1002))),
            Incoming::NotUtf8(_) => return Err(Some(end("invalid_utf8", 1007))),
            Incoming::TooLarge => return Err(Some(end("message_too_large", 1009))),
            Incoming::Gone(code) => {
                self.peer_code = code;
                return Err(None);
            }
        };
        if self.rate.take(Instant::now().into_std()).is_err() {
            return Err(Some(end("socket_rate_limited", 1013)));
        }
        let (connection, text) = (self.id, text.as_str().to_owned());
        self.node.drive(&self.handle, Input::CompatText { connection, text, commit: true }).await;
        Ok(())
    }

    async fn beat<T: Transport>(&mut self, socket: &mut Socket<T>) -> Result<(), Option<End>> {
        let config = &self.node.config;
        let limit = config.compat_heartbeat_timeout.max(2 * config.compat_heartbeat);
        if socket.silent_for() >= limit {
            return Err(Some(end("heartbeat_timeout", 4500)));
        }
        self.ping_at = Instant::now() + config.compat_heartbeat;
        match socket.ping().await {
            Ok(()) => Ok(()),
            Err(WriteError::Gone) => Err(None),
            Err(WriteError::Stuck) => Err(Some(SLOW)),
        }
    }
}

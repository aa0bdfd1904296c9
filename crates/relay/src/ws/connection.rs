//! The task that owns one socket, from `hello` to the close frame.

use std::{sync::Arc, time::Duration};

use belay_core::{Input, session::OutFrame};
use belay_wire::{Bye, CloseCode, ConnectionId, Drain, Frame, Ping, Verdict, binary::BinaryFrame};
use tokio::{sync::watch, time::Instant};

use super::{
    guard::{DetachOnDrop, Unauthenticated},
    handshake::{Refusal, handshake, retry_delay},
    socket::{Incoming, Socket, Transport, WriteError},
};
use crate::{
    drain::Order,
    entropy,
    history::{By, How},
    metrics::count,
    node::{Node, unix_ms},
    registry::{Handle, Signal},
};

/// Frames read before what they caused is written.
const READ_BATCH: usize = 32;
/// How long a batch may still take once the connection is to be closed.
const CLOSING_WRITE_TIMEOUT: Duration = Duration::from_millis(500);
/// Pings without an answer after which a peer counts as gone.
const MISSED_PINGS_MAX: u32 = 2;

/// Serves a socket until it ends.
pub(super) async fn run<T: Transport>(
    node: Arc<Node>,
    mut socket: Socket<T>,
    origin: String,
    place: Unauthenticated,
) {
    match Box::pin(handshake(&node, &mut socket, &origin)).await {
        Ok((handle, attach)) => {
            let id = attach.connection;
            let signal = Arc::new(Signal::default());
            handle.add_signal(id, signal.clone());
            let over = node.metrics.active_websockets() >= capacity(&node);
            if node.drain.is_on() {
                node.refuse_upgrade();
                signal.close(CloseCode::Unavailable);
            } else if over {
                count(&node.metrics.auth_failures, "over_capacity");
                signal.close(CloseCode::Unavailable);
            } else {
                node.drive(&handle, Input::Attach(Box::new(attach))).await;
            }
            drop(place);
            socket.authenticated();
            let task = Connection::new(node, handle, id, signal);
            task.serve(socket).await;
        }
        Err(refusal) => {
            drop(place);
            refuse(&node, socket, &refusal).await;
        }
    }
}

fn capacity(node: &Node) -> i64 {
    i64::try_from(node.config.connections_max).unwrap_or(i64::MAX)
}

async fn refuse<T: Transport>(node: &Node, mut socket: Socket<T>, refusal: &Refusal) {
    count(&node.metrics.auth_failures, refusal.cause);
    tracing::info!(code = refusal.code.code(), cause = refusal.cause, "authentication refused");
    count(&node.metrics.closes, refusal.code.label());
    let _ = socket.write(vec![bye(refusal.code)]).await;
    socket.close(refusal.code).await;
}

fn bye(code: CloseCode) -> OutFrame {
    let delay = u64::try_from(retry_delay(code).as_millis()).unwrap_or(u64::MAX);
    text(Bye {
        code: code.code(),
        reason: code.label().to_owned(),
        retry: code.verdict() != Verdict::Stop,
        retry_in_ms: delay,
    })
}

fn text(frame: impl Into<Frame>) -> OutFrame {
    OutFrame::Text(frame.into().encode().into())
}

/// Why the loop ended.
enum End {
    /// The peer is gone, with a close frame of this code or without one; there is nobody to tell.
    Gone(Option<u16>),
    /// The relay closes.
    Close(CloseCode),
}

struct Connection {
    node: Arc<Node>,
    handle: Arc<Handle>,
    id: ConnectionId,
    signal: Arc<Signal>,
    ping_at: Instant,
    rotate_at: Instant,
    orders: watch::Receiver<Option<Order>>,
    /// When this socket is closed because the node drains.
    leave_at: Option<Instant>,
    pings: u64,
    missed: u32,
    /// Unix milliseconds.
    began_at: u64,
    _detach: DetachOnDrop,
}

impl Connection {
    fn new(node: Arc<Node>, handle: Arc<Handle>, id: ConnectionId, signal: Arc<Signal>) -> Self {
        let beat = u64::try_from(node.config.heartbeat.as_millis()).unwrap_or(u64::MAX);
        let now = Instant::now();
        let ping_at = now + Duration::from_millis(entropy::below(beat));
        let rotate_at = now + node.policy.rotation_after;
        let detach = DetachOnDrop { node: node.clone(), handle: handle.clone(), id };
        let orders = node.drain.orders();
        Self {
            node,
            handle,
            id,
            signal,
            ping_at,
            rotate_at,
            orders,
            leave_at: None,
            pings: 0,
            missed: 0,
            began_at: unix_ms(),
            _detach: detach,
        }
    }

    async fn serve<T: Transport>(mut self, mut socket: Socket<T>) {
        let end = self.turn(&mut socket).await;
        let how = match end {
            End::Gone(code) => How::gone(code),
            End::Close(code) => {
                How { by: By::Relay, code: Some(code.code()), reason: code.label() }
            }
        };
        self.node.remember(&self.handle, self.id, self.began_at, socket.silent_for(), how);
        let End::Close(code) = end else { return };
        count(&self.node.metrics.closes, code.label());
        let mut last = self.pull();
        if self.node.stopping.is_cancelled() {
            last.push(self.drain_frame());
        }
        last.push(bye(code));
        // A peer that does not read is not waited for.
        let _ = tokio::time::timeout(CLOSING_WRITE_TIMEOUT, socket.write(last)).await;
        drop(self);
        socket.close(code).await;
    }

    fn drain_frame(&self) -> OutFrame {
        let grace = u64::try_from(self.node.config.shutdown_grace.as_millis()).unwrap_or(0);
        text(Drain {
            reason: "shutdown".to_owned(),
            deadline_ms: unix_ms() + grace,
            reconnect_in_ms: 100 + entropy::below(self.spread_ms(grace / 2)),
            endpoint: None,
        })
    }

    /// Over how long clients come back: the more there are, the longer.
    fn spread_ms(&self, most: u64) -> u64 {
        let sockets = u64::try_from(self.node.metrics.active_websockets()).unwrap_or(0);
        (sockets / 2).min(most).max(400)
    }

    /// Reads, writes and keeps time until the connection ends.
    async fn turn<T: Transport>(&mut self, socket: &mut Socket<T>) -> End {
        loop {
            if let Some(code) = self.signal.closing() {
                return End::Close(code);
            }
            if let Err(end) = self.write(socket).await {
                return end;
            }
            let ack_at = self.handle.session.lock().pull_deadline(self.id);
            let ack_at = ack_at.map(Instant::from_std);
            tokio::select! {
                incoming = socket.next() => {
                    if let Err(end) = self.read(socket, incoming).await {
                        return end;
                    }
                }
                () = self.signal.woken() => {}
                () = until(ack_at) => {}
                () = tokio::time::sleep_until(self.ping_at) => {
                    if let Err(end) = self.ping(socket).await {
                        return end;
                    }
                }
                () = tokio::time::sleep_until(self.rotate_at) => self.rotate(),
                Ok(()) = self.orders.changed() => {
                    if let Err(end) = self.ordered(socket).await {
                        return end;
                    }
                }
                () = until(self.leave_at) => {
                    self.node.drain.forced();
                    return End::Close(CloseCode::Unavailable);
                }
                () = self.node.stopping.cancelled() => return End::Close(CloseCode::Unavailable),
            }
        }
    }

    /// The node drains, or does so no longer.
    async fn ordered<T: Transport>(&mut self, socket: &mut Socket<T>) -> Result<(), End> {
        let order = self.orders.borrow_and_update().clone();
        self.leave_at = order.as_ref().map(Order::end);
        let Some(order) = order else { return Ok(()) };
        let slot = u64::try_from(order.slot().as_millis()).unwrap_or(0);
        let drain = text(Drain {
            reason: order.reason,
            deadline_ms: order.deadline_ms,
            reconnect_in_ms: slot,
            endpoint: order.endpoint,
        });
        self.write_frames(socket, vec![drain]).await
    }

    fn pull(&self) -> Vec<OutFrame> {
        let mut session = self.handle.session.lock();
        let pulled = self.node.with_env(|env| session.pull(self.id, env));
        drop(session);
        for gap in &pulled.gaps {
            self.node.metrics.gap_told(gap);
        }
        if pulled.more {
            self.signal.wake();
        }
        pulled.frames
    }

    async fn write<T: Transport>(&self, socket: &mut Socket<T>) -> Result<(), End> {
        let frames = self.pull();
        if frames.is_empty() { Ok(()) } else { self.write_frames(socket, frames).await }
    }

    async fn write_frames<T: Transport>(
        &self,
        socket: &mut Socket<T>,
        frames: Vec<OutFrame>,
    ) -> Result<(), End> {
        let written = {
            let mut writing = std::pin::pin!(socket.write(frames));
            let mut was_woken = false;
            let written = loop {
                tokio::select! {
                    written = &mut writing => break Some(written),
                    () = self.signal.woken() => was_woken = true,
                }
                if self.signal.closing().is_some() {
                    // A peer that does not read is not waited for.
                    break tokio::time::timeout(CLOSING_WRITE_TIMEOUT, writing).await.ok();
                }
            };
            if was_woken {
                self.signal.wake();
            }
            written
        };
        match written {
            Some(written) => self.written(written),
            None => Err(End::Gone(None)),
        }
    }

    fn written(&self, result: Result<(), WriteError>) -> Result<(), End> {
        match result {
            Ok(()) => Ok(()),
            Err(WriteError::Gone) => Err(End::Gone(None)),
            Err(WriteError::Stuck) => {
                self.node.metrics.outbound_failures.inc();
                self.node.metrics.slow_consumers.inc();
                Err(End::Close(CloseCode::SlowConsumer))
            }
        }
    }

    async fn read<T: Transport>(
        &mut self,
        socket: &mut Socket<T>,
        first: Incoming,
    ) -> Result<(), End> {
        let mut incoming = Some(first);
        for _ in 0..READ_BATCH {
            let Some(frame) = incoming else { return Ok(()) };
            self.handle_incoming(frame).await?;
            if self.signal.closing().is_some() {
                return Ok(());
            }
            incoming = socket.ready().await;
        }
        match incoming {
            Some(frame) => self.handle_incoming(frame).await,
            None => Ok(()),
        }
    }

    async fn handle_incoming(&mut self, incoming: Incoming) -> Result<(), End> {
        self.missed = 0;
        let connection = self.id;
        let input = match incoming {
            Incoming::Text(text) => match belay_wire::decode(text.as_str()) {
                Ok(Frame::Pong(pong)) => {
                    let millis = unix_ms().saturating_sub(pong.t);
                    self.node.metrics.round_trip(Duration::from_millis(millis));
                    return Ok(());
                }
                Ok(frame) => Input::Frame { connection, frame: Box::new(frame) },
                Err(error) => return self.protocol_error(&error.to_string()),
            },
            Incoming::Binary(bytes) => match BinaryFrame::decode(bytes) {
                Ok(frame) => Input::Binary { connection, frame },
                Err(error) => return self.protocol_error(&error.to_string()),
            },
            Incoming::Gone(code) => return Err(End::Gone(code)),
            Incoming::Malformed(cause) | Incoming::NotUtf8(cause) => {
                return self.protocol_error(&cause);
            }
            Incoming::TooLarge => return self.protocol_error("frame is too large"),
        };
        self.node.drive(&self.handle, input).await;
        Ok(())
    }

    fn protocol_error(&self, cause: &str) -> Result<(), End> {
        self.node.metrics.protocol_errors.inc();
        tracing::info!(connection = %self.id, cause, "protocol error");
        Err(End::Close(CloseCode::ProtocolError))
    }

    async fn ping<T: Transport>(&mut self, socket: &mut Socket<T>) -> Result<(), End> {
        if self.missed >= MISSED_PINGS_MAX {
            return Err(End::Close(CloseCode::PingTimeout));
        }
        self.missed += 1;
        self.pings += 1;
        self.ping_at = Instant::now() + self.node.config.heartbeat;
        let top = self.handle.session.lock().top(self.id);
        let ping = text(Ping { n: self.pings, t: unix_ms(), top: Some(top) });
        self.write_frames(socket, vec![ping]).await
    }

    fn rotate(&mut self) {
        self.rotate_at = Instant::now() + self.node.policy.rotation_after;
        let mut session = self.handle.session.lock();
        if self.node.with_env(|env| session.rotate(self.id, env)) {
            self.signal.wake();
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

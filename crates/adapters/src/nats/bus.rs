//! Messages between nodes that are never stored.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_nats::Message;
use belay_core::ports::{BusEvent, BusFrame, BusListener};
use belay_wire::SessionId;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{
    Inner,
    answer::CallError,
    frame::{Seal, Sender},
    options::NatsOptions,
    replay::Replays,
};

/// Frames that wait to be sent; more are dropped.
const QUEUE_FRAMES: usize = 1_024;
/// Their bytes.
const QUEUE_BYTES: u64 = 16 * 1024 * 1024;
/// How long a message to itself may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is told that frames with a wrong signature come.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// Checks that wait at once.
const CHECKS_MAX: usize = 64;

/// A frame on its way.
pub(super) struct Outgoing {
    subject: String,
    bytes: Bytes,
}

/// This node's end of the bus.
#[derive(Debug)]
pub(super) struct BusEnd {
    node: String,
    seal: Seal,
    queue: mpsc::Sender<Outgoing>,
    queued_bytes: AtomicU64,
    count: AtomicU64,
    replays: Mutex<Replays>,
    pub(super) listeners: Listeners,
    refused: Mutex<HashMap<&'static str, u64>>,
    /// How many frames with a wrong signature were told of, and when.
    forged_told: Mutex<Option<(u64, Instant)>>,
    checks: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

/// Who is told.
#[derive(Default)]
pub(super) struct Listeners(RwLock<Vec<BusListener>>);

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} listeners", self.0.read().len())
    }
}

impl Listeners {
    pub(super) fn add(&self, listener: BusListener) {
        self.0.write().push(listener);
    }

    pub(super) fn tell(&self, event: &BusEvent) {
        self.0.read().iter().for_each(|listener| listener(event.clone()));
    }
}

impl BusEnd {
    pub(super) fn new(options: &NatsOptions) -> (Self, mpsc::Receiver<Outgoing>) {
        let (queue, outgoing) = mpsc::channel(QUEUE_FRAMES);
        let replays = Replays::new(options.replay_window, options.clock_skew);
        let end = Self {
            node: options.node.clone(),
            seal: Seal::new(options.hmac_secret.expose().as_bytes()),
            queue,
            queued_bytes: AtomicU64::new(0),
            count: AtomicU64::new(0),
            replays: Mutex::new(replays),
            listeners: Listeners::default(),
            refused: Mutex::default(),
            forged_told: Mutex::default(),
            checks: Mutex::default(),
        };
        (end, outgoing)
    }

    /// A frame was not taken, or not sent.
    pub(super) fn refuse(&self, reason: &'static str) {
        *self.refused.lock().entry(reason).or_default() += 1;
    }

    /// That frames with a wrong signature come, at first and then once a minute.
    pub(super) fn take_note(&self) -> Option<String> {
        let count = self.refused.lock().get("signature").copied()?;
        let mut told = self.forged_told.lock();
        let (before, at) = told.unzip();
        let fresh = count - before.unwrap_or(0);
        if fresh == 0 || at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return None;
        }
        *told = Some((count, Instant::now()));
        Some(format!(
            "refused since the last such line, because the signature is wrong: {fresh} words of other nodes. A \
             relay that uses these brokers and the same --subject-prefix has, or had, another --bus-secret; \
             give all the same (BELAY_BUS_SECRET), or another cluster a prefix of its own"
        ))
    }

    pub(super) fn refused(&self) -> Vec<(&'static str, u64)> {
        let mut all: Vec<_> = self.refused.lock().iter().map(|(r, n)| (*r, *n)).collect();
        all.sort_unstable();
        all
    }

    /// Queues a frame to other nodes; drops it if there is no room.
    pub(super) fn tell(&self, subject: String, frame: &BusFrame) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let sender = Sender { node: self.node.clone(), at: now_ms(), count };
        let Some(bytes) = self.seal.encode(&subject, sender, frame) else {
            self.refuse("unsent");
            return;
        };
        let len = bytes.len() as u64;
        if self.queued_bytes.fetch_add(len, Ordering::AcqRel) + len > QUEUE_BYTES
            || self.queue.try_send(Outgoing { subject, bytes }).is_err()
        {
            self.queued_bytes.fetch_sub(len, Ordering::AcqRel);
            self.refuse("unsent");
        }
    }

    /// Another node said something.
    pub(super) fn take(&self, inner: &Inner, session: SessionId, message: &Message) {
        match self.read(inner, session, message) {
            Ok(Some(frame)) => self.listeners.tell(&BusEvent::Told { session, frame }),
            Ok(None) => {}
            Err(reason) => self.refuse(reason),
        }
    }

    fn read(
        &self,
        inner: &Inner,
        session: SessionId,
        message: &Message,
    ) -> Result<Option<BusFrame>, &'static str> {
        let opened = self.seal.open(&message.subject, &message.payload)?;
        let Sender { node, at, count } = &opened.sender;
        if *node == self.node {
            return Ok(None);
        }
        self.replays.lock().take(node, *count, *at, now_ms())?;
        if !inner.watch.is_watched(session) {
            return Err("session");
        }
        opened.frame().map(Some)
    }

    /// A message of this node to itself came back.
    pub(super) fn heard_itself(&self, payload: &[u8]) {
        let token = <[u8; 8]>::try_from(payload).map(u64::from_be_bytes);
        let waits = token.ok().and_then(|token| self.checks.lock().remove(&token));
        if let Some(waits) = waits {
            let _ = waits.send(());
        }
    }
}

impl Inner {
    /// Sends a message to itself and waits for it, and asks whether anything can be stored.
    pub(super) async fn check_bus(&self) -> Result<(), CallError> {
        let token = self.bus.count.fetch_add(1, Ordering::Relaxed) + 1;
        let (tell, heard) = oneshot::channel();
        {
            let mut checks = self.bus.checks.lock();
            checks.retain(|_, waits| !waits.is_closed());
            if checks.len() >= CHECKS_MAX {
                return Err(CallError::Late);
            }
            checks.insert(token, tell);
        }
        let subject = self.streams.names.node(&self.options.node);
        let exchange = async {
            let payload = Bytes::copy_from_slice(&token.to_be_bytes());
            self.wire.publish(subject, payload).await?;
            heard.await.map_err(|_| CallError::Lost)
        };
        tokio::time::timeout(CHECK_TIMEOUT, exchange).await.unwrap_or(Err(CallError::Late))?;
        self.wire.call::<Value>("INFO", &Value::Null, CHECK_TIMEOUT).await.map(|_| ())
    }
}

/// Sends what waits.
pub(super) async fn send(inner: Arc<Inner>, mut outgoing: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { subject, bytes }) = outgoing.recv().await {
        let len = bytes.len() as u64;
        if inner.wire.publish(subject, bytes).await.is_err() {
            inner.bus.refuse("unsent");
        }
        inner.bus.queued_bytes.fetch_sub(len, Ordering::AcqRel);
    }
}

/// Unix time in milliseconds.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

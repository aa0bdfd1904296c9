//! Channel logs in `JetStream`, and a bus over core NATS, on one connection.
//!
//! Each channel is a subject of a stream of its shard and direction, each append one message that is stored
//! only if the subject ends where the caller believes. Streams republish what they stored, so that one
//! subscription per session brings its entries and what nodes tell each other. The name of a stream holds
//! its incarnation: who lost one sees another.

mod address;
mod answer;
mod append;
mod bus;
mod compare;
mod connect;
mod dispatch;
mod entry;
mod frame;
mod load;
mod look;
mod names;
mod options;
mod ports;
mod purge;
mod replay;
mod settings;
mod streams;
mod watch;
mod wire;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use belay_core::ports::{BusEvent, Listener};
use parking_lot::RwLock;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    task::AbortHandle,
};

pub use options::{NatsError, NatsOptions, StreamLimits};

use self::{
    append::Flight, bus::BusEnd, connect::Signals, entry::Unreadable, purge::Purges,
    streams::Streams, watch::Watch, wire::Wire,
};

/// What all tasks share.
pub(in crate::nats) struct Inner {
    options: NatsOptions,
    runtime: Handle,
    wire: Arc<Wire>,
    streams: Streams,
    signals: Arc<Signals>,
    watch: Watch,
    listeners: RwLock<Vec<Listener>>,
    doubt: Notify,
    flight: Flight,
    loads: Semaphore,
    purges: Purges,
    unreadable: Unreadable,
    bus: BusEnd,
    batches: AtomicBool,
}

impl Inner {
    /// Tells whether one request can have many answers.
    fn has_batches(&self) -> bool {
        self.batches.load(Ordering::Relaxed)
    }
}

/// Ends the tasks with the last handle.
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// A connection to a broker; clones share it.
#[derive(Clone)]
pub struct Nats {
    inner: Arc<Inner>,
    _tasks: Arc<Tasks>,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Nats {
    /// Reads a URL, and connects to nothing.
    pub(crate) fn check_url(url: &str) -> Result<(), NatsError> {
        address::Address::parse(url).map(|_| ())
    }

    /// Connects, and makes the streams that are missing. Besides comes what an operator should know:
    /// streams that are not as they are configured, which are left as they are.
    ///
    /// # Errors
    /// [`NatsError`] if the broker cannot be used as it is. It is tried for about half a minute.
    pub async fn connect(options: NatsOptions) -> Result<(Self, Vec<String>), NatsError> {
        options.check()?;
        let (signals, lost) = Signals::new();
        let client = connect::connect(&options, &signals).await?;
        let late = |error: answer::CallError| NatsError::Unreachable {
            servers: "the address".to_owned(),
            reason: error.to_string(),
        };
        let (wire, answers) = Wire::new(client.clone(), lost).await.map_err(late)?;
        let wire = Arc::new(wire);
        let listening = wire.clone();
        let mut tasks = Tasks(Vec::new());
        tasks.spawn(async move { listening.listen(answers).await });
        connect::check_server(&client, &wire).await?;
        let streams = Streams::new(wire.clone(), options.clone());
        let notes = streams.open().await?;

        let away = |_| late(answer::CallError::Away);
        let own = client.subscribe(streams.names.node(&options.node)).await.map_err(away)?;
        let leaders = format!("{}*", dispatch::LEADERS);
        let leaders = client.subscribe(leaders).await.map_err(away)?;
        let (bus, outgoing) = BusEnd::new(&options);
        let inner = Arc::new(Inner {
            options,
            runtime: Handle::current(),
            wire,
            streams,
            signals,
            watch: Watch::default(),
            listeners: RwLock::default(),
            doubt: Notify::new(),
            flight: Flight::default(),
            loads: Semaphore::new(load::LOADS_MAX),
            purges: Purges::default(),
            unreadable: Unreadable::default(),
            bus,
            batches: connect::has_batches(&client).into(),
        });
        tasks.spawn(dispatch::run(inner.clone(), own, leaders));
        tasks.spawn(follow(inner.clone()));
        tasks.spawn(look::doubts(inner.clone()));
        tasks.spawn(look::young(inner.clone()));
        tasks.spawn(look::periodically(inner.clone()));
        tasks.spawn(bus::send(inner.clone(), outgoing));
        Ok((Self { inner, _tasks: Arc::new(tasks) }, notes))
    }

    /// Messages that this node sent to the broker so far.
    pub fn messages(&self) -> u64 {
        self.inner.wire.sent()
    }

    /// Frames of the bus that were not taken, by reason, and as `unsent` those that were dropped before
    /// they were sent.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.inner.bus.refused()
    }

    /// The name of the broker that we are connected with; some have only an id.
    pub fn broker(&self) -> String {
        self.inner.wire.client().server_info().server_name
    }

    /// Why streams could not be written when all were asked last.
    pub fn stream_faults(&self) -> Vec<String> {
        self.inner.streams.faults()
    }

    /// Stored entries that could not be read, by reason: of another version, or damaged.
    pub fn unreadable(&self) -> Vec<(&'static str, u64)> {
        self.inner.unreadable.by_reason()
    }

    /// What was found of streams, and what the broker complained of, since [`Nats::connect`] or since this
    /// was asked last.
    pub fn notes(&self) -> Vec<String> {
        let said = self.inner.signals.take_said();
        let of_bus = self.inner.bus.take_note();
        said.into_iter().chain(of_bus).chain(self.inner.streams.take_notes()).collect()
    }
}

impl Tasks {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task).abort_handle());
    }
}

/// Tells what the connection tells.
async fn follow(inner: Arc<Inner>) {
    let (mut told, mut losses) = (true, inner.signals.losses());
    loop {
        inner.signals.changed.notified().await;
        let (connected, lost) = (inner.signals.is_connected(), inner.signals.losses());
        if lost != losses && told {
            inner.bus.listeners.tell(&BusEvent::Connected { connected: false });
            told = false;
        }
        if connected && !told {
            // It may be another server.
            inner.batches.store(connect::has_batches(inner.wire.client()), Ordering::Relaxed);
            // Subscriptions are made anew before anything else is sent.
            inner.doubt.notify_one();
            inner.watch.set_all_young();
            inner.bus.listeners.tell(&BusEvent::Connected { connected: true });
            told = true;
        }
        losses = lost;
        if inner.signals.take_dropped() {
            inner.doubt.notify_one();
        }
    }
}

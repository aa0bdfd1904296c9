//! What bus and log tell reaches the sessions, in order.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use belay_core::{
    Input,
    ports::{ALL_NODES, BusEvent, BusFrame, LogEvent},
    session::LogTold,
};
use tokio::{sync::mpsc, time::Instant};

use super::Node;
use crate::drain::WINDOW_SECS_MAX;

/// Tasks that give events to sessions.
const LANES: usize = 8;
/// What bus and log have told and the sessions have not heard yet; beyond it all logs are compared.
const EVENTS_MAX: usize = 65_536;

/// Who orders a drain that was asked for at another node.
const ELSEWHERE: &str = "admin of another node";

/// What a session is to hear.
enum Told {
    Log(LogEvent),
    Bus(BusEvent),
}

impl Told {
    /// What one session hears keeps its order; sessions do not wait for each other.
    fn lane(&self) -> usize {
        let session = match self {
            Self::Log(LogEvent::Stored { id, .. } | LogEvent::Tail { id, .. }) => id.session,
            Self::Bus(BusEvent::Told { session, .. }) => *session,
            Self::Log(LogEvent::Doubt) | Self::Bus(BusEvent::Connected { .. }) => return 0,
        };
        usize::from(session.as_bytes()[0]) % LANES
    }
}

impl Node {
    /// Starts what a node of a cluster does without being asked.
    pub(crate) fn join_cluster(self: &Arc<Self>) {
        let Some(cluster) = &self.cluster else { return };
        let mut lanes = Vec::new();
        for _ in 0..LANES {
            let (events, heard) = mpsc::channel(EVENTS_MAX / LANES);
            lanes.push(events);
            self.tasks.spawn(hear(self.clone(), heard));
        }
        let node = self.clone();
        let tell = move |told: Told| {
            if lanes[told.lane()].try_send(told).is_err()
                && let Some(cluster) = &node.cluster
            {
                node.metrics.bus_overrun.inc();
                cluster.overrun.store(true, Ordering::Release);
            }
        };
        let tell = Arc::new(tell);
        let to_log = tell.clone();
        cluster.shared.bus.watch(ALL_NODES);
        self.stores.log.subscribe(Arc::new(move |event| to_log(Told::Log(event))));
        cluster.shared.bus.listen(Arc::new(move |event| tell(Told::Bus(event))));
        self.tasks.spawn(super::renew::renew(self.clone()));
        self.tasks.spawn(super::broker::watch(self.clone()));
        self.tasks.spawn(super::look::poll(self.clone()));
    }

    async fn hear_one(self: &Arc<Self>, told: Told) {
        match told {
            Told::Log(LogEvent::Stored { id, previous, tail, entry }) => {
                if let Some(handle) = self.registry.find(id.session) {
                    let told = LogTold::Stored { previous, tail, entry };
                    self.drive(&handle, Input::Log { channel: id.channel, told }).await;
                }
            }
            Told::Log(LogEvent::Tail { id, tail }) => {
                if let Some(handle) = self.registry.find(id.session) {
                    let told = LogTold::Tail(tail);
                    self.drive(&handle, Input::Log { channel: id.channel, told }).await;
                }
            }
            Told::Log(LogEvent::Doubt) => self.drive_all(Input::LogsDoubted).await,
            Told::Bus(BusEvent::Told { session: ALL_NODES, frame }) => self.hear_node(frame),
            Told::Bus(BusEvent::Told { session, frame }) => {
                let Some(handle) = self.registry.find(session) else { return };
                if matches!(frame, BusFrame::Changed) {
                    self.hear_of_change(handle).await;
                } else {
                    self.drive(&handle, Input::Bus(frame)).await;
                }
            }
            Told::Bus(BusEvent::Connected { connected }) => {
                let Some(cluster) = &self.cluster else { return };
                cluster.broker.connected(connected);
                if connected {
                    let broker = cluster.shared.parts.nats.broker();
                    tracing::info!(broker, "connected with a broker again; all logs are compared");
                    self.drive_all(Input::LogsDoubted).await;
                } else {
                    tracing::warn!("the connection with the broker is lost; others are tried");
                }
            }
        }
    }

    /// What a node says to all.
    fn hear_node(&self, frame: BusFrame) {
        let Some(cluster) = &self.cluster else { return };
        match frame {
            BusFrame::Node { life, store, keys, drain } => {
                let now = Instant::now();
                if store {
                    cluster.stored_elsewhere.write().said(now);
                }
                if let Some(status) = drain {
                    cluster.drains.lock().told(&life, status, now);
                }
                let own = (&*cluster.shared.life, &*cluster.keys);
                let faults = cluster.strangers.lock().meet(own, &life, &keys, now);
                for fault in faults {
                    tracing::error!("{fault}");
                }
            }
            BusFrame::Drain { instance, reason, seconds, endpoint }
                if self.is_called(&instance) =>
            {
                let window = Duration::from_secs(seconds.clamp(1, WINDOW_SECS_MAX));
                self.begin_drain(ELSEWHERE, &reason, window, endpoint);
            }
            BusFrame::DrainCancelled { instance } if self.is_called(&instance) => {
                self.end_drain(ELSEWHERE);
            }
            BusFrame::Drain { .. }
            | BusFrame::DrainCancelled { .. }
            | BusFrame::Changed
            | BusFrame::Ended { .. }
            | BusFrame::Tail { .. }
            | BusFrame::Applied { .. }
            | BusFrame::Volatile { .. }
            | BusFrame::ToHost { .. } => {}
        }
    }
}

/// Gives what bus and log tell to the sessions, in order.
async fn hear(node: Arc<Node>, mut heard: mpsc::Receiver<Told>) {
    let Some(cluster) = &node.cluster else { return };
    loop {
        let told = tokio::select! {
            told = heard.recv() => told,
            () = node.stopping.cancelled() => return,
        };
        let Some(told) = told else { return };
        node.hear_one(told).await;
        if heard.is_empty() && cluster.overrun.swap(false, Ordering::AcqRel) {
            node.drive_all(Input::LogsDoubted).await;
        }
    }
}

//! Whether messages can be stored and passed to other nodes, as far as this node knows, and that sessions
//! which write nothing are told, too.

mod found;

use std::{sync::Arc, time::Duration};

use belay_core::{Input, ports::StoreError};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use self::found::{Found, News};
use super::{Cluster, Node};
use crate::registry::Handle;

/// Pause between checks, each of which asks every stream.
const PAUSE: Duration = Duration::from_secs(2);

/// What a node knows of the broker.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    found: Mutex<Found>,
    changed: Notify,
}

impl Broker {
    /// The connection was lost, or made anew.
    pub(super) fn connected(&self, connected: bool) {
        self.found.lock().connected(connected, Instant::now());
        self.changed.notify_one();
    }

    /// Tells whether what could not be stored can be tried again.
    pub(crate) fn is_well(&self) -> bool {
        self.found.lock().can_try(Instant::now())
    }

    /// Why nothing can be stored, if that is so for long enough that all were told.
    pub(crate) fn fault(&self) -> Option<String> {
        self.found.lock().fault()
    }
}

impl Node {
    /// Tells whether messages pass and are stored, as far as all were told.
    pub(crate) fn bus_is_away(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.broker.found.lock().away)
    }

    /// After a pause, sends a message to itself, and asks all streams whether they can be written. Answers
    /// when that began, too.
    async fn check_broker(
        &self,
        cluster: &Cluster,
        pause: Duration,
    ) -> (Instant, Result<(), String>) {
        sleep(pause).await;
        let began = Instant::now();
        let asked = async {
            cluster.shared.bus.check().await.map_err(|error| {
                let StoreError::Unavailable(why) = error else { return error.to_string() };
                why
            })?;
            self.stores.log.check().await.map_err(|e| e.to_string())
        };
        (began, asked.await)
    }

    /// A session that came into memory while nothing can be stored was not told.
    pub(in crate::node) async fn tell_if_away(self: &Arc<Self>, handle: &Arc<Handle>) {
        if self.bus_is_away() {
            self.drive(handle, Input::LogAway).await;
        }
    }

    async fn tell_of_broker(self: &Arc<Self>, cluster: &Cluster) {
        let news = cluster.broker.found.lock().news(Instant::now());
        match news {
            Some(News::Away(why)) => {
                tracing::error!(%why, "the bus is away: durable messages wait where they were written");
                self.drive_all(Input::LogAway).await;
            }
            Some(News::Back) => {
                tracing::info!("the bus is back: messages are stored again");
                for handle in self.registry.all() {
                    // Streams of some may still fail: those are looked at again.
                    if self.stores.log.takes(handle.id) {
                        self.drive(&handle, Input::LogWorks).await;
                    }
                }
            }
            None => {}
        }
    }
}

/// Finds out how the broker is, and tells the sessions.
pub(super) async fn watch(node: Arc<Node>) {
    let Some(cluster) = &node.cluster else { return };
    let mut check = Box::pin(node.check_broker(cluster, Duration::ZERO));
    loop {
        let due = cluster.broker.found.lock().due();
        tokio::select! {
            (began, answer) = &mut check => {
                cluster.broker.found.lock().checked(answer, began, Instant::now());
                check = Box::pin(node.check_broker(cluster, PAUSE));
            }
            () = cluster.broker.changed.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = node.stopping.cancelled() => return,
        }
        node.tell_of_broker(cluster).await;
    }
}

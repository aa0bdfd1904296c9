//! A relay inside a simulation: its streams and its wall clock come from outside.

use std::{cell::Cell, net::IpAddr, sync::Arc, time::Duration};

use belay_adapters::{Keys, Stores};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    http::{self, Router},
    node::{Node, Parts},
    origin::Origins,
    serve::{connection, keep_time, stop},
};

thread_local! {
    static CLOCK: Cell<Option<fn() -> u64>> = const { Cell::new(None) };
}

/// From now on, this is the Unix time of relays on this thread, in milliseconds.
pub fn set_clock(clock: fn() -> u64) {
    CLOCK.set(Some(clock));
}

pub(crate) fn unix_ms() -> Option<u64> {
    CLOCK.get().map(|clock| clock())
}

/// A relay without listeners.
#[derive(Debug, Clone)]
pub struct Embedded {
    node: Arc<Node>,
    router: Router,
}

impl Embedded {
    /// Starts a relay; must be called within a runtime.
    pub fn start(config: Config, keys: Keys, stores: Stores) -> Self {
        let origins = Origins::of_listener(config.host, config.port, &[], &config.public_urls);
        let (id, stopping) = (config.instance.clone(), CancellationToken::new());
        let admin_token = String::new();
        let parts = Parts { config, keys, stores, origins, admin_token, id, stopping };
        let node = Arc::new(Node::new(parts));
        keep_time(&node);
        Self { router: http::public(&node), node }
    }

    /// Serves a connection that was accepted.
    pub fn serve<T>(&self, stream: T, peer: IpAddr)
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let serving = connection(self.node.clone(), stream, peer, self.router.clone());
        self.node.tasks.spawn(serving);
    }

    /// Sends the clients away within `window`, as an operator's order does.
    pub fn drain(&self, window: Duration) {
        let sockets = self.node.metrics.active_websockets();
        self.node.drain.start("simulation", "simulated".to_owned(), window, None, sockets);
    }

    /// Takes clients again.
    pub fn end_drain(&self) {
        self.node.drain.end();
    }

    /// Tells every client that the process ends, flushes, and waits.
    pub async fn stop(&self) {
        stop(&self.node).await;
    }
}

//! Is it alive, is it ready, what does it count.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, extract::State, http::StatusCode};
use belay_wire::compat::format_time;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};

use crate::{
    COMMIT, VERSION,
    node::{Cluster, Node, unix_ms},
};

/// `GET /livez`: the process answers.
pub(super) async fn livez() -> Json<Value> {
    Json(json!({ "ok": true }))
}

/// `GET /readyz`: new connections can be served.
pub(super) async fn readyz(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    node.recheck().await;
    let (ok, why) = readiness(&node);
    (status(ok), Json(json!({ "ok": ok, "reason": why })))
}

/// `GET /healthz`, for anybody: no details.
pub(super) async fn healthz(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    tokio::join!(node.take_stock(), node.recheck());
    let (ok, why) = readiness(&node);
    let mut body = json!({
        "ok": ok,
        "reason": why,
        "version": VERSION,
        "commit": COMMIT,
        "sessions": node.metrics.sessions.get(),
        "activeWebSockets": node.metrics.active_websockets(),
        "pendingJoinWaiters": node.metrics.pair_waiters.get(),
        "deviceTokens": node.metrics.device_tokens.get(),
        "now": format_time(unix_ms()),
    });
    node.add_shared(&mut body);
    (status(ok), Json(body))
}

/// `GET /healthz` of the admin listener: with the state of what the node stands on.
pub(super) async fn healthz_details(State(node): State<Arc<Node>>) -> (StatusCode, Json<Value>) {
    // A store that is silent is waited for once.
    let check = node.probe(node.stores.sessions.check());
    let ((), (), checked) = tokio::join!(node.take_stock(), node.recheck(), check);
    let (ok, why) = readiness(&node);
    let body = json!({
        "ok": ok,
        "reason": why,
        "version": VERSION,
        "commit": COMMIT,
        "node": node.id,
        "instance": node.config.instance,
        "region": node.config.region,
        "store": {
            "url": node.config.store.split(':').next(),
            "ok": checked.is_ok(),
            "error": checked.err().map(|e| e.to_string()),
        },
        "cluster": node.cluster.as_ref().map(|cluster| shared(&node, cluster)),
        "log": {
            "ok": node.metrics.sessions_degraded.get() == 0 && !node.bus_is_away(),
            "sessionsDegraded": node.metrics.sessions_degraded.get(),
        },
        "metrics": node.numbers(),
    });
    (status(ok), Json(body))
}

/// What a node shares with others, and how it stands.
fn shared(node: &Node, cluster: &Cluster) -> Value {
    let belay_adapters::Parts { redis, nats, catalog } = &cluster.shared.parts;
    let counts = |counts: Vec<(&'static str, u64)>| -> serde_json::Map<_, _> {
        counts.into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect()
    };
    let revocations = catalog.state();
    json!({
        "life": cluster.shared.life,
        "storeAnswersLate": cluster.circuit.is_open(),
        "nodes": cluster.nodes(),
        "faults": cluster.strangers(),
        "storeCommands": redis.commands(),
        "deviceCountMayBeOff": redis.device_count_drifted(),
        "bus": {
            "ok": !node.bus_is_away(),
            "error": cluster.broker.fault(),
            "failingStreams": nats.stream_faults(),
            "messages": nats.messages(),
            "refused": counts(nats.refused()),
            "unreadable": counts(nats.unreadable()),
        },
        "catalog": {
            "ok": revocations.fault.is_none(),
            "error": revocations.fault,
            "ageMs": u64::try_from(revocations.age.as_millis()).unwrap_or(u64::MAX),
            "revoked": revocations.revoked,
            "restored": revocations.restored,
            "unreadable": revocations.unreadable,
        },
    })
}

/// `GET /metricsz`: numbers only.
pub(super) async fn metricsz(State(node): State<Arc<Node>>) -> Json<Value> {
    node.take_stock().await;
    Json(node.numbers())
}

impl Node {
    /// All numbers, under the names of the earlier relays.
    pub(super) fn numbers(&self) -> Value {
        let mut numbers = self.metrics.json(unix_ms());
        self.add_shared(&mut numbers);
        numbers
    }

    /// Adds whether anything is shared with other nodes, and how many sessions' messages are heard from
    /// the bus.
    fn add_shared(&self, numbers: &mut Value) {
        let shared = self.cluster.is_some();
        numbers["busSubscriptions"] = if shared { self.registry.len() } else { 0 }.into();
        numbers["crossInstanceBusEnabled"] = shared.into();
        numbers["redisPersistenceEnabled"] = shared.into();
    }

    /// Sets the numbers that are counted where they are asked for. What the store does not tell stays.
    pub(super) async fn take_stock(&self) {
        let set = |gauge: &Gauge, n: usize| gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
        let now = self.now();
        let (mut with_phone, mut in_grace, mut commands, mut snapshots) = (0, 0, 0, 0);
        let (mut degraded, mut messages, mut bytes) = (0, 0, 0);
        let handles = self.registry.all();
        for handle in &handles {
            let session = handle.session.lock();
            with_phone += usize::from(session.connected_devices() > 0);
            in_grace += session.tokens_in_grace(now.unix_ms, self.config.rotation_grace);
            let retained = session.retained();
            (messages, bytes) = (messages + retained.0, bytes + retained.1);
            degraded += usize::from(session.is_degraded());
            let (of_commands, of_snapshots) = session.budgets(now.mono);
            commands += of_commands;
            snapshots += of_snapshots;
        }
        let metrics = &self.metrics;
        set(&metrics.sessions_loaded, handles.len());
        set(&metrics.sessions_with_phone, with_phone);
        set(&metrics.rate_buckets, self.rates_kept());
        set(&metrics.command_buckets, commands);
        set(&metrics.snapshot_buckets, snapshots);
        set(&metrics.sessions_degraded, degraded);
        set(&metrics.messages_retained, messages);
        set(&metrics.bytes_retained, bytes);
        set(&metrics.bus_away, usize::from(self.bus_is_away()));
        let failing = |c: &Cluster| c.shared.parts.nats.stream_faults().len();
        set(&metrics.bus_streams_failing, self.cluster.as_ref().map_or(0, failing));
        let late = self.cluster.as_ref().is_some_and(|cluster| cluster.circuit.is_open());
        set(&metrics.store_answers_late, usize::from(late));
        let sessions = self.observe(self.stores.sessions.count());
        let devices = self.observe(self.stores.sessions.count_devices());
        let (sessions, devices) = tokio::join!(sessions, devices);
        if let Ok(sessions) = sessions {
            set(&metrics.sessions, sessions);
        }
        if let Ok(devices) = devices {
            set(&metrics.device_tokens, devices + in_grace);
        }
    }
}

fn readiness(node: &Node) -> (bool, Option<&'static str>) {
    if node.stopping.is_cancelled() {
        (false, Some("stopping"))
    } else if node.drain.is_on() {
        (false, Some("draining"))
    } else if !node.store_ok.load(Ordering::Acquire) {
        (false, Some("store_unavailable"))
    } else if node.bus_is_away() {
        (false, Some("bus_unavailable"))
    } else {
        (true, None)
    }
}

const fn status(ok: bool) -> StatusCode {
    if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

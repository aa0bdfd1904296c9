//! One registry of numbers; `/metrics`, `/metricsz` and `/healthz` are renderings of it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use belay_core::session::GapTold;
use belay_wire::{LOG_AGE_MAX, LOG_BYTES_MAX, LOG_MESSAGES_MAX, compat::format_time};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, text},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use serde_json::{Value, json};

/// A reason label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

/// Labels of an HTTP request; `endpoint` is a route, never a path with ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    pub(crate) endpoint: Cow<'static, str>,
    pub(crate) method: Cow<'static, str>,
    pub(crate) status: u16,
}

/// A counter by reason that knows its reasons and their sum.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reasons {
    counters: Family<Reason, Counter>,
    known: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Reasons {
    /// Counts one.
    pub(crate) fn inc(&self, reason: &'static str) {
        self.known.lock().insert(reason);
        self.counters.get_or_create(&Reason { reason }).inc();
    }

    /// The count of each reason: those named here and those that happened.
    fn counts(&self, named: &[&'static str]) -> BTreeMap<&'static str, u64> {
        let reasons: BTreeSet<_> = self.known.lock().iter().chain(named).copied().collect();
        let count = |reason| self.counters.get(&Reason { reason }).map_or(0, |c| c.get());
        reasons.into_iter().map(|reason| (reason, count(reason))).collect()
    }
}

impl EncodeMetric for Reasons {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.counters.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// Why a websocket did not become authenticated.
pub(crate) const AUTH_FAILURES: &[&str] = &[
    "auth_timeout",
    "closed_before_auth",
    "protocol_error",
    "invalid_token",
    "unknown_key",
    "wrong_nonce",
    "origin_not_allowed",
    "session_missing",
    "unknown_device",
    "revoked",
    "proof",
    "stale_token",
    "token_reused",
    "older_attempt",
    "store_unavailable",
    "over_capacity",
    // Of the compat protocol.
    "auth_timeout_or_missing_payload",
    "invalid_auth_payload",
    "token_not_found",
    "relay_over_capacity",
    "desktop_session_missing",
    "mobile_origin_not_allowed",
    "mobile_session_missing",
    "device_not_registered",
    "device_cap_reached",
    "device_record_missing",
    "token_rotation_persist_failed",
];

/// All numbers of a node.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) sessions: Gauge,
    pub(crate) sessions_loaded: Gauge,
    pub(crate) sessions_with_phone: Gauge,
    pub(crate) device_tokens: Gauge,
    pub(crate) rate_buckets: Gauge,
    pub(crate) command_buckets: Gauge,
    pub(crate) snapshot_buckets: Gauge,
    pub(crate) sessions_degraded: Gauge,
    pub(crate) messages_retained: Gauge,
    pub(crate) bytes_retained: Gauge,
    pub(crate) hosts_connected: Gauge,
    pub(crate) members_connected: Gauge,
    pub(crate) unauthenticated: Gauge,
    pub(crate) pair_waiters: Gauge,
    pub(crate) connections: Counter,
    pub(crate) auth_attempts: Counter,
    pub(crate) auth_successes: Counter,
    pub(crate) auth_failures: Reasons,
    pub(crate) session_starts: Counter,
    pub(crate) session_start_successes: Counter,
    pub(crate) session_start_failures: Reasons,
    pub(crate) pair_joins: Counter,
    pub(crate) pair_join_successes: Counter,
    pub(crate) pair_join_failures: Reasons,
    pub(crate) code_refreshes: Counter,
    pub(crate) code_refresh_successes: Counter,
    pub(crate) code_refresh_failures: Reasons,
    pub(crate) closes: Reasons,
    pub(crate) messages: Counter,
    pub(crate) message_bytes: Counter,
    pub(crate) nacks: Reasons,
    pub(crate) gaps: Reasons,
    pub(crate) volatile_replaced: Counter,
    pub(crate) resumes: Counter,
    pub(crate) reconnects: Counter,
    resume_failures: Reasons,
    dropped_messages: Counter,
    lost_on_resume: Counter,
    pub(crate) revokes: Counter,
    pub(crate) affinity_hits: Counter,
    pub(crate) affinity_misses: Counter,
    pub(crate) tokens_ahead: Counter,
    pub(crate) client_went_back: Counter,
    pub(crate) outbound_failures: Counter,
    pub(crate) slow_consumers: Counter,
    pub(crate) protocol_errors: Counter,
    pub(crate) frames_refused: Reasons,
    pub(crate) unread: Counter,
    pub(crate) commands_expired: Counter,
    pub(crate) http_refused: Counter,
    pub(crate) upgrades_blocked: Counter,
    pub(crate) store_failures: Reasons,
    pub(crate) store_not_asked: Counter,
    pub(crate) store_answers_late: Gauge,
    pub(crate) bus_away: Gauge,
    pub(crate) bus_streams_failing: Gauge,
    rtt: Histogram,
    pub(crate) store_seconds: Histogram,
    pub(crate) append_seconds: Histogram,
    pub(crate) append_failures: Reasons,
    pub(crate) log_went_back: Counter,
    pub(crate) store_went_back: Counter,
    pub(crate) bus_overrun: Counter,
    pub(crate) positions_ahead: Reasons,
    pub(crate) log_broken: Counter,
    pub(crate) requests: Family<Request, Counter>,
    pub(crate) request_seconds: Histogram,
    /// Authenticated websockets, as hosts and members make it up.
    ws_active: Gauge,
    /// The last round trips.
    recent: Recent,
}

/// Round trips that percentiles are made of.
const RECENT_MAX: usize = 1_024;

/// The last round trips, in milliseconds.
#[derive(Debug, Clone, Default)]
struct Recent(Arc<Mutex<VecDeque<u32>>>);

impl Recent {
    fn note(&self, time: Duration) {
        let mut all = self.0.lock();
        if all.len() >= RECENT_MAX {
            all.pop_front();
        }
        all.push_back(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
    }

    /// The value that so many percent do not exceed; `None` before the first.
    fn percentile(&self, percent: usize) -> Option<u32> {
        let mut sorted: Vec<_> = self.0.lock().iter().copied().collect();
        sorted.sort_unstable();
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied()
    }
}

/// Registers each number under its name and help.
macro_rules! metrics {
    ($registry:ident; $($field:ident: $make:expr, $name:literal, $help:literal;)*) => {{
        $(let $field = $make; $registry.register($name, $help, $field.clone());)*
        Metrics { $($field,)* registry: $registry, recent: Recent::default() }
    }};
}

impl Metrics {
    pub(crate) fn new(instance: &str, region: &str) -> Self {
        let labels = [("instance", instance), ("region", region)];
        let labels = labels.map(|(k, v)| (Cow::from(k), Cow::from(v.to_owned())));
        let mut registry = Registry::with_labels(labels.into_iter());
        metrics! { registry;
            sessions: Gauge::default(), "sessions", "Sessions stored";
            sessions_loaded: Gauge::default(), "sessions_loaded", "Sessions in memory";
            sessions_with_phone: Gauge::default(), "sessions_with_phone", "Sessions with a connected device";
            device_tokens: Gauge::default(), "device_tokens", "Tokens of paired devices, former ones in their grace counted";
            rate_buckets: Gauge::default(), "rate_limit_buckets", "Addresses whose pairing calls are counted";
            command_buckets: Gauge::default(), "command_rate_limit_buckets", "Devices of the compat protocol whose commands are counted";
            sessions_degraded: Gauge::default(), "sessions_degraded", "Sessions whose messages cannot be stored now";
            messages_retained: Gauge::default(), "messages_retained", "Messages that wait for readers who may come back, of sessions in memory";
            bytes_retained: Gauge::default(), "message_bytes_retained", "Bytes of these";
            snapshot_buckets: Gauge::default(), "snapshot_rate_limit_buckets", "Devices of the compat protocol whose snapshot requests are counted";
            hosts_connected: Gauge::default(), "hosts_connected", "Hosts with an authenticated websocket";
            members_connected: Gauge::default(), "members_connected", "Members with an authenticated websocket";
            unauthenticated: Gauge::default(), "ws_unauthenticated", "Websockets that have not authenticated yet";
            pair_waiters: Gauge::default(), "pair_waiters", "Pairing calls that wait for an answer";
            connections: Counter::default(), "ws_connections", "Websockets upgraded";
            auth_attempts: Counter::default(), "ws_auth_attempts", "Websockets that were to authenticate";
            auth_successes: Counter::default(), "ws_auth_successes", "Websockets that became members or hosts";
            auth_failures: Reasons::default(), "ws_auth_failures", "Websockets that did not, by reason";
            session_starts: Counter::default(), "pair_start_requests", "Calls that make a session";
            session_start_successes: Counter::default(), "pair_start_successes", "Sessions made";
            session_start_failures: Reasons::default(), "pair_start_failures", "Calls that made no session, by reason";
            pair_joins: Counter::default(), "pair_join_requests", "Phones that redeemed a link or code";
            pair_join_successes: Counter::default(), "pair_join_successes", "Phones that were paired";
            pair_join_failures: Reasons::default(), "pair_join_failures", "Phones that were not, by reason";
            code_refreshes: Counter::default(), "pair_refresh_requests", "Calls that make a new pairing code";
            code_refresh_successes: Counter::default(), "pair_refresh_successes", "Pairing codes made";
            code_refresh_failures: Reasons::default(), "pair_refresh_failures", "Calls that made no code, by reason";
            closes: Reasons::default(), "ws_closes", "Websockets that the relay closed, by reason";
            messages: Counter::default(), "messages_stored", "Durable messages stored";
            message_bytes: Counter::default(), "message_bytes_stored", "Bytes of their payloads";
            nacks: Reasons::default(), "message_refusals", "Durable messages not accepted, by reason";
            gaps: Reasons::default(), "gaps_told", "Gaps told to readers, by reason";
            volatile_replaced: Counter::default(), "volatile_replaced", "Volatile messages replaced by a newer one of their key";
            resumes: Counter::default(), "ws_resumes", "Websockets that resumed from a position";
            reconnects: Counter::default(), "ws_reconnects", "Websockets of clients that had been connected before";
            resume_failures: Reasons::default(), "resume_failures", "Channels that a resuming reader could not be given whole, by reason";
            dropped_messages: Counter::default(), "dropped_messages", "Messages that are missing to a reader which had all before them";
            lost_on_resume: Counter::default(), "lost_on_resume", "Of these, acknowledged ones that the log itself lost; must stay 0";
            revokes: Counter::default(), "device_revokes", "Devices revoked";
            affinity_hits: Counter::default(), "affinity_hits", "Connections that came to the node where their session was";
            affinity_misses: Counter::default(), "affinity_misses", "Connections that came to another node than where their session was; they are served all the same";
            tokens_ahead: Counter::default(), "tokens_ahead_of_store", "Tokens that prove that the store went back";
            client_went_back: Counter::default(), "client_went_back", "Devices that came with an older token and a valid proof";
            outbound_failures: Counter::default(), "outbound_send_failures", "Frames that could not be written";
            slow_consumers: Counter::default(), "slow_consumer_disconnects", "Readers closed because they did not keep up";
            protocol_errors: Counter::default(), "protocol_errors", "Frames that broke the protocol";
            frames_refused: Reasons::default(), "compat_frames_refused", "Frames of the compat protocol that were not passed on, by reason";
            unread: Counter::default(), "compat_frames_unread", "Messages of desktops of the compat protocol while no phone was connected";
            commands_expired: Counter::default(), "commands_expired", "Commands that their desktop did not take in time";
            http_refused: Counter::default(), "http_connections_refused", "Connections closed because too many were open";
            upgrades_blocked: Counter::default(), "ws_upgrades_blocked_during_drain", "Upgrades and pairings refused because the node drained or stopped";
            store_not_asked: Counter::default(), "store_not_asked", "Store operations that were refused at once, because the store answers late or not at all";
            store_answers_late: Gauge::default(), "store_answers_late", "1 while the store answers late or not at all, and is asked only whether it is well again";
            bus_streams_failing: Gauge::default(), "bus_streams_failing", "Streams of the brokers that nobody could write when all were asked last";
            bus_away: Gauge::default(), "bus_away", "1 while no message can be stored by, or passed through, the brokers";
            store_failures: Reasons::default(), "store_failures", "Store operations that failed, by reason";
            rtt: Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.3, 0.5, 1.0, 3.0, 10.0]), "ws_rtt_seconds", "Round trips of pings";
            store_seconds: Histogram::new([0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0]), "store_seconds", "Time of store writes";
            append_seconds: Histogram::new([0.000_1, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0]), "log_append_seconds", "Time until a message was stored";
            append_failures: Reasons::default(), "log_append_failures", "Appends to the message log that failed, by reason";
            store_went_back: Counter::default(), "store_went_back", "Sessions whose stored record went back; what was lost was stored once more";
            bus_overrun: Counter::default(), "bus_overrun", "Words of other nodes that found no place; all logs were compared";
            log_went_back: Counter::default(), "log_went_back", "Channels whose log went back; their writers healed them";
            positions_ahead: Reasons::default(), "positions_ahead", "Places that clients named beyond the log (resume) or beyond what they were sent (ack)";
            log_broken: Counter::default(), "log_broken", "Channels in whose log records were missing; their readers were told";
            request_seconds: Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0]), "http_request_duration_seconds", "Time of HTTP requests; pairing calls wait for a person";
            ws_active: Gauge::default(), "ws_active", "Authenticated websockets";
            requests: Family::default(), "http_requests", "HTTP requests by route, method and status";
        }
    }

    /// A reader was told a gap.
    pub(crate) fn gap_told(&self, gap: &GapTold) {
        const KNOWN: &[&str] =
            &["evicted", "expired", "log_lost", "unknown_cursor", "host_state_lost", "revoked"];
        let reason = KNOWN.iter().find(|known| **known == gap.reason).copied().unwrap_or("other");
        self.gaps.inc(reason);
        self.dropped_messages.inc_by(gap.missing);
        // Who names no place resumes nothing.
        if gap.resumed && gap.missing > 0 {
            self.resume_failures.inc(reason);
        }
        if reason == "log_lost" {
            self.lost_on_resume.inc_by(gap.missing);
        }
    }

    /// A ping was answered after so long.
    pub(crate) fn round_trip(&self, time: Duration) {
        self.rtt.observe(time.as_secs_f64());
        self.recent.note(time);
    }

    /// JSON for small displays.
    pub(crate) fn small(&self, damaged: u64) -> Value {
        let failures = self.resume_failures.counts(RESUME_FAILURES);
        json!({
            "ws_metrics": {
                "ws_active": self.active_websockets(),
                "ws_connections": self.connections.get(),
                "ws_reconnects": self.reconnects.get(),
                "ws_resumes": self.resumes.get(),
                "resume_failures": failures.values().sum::<u64>(),
                "resume_failures_by_reason": failures,
                "dropped_messages": self.dropped_messages.get(),
                "lost_on_resume": self.lost_on_resume.get(),
                "slow_consumers": self.slow_consumers.get(),
                "ws_upgrades_blocked_during_drain": self.upgrades_blocked.get(),
                "rtt_p95_ms": self.recent.percentile(95),
            },
            "resume_store_metrics": {
                "messages_stored": self.messages.get(),
                "state": if self.sessions_degraded.get() == 0 { "ok" } else { "degraded" },
                "sessions": self.sessions.get(),
                "sessions_degraded": self.sessions_degraded.get(),
                "messages": self.messages_retained.get(),
                "bytes": self.bytes_retained.get(),
                "limit_messages": LOG_MESSAGES_MAX,
                "limit_bytes": LOG_BYTES_MAX,
                "ttl_seconds": LOG_AGE_MAX.as_secs(),
                "evictions": self.gaps.counts(&[]).get("evicted").copied().unwrap_or(0),
                "append_failures": self.append_failures.counts(&[]).values().sum::<u64>(),
                "log_went_back": self.log_went_back.get(),
                "log_broken": self.log_broken.get(),
                "damaged_entries": damaged,
                "store_failures": self.store_failures.counts(&[]).values().sum::<u64>(),
            },
        })
    }

    /// Prometheus text.
    pub(crate) fn prometheus(&self) -> String {
        self.ws_active.set(self.active_websockets());
        let mut out = String::new();
        match text::encode(&mut out, &self.registry) {
            Ok(()) => out,
            Err(_) => "# EOF\n".to_owned(),
        }
    }

    /// Authenticated websockets.
    pub(crate) fn active_websockets(&self) -> i64 {
        self.hosts_connected.get() + self.members_connected.get()
    }

    /// JSON under the names of the earlier relays.
    pub(crate) fn json(&self, now_ms: u64) -> Value {
        let sum = |counts: &BTreeMap<&str, u64>| -> u64 { counts.values().sum() };
        let auth = self.auth_failures.counts(AUTH_FAILURES);
        let joins = self.pair_join_failures.counts(PAIR_FAILURES);
        let starts = self.session_start_failures.counts(&[]);
        let refreshes = self.code_refresh_failures.counts(&[]);
        let mut numbers = json!({
            "ok": true,
            "sessions": self.sessions.get(),
            "sessionsLoaded": self.sessions_loaded.get(),
            "sessionsWithDesktop": self.hosts_connected.get(),
            "sessionsWithMobile": self.sessions_with_phone.get(),
            "deviceTokens": self.device_tokens.get(),
            "rateLimitBuckets": self.rate_buckets.get(),
            "commandRateLimitBuckets": self.command_buckets.get(),
            "snapshotRateLimitBuckets": self.snapshot_buckets.get(),
            "activeWebSockets": self.active_websockets(),
            "unauthenticatedWebSockets": self.unauthenticated.get(),
            "pendingJoinWaiters": self.pair_waiters.get(),
            "pairStartRequests": self.session_starts.get(),
            "pairStartSuccesses": self.session_start_successes.get(),
            "pairStartFailures": sum(&starts),
            "pairStartFailureReasons": starts,
            "pairJoinRequests": self.pair_joins.get(),
            "pairJoinSuccesses": self.pair_join_successes.get(),
            "pairJoinFailures": sum(&joins),
            "pairJoinFailureReasons": joins,
            "pairRefreshRequests": self.code_refreshes.get(),
            "pairRefreshSuccesses": self.code_refresh_successes.get(),
            "pairRefreshFailures": sum(&refreshes),
            "pairRefreshFailureReasons": refreshes,
            "wsAuthAttempts": self.auth_attempts.get(),
            "wsAuthSuccesses": self.auth_successes.get(),
            "wsAuthFailures": sum(&auth),
            "wsAuthFailureReasons": auth,
            "outboundSendFailures": self.outbound_failures.get(),
            "slowConsumerDisconnects": self.slow_consumers.get(),
            "messagesStored": self.messages.get(),
            "resumes": self.resumes.get(),
            "reconnects": self.reconnects.get(),
            "droppedMessages": self.dropped_messages.get(),
            "lostOnResume": self.lost_on_resume.get(),
            "deviceRevokes": self.revokes.get(),
            "now": format_time(now_ms),
        });
        let reasons = json!({
            "closeReasons": self.closes.counts(&[]),
            "messageRefusalReasons": self.nacks.counts(&[]),
            "frameRefusalReasons": self.frames_refused.counts(&[]),
            "gapReasons": self.gaps.counts(&[]),
            "resumeFailureReasons": self.resume_failures.counts(RESUME_FAILURES),
            "storeFailureReasons": self.store_failures.counts(&[]),
        });
        if let (Some(all), Value::Object(reasons)) = (numbers.as_object_mut(), reasons) {
            all.extend(reasons);
        }
        numbers
    }
}

/// Why a channel cannot be resumed.
const RESUME_FAILURES: &[&str] = &["expired", "evicted", "log_lost"];

/// Why a pairing call failed.
pub(crate) const PAIR_FAILURES: &[&str] = &[
    "invalid_request",
    "rate_limited",
    "origin_not_allowed",
    "unauthorized",
    "code_expired",
    "code_wrong",
    "code_used",
    "code_burnt",
    "host_offline",
    "device_limit",
    "pair_conflict",
    "key_mismatch",
    "rejected",
    "approval_expired",
    "request_unknown",
    "too_many_waiters",
    "too_many_sessions",
    "hung_up",
    "store_unavailable",
    "draining",
];

/// Counts one under a reason.
pub(crate) fn count(family: &Reasons, reason: &'static str) {
    family.inc(reason);
}

//! What happened in a session is counted and logged.

use std::sync::atomic::{AtomicU64, Ordering};

use belay_core::{Effects, Event};
use belay_wire::{CloseCode, NackReason};

use super::{Node, log::TELL_EVERY_MS, unix_ms};
use crate::{metrics::count, registry::Handle};

impl Node {
    pub(super) fn report(&self, handle: &Handle, effects: &Effects) {
        // What happened is of no use without where.
        let of = tracing::info_span!("session", id = %handle.id);
        of.in_scope(|| effects.events.iter().for_each(|event| self.report_event(event)));
    }

    fn report_event(&self, event: &Event) {
        let m = &self.metrics;
        match event {
            Event::Attached { connection, is_host, resumed, again } => {
                m.auth_successes.inc();
                m.reconnects.inc_by(u64::from(*again));
                if *resumed {
                    m.resumes.inc();
                }
                if *is_host {
                    m.hosts_connected.inc()
                } else {
                    m.members_connected.inc()
                };
                tracing::info!(%connection, is_host, resumed, "connected");
            }
            Event::Detached { connection, is_host } => {
                if *is_host {
                    m.hosts_connected.dec()
                } else {
                    m.members_connected.dec()
                };
                tracing::info!(%connection, is_host, "disconnected");
            }
            Event::Refused { code, cause } => {
                count(&m.auth_failures, cause);
                tracing::info!(code = code.code(), cause, "authentication refused");
            }
            Event::Closed { connection, code } => {
                if *code == CloseCode::SlowConsumer {
                    m.slow_consumers.inc();
                }
                tracing::info!(%connection, code = code.code(), reason = code.label(), "closing");
            }
            Event::PairingStarted { request } => tracing::info!(%request, "pairing started"),
            Event::PairingEnded { request, outcome } => {
                tracing::info!(%request, ?outcome, "pairing ended");
            }
            Event::CodeMade => tracing::debug!("pairing code made"),
            Event::CodeMissed { burnt } => tracing::warn!(burnt, "wrong pairing code"),
            Event::DeviceRevoked { member, cause } => {
                m.revokes.inc();
                tracing::warn!(%member, cause, "device revoked");
            }
            Event::TokenCommitted { ahead } => {
                if *ahead {
                    m.tokens_ahead.inc();
                    tracing::warn!("a token is ahead of the store, so the store went back");
                }
            }
            Event::ClientWentBack => {
                m.client_went_back.inc();
            }
            Event::MessageStored { bytes } => {
                m.messages.inc();
                m.message_bytes.inc_by(*bytes as u64);
            }
            Event::MessageRefused { reason } => count(&m.nacks, nack_label(*reason)),
            Event::FrameRefused { error } => {
                count(&m.frames_refused, error);
                tracing::info!(error, "frame refused");
            }
            Event::SessionEnded { reason } => tracing::info!(reason, "session ended"),
            Event::VolatileReplaced => {
                m.volatile_replaced.inc();
            }
            Event::Unread => {
                m.unread.inc();
            }
            Event::CommandsExpired { count } => {
                m.commands_expired.inc_by(u64::try_from(*count).unwrap_or(u64::MAX));
                tracing::warn!(count, "commands expired");
            }
            Event::PositionAhead { what } => {
                count(&m.positions_ahead, what);
                // Clients choose how often.
                tracing::debug!(what, "a client named a place that is ahead of ours");
            }
            Event::StoreWentBack => {
                m.store_went_back.inc();
                tracing::warn!("the store went back; what it lost is stored once more");
            }
            Event::LogWentBack => {
                m.log_went_back.inc();
                tracing::warn!("the log of a channel went back; its writer sends again");
            }
            Event::LogBroken => {
                m.log_broken.inc();
                tracing::error!(
                    "records are missing in the log of a channel; its readers are told"
                );
            }
            // All sessions say so at once: one of them in a while stands for all.
            Event::Degraded { degraded: true } => {
                if is_due(&self.degraded_told_at) {
                    tracing::error!("messages cannot be stored now; clients were told");
                }
            }
            Event::Degraded { degraded: false } => {
                if is_due(&self.restored_told_at) {
                    tracing::info!("messages are stored again");
                }
            }
            Event::ProtocolError { cause } => {
                m.protocol_errors.inc();
                tracing::info!(%cause, "protocol error");
            }
        }
    }
}

fn nack_label(reason: NackReason) -> &'static str {
    match reason {
        NackReason::Hole => "hole",
        NackReason::LogLost => "log_lost",
        NackReason::RateLimited => "rate_limited",
        NackReason::Full => "full",
        NackReason::Busy => "busy",
        NackReason::LogUnavailable => "log_unavailable",
        NackReason::TooLarge => "too_large",
        NackReason::NotAllowed => "not_allowed",
        NackReason::EpochClosed => "epoch_closed",
        NackReason::Conflict => "conflict",
        NackReason::HostOffline => "host_offline",
    }
}

/// Tells whether something that many would say was not said lately, and that it is said now.
fn is_due(said_at: &AtomicU64) -> bool {
    let now = unix_ms();
    let may = |last: u64| (now >= last.saturating_add(TELL_EVERY_MS)).then_some(now);
    said_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may).is_ok()
}

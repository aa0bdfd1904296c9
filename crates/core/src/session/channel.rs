//! Channels in use, and how much their logs hold.

use std::time::{Duration, Instant};

use belay_wire::Channel;

use super::Session;
use crate::{
    delivery::{Log, LogLimits, Volatiles},
    env::Policy,
};

/// How long a message of the compat protocol waits for its reader.
const COMPAT_LOG_AGE: Duration = Duration::from_mins(1);
/// Commands of one of its phones that wait for the desktop.
const COMPAT_COMMANDS_BYTES: usize = 1 << 20;

/// A channel in use.
#[derive(Debug, Clone)]
pub(crate) struct ChannelState {
    pub(crate) log: Log,
    pub(crate) volatiles: Volatiles,
    /// When the other nodes are told once more where the log ends.
    pub(super) tail_due: Option<Instant>,
}

impl Session {
    pub(super) fn channel(&mut self, channel: Channel, policy: &Policy) -> &mut ChannelState {
        let mut limits = limits_of(channel, policy);
        if self.record.compat.is_some() {
            limits.messages = policy.compat.outbound_queue;
            // Their clients start anew from a snapshot: nothing old is of use to them.
            limits.age = COMPAT_LOG_AGE;
            if limits.keep_unapplied {
                limits.bytes = limits.bytes.min(COMPAT_COMMANDS_BYTES);
            }
        }
        self.asks = true;
        self.channels.entry(channel).or_insert_with(|| ChannelState {
            log: Log::new(channel, limits),
            volatiles: Volatiles::default(),
            tail_due: None,
        })
    }
}

fn limits_of(channel: Channel, policy: &Policy) -> LogLimits {
    let keep_unapplied = !channel.is_written_by_host();
    LogLimits {
        messages: policy.log_messages,
        bytes: policy.log_bytes,
        age: if keep_unapplied { policy.command_ttl } else { policy.log_age },
        keep_unapplied,
    }
}

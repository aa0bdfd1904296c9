//! The kinds of frames, as JSON and a body.

use belay_core::{
    delivery::{Body, Volatile},
    ports::{BusFrame, Tail},
};
use belay_wire::{Channel, Epoch, Positions, Seq};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Opened, Refusal};

#[derive(Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub(super) enum Kind {
    Changed,
    Ended {
        reason: String,
    },
    Tail {
        channel: Channel,
        incarnation: Epoch,
        offset: u64,
    },
    Applied {
        positions: Positions,
    },
    Volatile {
        channel: Channel,
        key: String,
        epoch: Epoch,
        after: Seq,
        vseq: u64,
        /// Of a binary one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<String>,
    },
    ToHost,
    /// Its sender is the node.
    Node {
        store: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drain: Option<Value>,
    },
    Drain {
        instance: String,
        reason: String,
        seconds: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
    },
    DrainCancelled {
        instance: String,
    },
}

/// The names in [`Kind`].
const KINDS: [&str; 9] = [
    "changed",
    "ended",
    "tail",
    "applied",
    "volatile",
    "to_host",
    "node",
    "drain",
    "drain_cancelled",
];

#[derive(Deserialize)]
struct Named<'a> {
    k: &'a str,
}

impl Opened {
    /// What it says.
    pub(in super::super) fn frame(self) -> Result<BusFrame, Refusal> {
        let named: Named<'_> = serde_json::from_str(&self.kind).map_err(|_| "malformed")?;
        if !KINDS.contains(&named.k) {
            return Err("kind");
        }
        let kind = serde_json::from_str(&self.kind).map_err(|_| "malformed")?;
        Ok(match kind {
            Kind::Changed => BusFrame::Changed,
            Kind::Ended { reason } => BusFrame::Ended { reason },
            Kind::Tail { channel, incarnation, offset } => {
                BusFrame::Tail { channel, tail: Tail { incarnation: incarnation.0, offset } }
            }
            Kind::Applied { positions } => BusFrame::Applied { positions },
            Kind::Volatile { channel, key, epoch, after, vseq, header } => {
                let body = match header {
                    Some(header) => Body::Binary { header, payload: self.body },
                    None => Body::Text(self.body),
                };
                let message = Volatile { key, epoch, after, vseq, body };
                BusFrame::Volatile { channel, message }
            }
            Kind::Node { store, keys, drain } => {
                BusFrame::Node { life: self.sender.node, store, keys, drain }
            }
            Kind::DrainCancelled { instance } => BusFrame::DrainCancelled { instance },
            Kind::Drain { instance, reason, seconds, endpoint } => {
                BusFrame::Drain { instance, reason, seconds, endpoint }
            }
            Kind::ToHost => {
                let text = std::str::from_utf8(&self.body).map_err(|_| "malformed")?;
                let frame = belay_wire::decode(text).map_err(|_| "malformed")?;
                BusFrame::ToHost { frame: Box::new(frame) }
            }
        })
    }
}

pub(super) fn split(frame: &BusFrame) -> (Kind, Bytes) {
    let kind = match frame {
        BusFrame::Changed => Kind::Changed,
        BusFrame::Node { life: _, store, keys, drain } => {
            Kind::Node { store: *store, keys: keys.clone(), drain: drain.clone() }
        }
        BusFrame::DrainCancelled { instance } => {
            Kind::DrainCancelled { instance: instance.clone() }
        }
        BusFrame::Drain { instance, reason, seconds, endpoint } => Kind::Drain {
            instance: instance.clone(),
            reason: reason.clone(),
            seconds: *seconds,
            endpoint: endpoint.clone(),
        },
        BusFrame::Ended { reason } => Kind::Ended { reason: reason.clone() },
        BusFrame::Tail { channel, tail } => {
            let incarnation = Epoch(tail.incarnation);
            Kind::Tail { channel: *channel, incarnation, offset: tail.offset }
        }
        BusFrame::Applied { positions } => Kind::Applied { positions: positions.clone() },
        BusFrame::Volatile { channel, message } => {
            let Volatile { key, epoch, after, vseq, body } = message.clone();
            let (header, body) = match body {
                Body::Text(text) => (None, text),
                Body::Binary { header, payload } => (Some(header), payload),
            };
            let channel = *channel;
            return (Kind::Volatile { channel, key, epoch, after, vseq, header }, body);
        }
        BusFrame::ToHost { frame } => return (Kind::ToHost, frame.encode().into()),
    };
    (kind, Bytes::new())
}

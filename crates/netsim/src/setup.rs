//! What a party is made of, and what it sends.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use belay_client::Identity;
use belay_sim::Rng;
use belay_wire::{Channel, MemberId, RawJson, Secret};
use serde_json::{Value, json};

/// Whether parties send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Phase(Arc<AtomicBool>);

impl Phase {
    pub(crate) fn set_sending(&self, sending: bool) {
        self.0.store(sending, Ordering::Release);
    }

    pub(crate) fn is_sending(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What a party is made of.
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) member: Option<MemberId>,
    pub(crate) identity: Identity,
    pub(crate) token: Secret,
    pub(crate) writes: Vec<Channel>,
    pub(crate) reads: Vec<Channel>,
    pub(crate) outbox: Option<PathBuf>,
    pub(crate) rng: Rng,
}

pub(crate) fn number(payload: &RawJson) -> anyhow::Result<u64> {
    let value: Value = serde_json::from_str(payload.text())?;
    value["n"].as_u64().ok_or_else(|| anyhow::anyhow!("not of this simulation: {value}"))
}

/// Mostly small, sometimes some kilobytes.
pub(crate) fn payload(n: u64) -> anyhow::Result<RawJson> {
    let size = if n % 61 == 60 { 20_000 } else { usize::try_from(n * 37 % 300)? };
    Ok(RawJson::of(&json!({ "n": n, "x": "x".repeat(size) }))?)
}

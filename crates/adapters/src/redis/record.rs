//! Records as they stand in Redis.

use belay_core::{SessionRecord, ports::StoreError};
use belay_wire::SessionId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The newest format of records that this version reads, and the one that it writes.
pub(super) const FORMAT: u64 = 1;

/// What scripts read of a record stands before it, and in this order.
#[derive(Serialize)]
struct Written<'a> {
    v: u64,
    /// Drawn for each save, so that one whose answer got lost knows its own record again.
    save: &'a str,
    /// Devices that are not revoked.
    devices: usize,
    record: &'a SessionRecord,
}

#[derive(Deserialize)]
struct Read<'a> {
    v: u64,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
}

/// A record as bytes.
pub(super) fn encode(record: &SessionRecord, save: &str) -> Result<Vec<u8>, StoreError> {
    let devices = record.active_devices().count();
    serde_json::to_vec(&Written { v: FORMAT, save, devices, record })
        .map_err(|e| StoreError::Unavailable(format!("the record cannot be written: {e}")))
}

/// A record from its bytes.
///
/// # Errors
/// [`StoreError::Newer`] and [`StoreError::Damaged`].
pub(super) fn decode(id: SessionId, bytes: &[u8]) -> Result<SessionRecord, StoreError> {
    let damaged = |what: String| {
        StoreError::Damaged(format!("what is stored of session {id} is no record: {what}"))
    };
    // An error as text would quote what is stored.
    let unreadable =
        |e: serde_json::Error| damaged(format!("{:?} at {}", e.classify(), e.column()));
    let read: Read<'_> = serde_json::from_slice(bytes).map_err(unreadable)?;
    if read.v > FORMAT {
        return Err(StoreError::Newer { found: read.v, known: FORMAT });
    }
    let raw = read.record.ok_or_else(|| damaged("it is empty".to_owned()))?;
    let record: SessionRecord = serde_json::from_str(raw.get()).map_err(unreadable)?;
    if record.id != id {
        return Err(damaged(format!("it is one of {}", record.id)));
    }
    Ok(record)
}

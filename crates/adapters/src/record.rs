//! Records as bytes, the same for every log that stores bytes.

use belay_core::delivery::{Record, RecordKind};
use belay_wire::{Epoch, Position, Seq};
use bytes::{Buf, BufMut, Bytes};

/// Version of this encoding; a reader refuses any other.
pub(crate) const VERSION: u8 = 1;

/// Records of one entry: a version, then each record.
pub(crate) fn encode(records: &[Record], out: &mut Vec<u8>) {
    out.put_u8(VERSION);
    for record in records {
        put_position(out, record.position);
        out.put_u64(record.at);
        match &record.kind {
            RecordKind::Start => out.put_u8(0),
            RecordKind::Text { payload_len } => {
                out.put_u8(1);
                out.put_u32(length(*payload_len));
            }
            RecordKind::Binary { header } => {
                out.put_u8(2);
                put_bytes(out, header.as_bytes());
            }
            RecordKind::Note => out.put_u8(3),
            RecordKind::Epoch { prev } => {
                out.put_u8(4);
                put_position(out, *prev);
            }
            RecordKind::Expired { to } => {
                out.put_u8(5);
                put_position(out, *to);
            }
        }
        put_bytes(out, &record.bytes);
    }
}

/// The records of an entry; `None` if they cannot be read.
pub(crate) fn decode(mut bytes: Bytes) -> Option<Vec<Record>> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let mut records = Vec::new();
    while bytes.has_remaining() {
        let position = position(&mut bytes)?;
        let at = bytes.try_get_u64().ok()?;
        let kind = match bytes.try_get_u8().ok()? {
            0 => RecordKind::Start,
            1 => RecordKind::Text { payload_len: bytes.try_get_u32().ok()? as usize },
            2 => {
                let header = String::from_utf8(take(&mut bytes)?.to_vec()).ok()?;
                RecordKind::Binary { header }
            }
            3 => RecordKind::Note,
            4 => RecordKind::Epoch { prev: self::position(&mut bytes)? },
            5 => RecordKind::Expired { to: self::position(&mut bytes)? },
            _ => return None,
        };
        let bytes = take(&mut bytes)?;
        if matches!(kind, RecordKind::Text { payload_len } if payload_len >= bytes.len()) {
            return None;
        }
        records.push(Record { position, kind, bytes, at });
    }
    (!records.is_empty()).then_some(records)
}

fn length(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.put_u64(position.epoch.0);
    out.put_u64(position.seq.value());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(length(bytes.len()));
    out.put_slice(bytes);
}

fn position(bytes: &mut Bytes) -> Option<Position> {
    let epoch = Epoch(bytes.try_get_u64().ok()?);
    Some(Position::new(epoch, Seq::new(bytes.try_get_u64().ok()?)?))
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let len = bytes.try_get_u32().ok()? as usize;
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_as_it_was_and_a_cut_is_seen() {
        let seq = |n| Seq::new(n).expect("small");
        let at = |n| Position::new(Epoch(7), seq(n));
        let record = |kind, bytes: &'static str| Record {
            position: at(3),
            kind,
            bytes: Bytes::from_static(bytes.as_bytes()),
            at: 1_700_000_000_000,
        };
        let records = vec![
            record(RecordKind::Start, ""),
            record(RecordKind::Text { payload_len: 3 }, "{\"p\":123}"),
            record(RecordKind::Binary { header: "{}".to_owned() }, "\u{1}\u{2}"),
            record(RecordKind::Note, "{}"),
            record(RecordKind::Epoch { prev: at(2) }, "{}"),
            record(RecordKind::Expired { to: at(1) }, ""),
        ];
        let mut bytes = Vec::new();
        encode(&records, &mut bytes);

        assert_eq!(decode(Bytes::from(bytes.clone())), Some(records.clone()));
        for end in 0..bytes.len() {
            let cut = decode(Bytes::from(bytes[..end].to_vec()));
            assert!(cut.is_none_or(|cut| cut.len() < records.len()), "cut at {end}");
        }
    }
}

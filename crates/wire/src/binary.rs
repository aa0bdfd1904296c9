//! Binary frames: `kind u8, flags u8, channel id varint, seq varint, [header length varint, JSON
//! header if flag 1], payload`.
//!
//! Varints are little-endian base 128 (as in Protocol Buffers), at most ten bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{DecodeError, Seq};

pub use header::{MsgHeader, VolHeader};

mod header;

/// What a binary frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryKind {
    /// A durable message; `seq` is its number.
    Msg = 1,
    /// A volatile message; `seq` is its `vseq`, the header holds `after` and `key`.
    Vol = 2,
}

/// Flag: a JSON header precedes the payload.
pub const FLAG_HEADER: u8 = 1;

/// The layout in one line, for the fingerprint of the protocol.
pub const LAYOUT: &str = "kind u8 (1 msg, 2 vol), flags u8 (1 header), channel varint, seq varint, \
    [header length varint, header JSON msg{key?,flags?,at?,from?} vol{after,key}], payload";

/// One binary frame. The payload shares the bytes that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryFrame {
    pub kind: BinaryKind,
    /// An id that the sender named with `open`.
    pub channel: u32,
    pub seq: Seq,
    /// JSON text, checked only to be UTF-8.
    pub header: Option<String>,
    pub payload: Bytes,
}

impl BinaryFrame {
    /// The frame as bytes.
    pub fn encode(&self) -> Bytes {
        let header_len = self.header.as_ref().map_or(0, String::len);
        let mut out = BytesMut::with_capacity(2 + 30 + header_len + self.payload.len());
        out.put_u8(self.kind as u8);
        out.put_u8(if self.header.is_some() { FLAG_HEADER } else { 0 });
        put_varint(&mut out, u64::from(self.channel));
        put_varint(&mut out, self.seq.value());
        if let Some(header) = &self.header {
            put_varint(&mut out, header.len() as u64);
            out.put_slice(header.as_bytes());
        }
        out.put_slice(&self.payload);
        out.freeze()
    }

    /// Reads one frame.
    ///
    /// # Errors
    /// [`DecodeError::Binary`] says what is malformed.
    pub fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() < 2 {
            return Err(DecodeError::Binary("shorter than its fixed header"));
        }
        let kind = match bytes.get_u8() {
            1 => BinaryKind::Msg,
            2 => BinaryKind::Vol,
            _ => return Err(DecodeError::Binary("unknown kind")),
        };
        let flags = bytes.get_u8();
        if flags & !FLAG_HEADER != 0 {
            return Err(DecodeError::Binary("unknown flag"));
        }
        let channel = u32::try_from(take_varint(&mut bytes)?)
            .map_err(|_| DecodeError::Binary("channel id above 2^32"))?;
        let seq =
            Seq::new(take_varint(&mut bytes)?).ok_or(DecodeError::Binary("number above 2^53-1"))?;
        let header = if flags & FLAG_HEADER == 0 { None } else { Some(take_header(&mut bytes)?) };
        Ok(Self { kind, channel, seq, header, payload: bytes })
    }
}

fn take_header(bytes: &mut Bytes) -> Result<String, DecodeError> {
    let len = usize::try_from(take_varint(bytes)?).unwrap_or(usize::MAX);
    if len > bytes.len() {
        return Err(DecodeError::Binary("header longer than the frame"));
    }
    String::from_utf8(bytes.split_to(len).to_vec())
        .map_err(|_| DecodeError::Binary("header is not UTF-8"))
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.put_u8(value.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut Bytes) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        if bytes.is_empty() {
            return Err(DecodeError::Binary("number cut short"));
        }
        let byte = bytes.get_u8();
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::Binary("number longer than 64 bits"))
}

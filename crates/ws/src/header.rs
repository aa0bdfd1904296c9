//! The header of a frame (RFC 6455, section 5.2).

use bytes::BufMut;

use crate::Violation;

/// The longest header, bytes: two, a length of eight, a key of four.
pub const HEADER_BYTES_MAX: usize = 14;
/// The longest payload of a control frame, bytes (section 5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;
/// Marks of the second byte: the length follows in two bytes, or in eight.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is for (section 5.2). The value is the one on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl OpCode {
    const fn of(bits: u8) -> Result<Self, Violation> {
        match bits {
            0 => Ok(Self::Continuation),
            1 => Ok(Self::Text),
            2 => Ok(Self::Binary),
            8 => Ok(Self::Close),
            9 => Ok(Self::Ping),
            10 => Ok(Self::Pong),
            other => Err(Violation::ReservedOpcode(other)),
        }
    }

    /// Close, ping and pong: in one piece, and allowed between the fragments of a message (section
    /// 5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub is_final: bool,
    pub opcode: OpCode,
    /// Length of the payload, bytes; below 2^63.
    pub length: u64,
    /// What the payload is masked with.
    pub masking_key: Option<[u8; 4]>,
}

impl Header {
    /// Reads a header and tells how many bytes it has; `None`: there are not enough yet.
    ///
    /// # Errors
    ///
    /// What section 5.2 and 5.5 forbid whatever came before: reserved bits and opcodes, control frames
    /// that are long or fragmented, lengths that are not in their shortest form.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Violation::ReservedBits);
        }
        let is_final = first & FIN != 0;
        let opcode = OpCode::of(first & OPCODE)?;
        let short = second & !MASK;
        if opcode.is_control() {
            if !is_final {
                return Err(Violation::FragmentedControl);
            }
            if usize::from(short) > CONTROL_BYTES_MAX {
                return Err(Violation::LongControl);
            }
        }
        let Some((length, rest)) = length(short, rest)? else { return Ok(None) };
        let (masking_key, rest) = if second & MASK == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (Some(*key), rest)
        };
        let header = Self { is_final, opcode, length, masking_key };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Appends the header to `to`: at most [`HEADER_BYTES_MAX`] bytes, the length in its shortest form.
    pub fn encode(&self, to: &mut impl BufMut) {
        to.put_u8(if self.is_final { FIN } else { 0 } | self.opcode as u8);
        let mask = if self.masking_key.is_some() { MASK } else { 0 };
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length), _) if length < LENGTH_16 => to.put_u8(mask | length),
            (_, Ok(length)) => {
                to.put_u8(mask | LENGTH_16);
                to.put_u16(length);
            }
            _ => {
                to.put_u8(mask | LENGTH_64);
                to.put_u64(self.length);
            }
        }
        if let Some(key) = self.masking_key {
            to.put_slice(&key);
        }
    }
}

/// The length and what follows it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, least, rest) = match short {
        LENGTH_16 => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), u64::from(LENGTH_16), rest)
        }
        LENGTH_64 => {
            let Some((length, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*length), u64::from(u16::MAX) + 1, rest)
        }
        short => (u64::from(short), 0, rest),
    };
    if length < least {
        return Err(Violation::LengthNotMinimal);
    }
    if length > i64::MAX.unsigned_abs() {
        return Err(Violation::LengthTooLong);
    }
    Ok(Some((length, rest)))
}

#[cfg(test)]
mod tests;

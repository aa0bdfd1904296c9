//! What stands in a segment file: a header, then frames, each with its own check sum.

use belay_core::ports::ChannelId;
use belay_wire::{Channel, MemberId, SessionId};
use bytes::{Buf, BufMut, Bytes};

/// First bytes of a segment.
const MAGIC: &[u8; 8] = b"BELAYLOG";
/// Version of segments; a newer one is refused.
pub(super) const VERSION: u32 = 1;
/// Bytes of the header.
pub(super) const HEADER_LEN: usize = 8 + 4 + 8 + 8;
/// First bytes of a frame: where a damaged frame hides the next one, this finds it.
const MARK: [u8; 4] = [0xbe, 0x1a, 0x75, 0xf7];
/// Mark, length of the body, check sum of the body.
pub(super) const FRAME_LEN: usize = 4 + 4 + 4;
/// Largest body: an append of 256 KiB, or one message of 1 MiB with what stands around it.
const BODY_MAX: usize = 4 * 1024 * 1024;

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) incarnation: u64,
    pub(super) number: u64,
}

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put_u32(VERSION);
        out.put_u64(self.incarnation);
        out.put_u64(self.number);
        out
    }

    /// Header and version of a segment; `None` if it is none.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<(Self, u32)> {
        bytes = bytes.strip_prefix(MAGIC)?;
        let version = bytes.try_get_u32().ok()?;
        let incarnation = bytes.try_get_u64().ok()?;
        let number = bytes.try_get_u64().ok()?;
        Some((Self { incarnation, number }, version))
    }
}

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// Records of one append, as bytes.
    Entry {
        id: ChannelId,
        offset: u64,
        records: Bytes,
    },
    Purge {
        id: ChannelId,
        before: u64,
    },
    Forget {
        id: ChannelId,
    },
}

impl Frame {
    /// Writes the frame; `records` follows an entry's head.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_slice(&MARK);
        out.put_u64(0);
        match self {
            Self::Entry { id, offset, records } => {
                put_id(out, 1, *id);
                out.put_u64(*offset);
                out.put_slice(records);
            }
            Self::Purge { id, before } => {
                put_id(out, 2, *id);
                out.put_u64(*before);
            }
            Self::Forget { id } => put_id(out, 3, *id),
        }
        let body = start + FRAME_LEN;
        let len = u32::try_from(out.len() - body).unwrap_or(u32::MAX);
        let sum = crc32fast::hash(&out[body..]);
        out[start + 4..start + 8].copy_from_slice(&len.to_be_bytes());
        out[start + 8..body].copy_from_slice(&sum.to_be_bytes());
    }

    fn decode_body(mut body: Bytes) -> Option<Self> {
        let kind = body.try_get_u8().ok()?;
        let id = take_id(&mut body)?;
        match kind {
            1 => Some(Self::Entry { id, offset: body.try_get_u64().ok()?, records: body }),
            2 => Some(Self::Purge { id, before: body.try_get_u64().ok()? }),
            3 => Some(Self::Forget { id }),
            _ => None,
        }
    }
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame of so many bytes.
    Frame(Frame, usize),
    /// Nothing whole.
    Damaged,
}

/// Reads the frame at the beginning of `bytes`.
pub(super) fn read(bytes: &Bytes) -> Found {
    let whole = || {
        let mut head = bytes.get(..FRAME_LEN)?.strip_prefix(&MARK)?;
        let len = head.get_u32() as usize;
        let sum = head.get_u32();
        let body = bytes.get(FRAME_LEN..FRAME_LEN + len).filter(|_| len <= BODY_MAX)?;
        if crc32fast::hash(body) != sum {
            return None;
        }
        let frame = Frame::decode_body(bytes.slice(FRAME_LEN..FRAME_LEN + len))?;
        Some(Found::Frame(frame, FRAME_LEN + len))
    };
    whole().unwrap_or(Found::Damaged)
}

/// Bytes before the next whole frame after a damaged one; `None` if none follows.
pub(super) fn next_whole(bytes: &Bytes) -> Option<usize> {
    let mut from = 1;
    while let Some(at) = find(bytes.get(from..)?) {
        let at = from + at;
        if matches!(read(&bytes.slice(at..)), Found::Frame(..)) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|w| w == MARK)
}

fn put_id(out: &mut Vec<u8>, kind: u8, id: ChannelId) {
    out.put_u8(kind);
    out.put_slice(id.session.as_bytes());
    let (tag, member) = match id.channel {
        Channel::Down => (0, None),
        Channel::DownTo(member) => (1, Some(member)),
        Channel::Up(member) => (2, Some(member)),
    };
    out.put_u8(tag);
    if let Some(member) = member {
        out.put_slice(member.as_bytes());
    }
}

fn take_id(body: &mut Bytes) -> Option<ChannelId> {
    let session = SessionId::from_bytes(take(body)?);
    let channel = match body.try_get_u8().ok()? {
        0 => Channel::Down,
        1 => Channel::DownTo(MemberId::from_bytes(take(body)?)),
        2 => Channel::Up(MemberId::from_bytes(take(body)?)),
        _ => return None,
    };
    Some(ChannelId { session, channel })
}

fn take<const N: usize>(body: &mut Bytes) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    body.try_copy_to_slice(&mut bytes).ok()?;
    Some(bytes)
}

//! What a channel's log consists of.

use belay_wire::{Channel, Epoch, EpochFrame, Frame, Lost, Msg, Position, Seq, Skip, Void};
use bytes::Bytes;

/// What a record is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// First record of an empty log, and only there; its position is the one before the first message.
    Start,
    /// A message as text; the payload is the last member, so its range follows from its length.
    Text { payload_len: usize },
    /// A message with a binary payload and its JSON header (`at`, `from`, `key`).
    Binary { header: String },
    /// `void` or `skip`: takes numbers without bringing a message.
    Note,
    /// The writer's new memory; `prev` is where the former epoch ended.
    Epoch { prev: Position },
    /// Commands up to this number were not applied in their time. Takes no number: its position is
    /// the head.
    Expired { to: Position },
}

/// One record; its frame is encoded once and shared by all readers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    pub position: Position,
    pub kind: RecordKind,
    /// The frame as text, or the payload of a binary message; empty where readers are told nothing.
    pub bytes: Bytes,
    /// Relay time in Unix milliseconds.
    pub at: u64,
}

impl Record {
    /// The first record of a log whose writer can send from `base` on.
    pub fn start(base: Position, at: u64) -> Self {
        let position = Position::new(base.epoch, base.seq.previous());
        Self { position, kind: RecordKind::Start, bytes: Bytes::new(), at }
    }

    /// A message as text.
    pub fn message(msg: &Msg, at: u64) -> Self {
        let bytes = Frame::encode_msg(msg).into();
        let kind = RecordKind::Text { payload_len: msg.p.text().len() };
        Self { position: Position::new(msg.epoch, msg.seq), kind, bytes, at }
    }

    /// A message with a binary payload.
    pub fn binary(position: Position, header: String, payload: Bytes, at: u64) -> Self {
        Self { position, kind: RecordKind::Binary { header }, bytes: payload, at }
    }

    /// The writer gave a number up.
    pub fn void(void: Void, at: u64) -> Self {
        let position = Position::new(void.epoch, void.seq);
        Self { position, kind: RecordKind::Note, bytes: Frame::from(void).encode().into(), at }
    }

    /// Everything up to a number is gone.
    pub fn skip(ch: Channel, to: Position, reason: &str, at: u64) -> Self {
        let frame = Skip { ch, epoch: to.epoch, to: to.seq, reason: reason.to_owned() };
        let bytes = Frame::from(frame).encode().into();
        Self { position: Position::new(to.epoch, to.seq), kind: RecordKind::Note, bytes, at }
    }

    /// A new epoch after `prev`.
    pub fn epoch(ch: Channel, base: Position, prev: Position, at: u64) -> Self {
        let frame = EpochFrame {
            ch,
            new: base.epoch,
            base: base.seq,
            prev: Some(prev.epoch),
            prev_last: Some(prev.seq),
        };
        Self {
            position: Position::new(base.epoch, base.seq.previous()),
            kind: RecordKind::Epoch { prev },
            bytes: Frame::from(frame).encode().into(),
            at,
        }
    }

    /// Commands up to `to` are given up; `head` is the last position of the log.
    pub fn expired(to: Position, head: Position, at: u64) -> Self {
        Self { position: head, kind: RecordKind::Expired { to }, bytes: Bytes::new(), at }
    }

    /// The payload as the writer sent it.
    pub fn payload(&self) -> &[u8] {
        match self.kind {
            RecordKind::Text { payload_len } => {
                let end = self.bytes.len().saturating_sub(1);
                &self.bytes[end.saturating_sub(payload_len)..end]
            }
            RecordKind::Start
            | RecordKind::Binary { .. }
            | RecordKind::Note
            | RecordKind::Epoch { .. }
            | RecordKind::Expired { .. } => &self.bytes,
        }
    }

    /// The same, shared with the record.
    pub fn payload_bytes(&self) -> Bytes {
        self.bytes.slice_ref(self.payload())
    }

    /// Tells whether it brings a message.
    pub fn is_message(&self) -> bool {
        matches!(self.kind, RecordKind::Text { .. } | RecordKind::Binary { .. })
    }

    /// Tells whether readers are sent it.
    pub fn is_told(&self) -> bool {
        !matches!(self.kind, RecordKind::Start | RecordKind::Expired { .. })
    }

    /// Tells whether it may stand right after a position.
    pub(super) fn follows(&self, before: Position) -> bool {
        match self.kind {
            RecordKind::Start => false,
            // Nothing follows the greatest number.
            RecordKind::Text { .. } | RecordKind::Binary { .. } => {
                self.position != before
                    && self.position == Position::new(before.epoch, before.seq.next())
            }
            RecordKind::Note => {
                self.position.epoch == before.epoch && self.position.seq > before.seq
            }
            RecordKind::Epoch { prev } => prev == before,
            RecordKind::Expired { .. } => self.position == before,
        }
    }

    /// Where a reader stands who needs nothing before this record.
    pub(super) fn before(&self) -> Position {
        let Position { epoch, seq, .. } = self.position;
        match self.kind {
            RecordKind::Start | RecordKind::Epoch { .. } | RecordKind::Expired { .. } => {
                Position::new(epoch, seq)
            }
            RecordKind::Text { .. } | RecordKind::Binary { .. } | RecordKind::Note => {
                Position::new(epoch, seq.previous())
            }
        }
    }
}

/// The commands that an expiry took from their member.
pub(crate) fn lost(ch: Channel, from: Position, to: Position) -> Lost {
    let start = if from.epoch == to.epoch { from.seq } else { Seq::ZERO.next() };
    Lost { ch, epoch: to.epoch, from: start, to: to.seq, reason: "expired".to_owned() }
}

/// Number of closed epochs that are remembered, with the number at which each ended.
pub(super) const CHAIN_MAX: usize = 8;

/// The epochs of a channel in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Chain {
    closed: std::collections::VecDeque<Position>,
}

impl Chain {
    /// An epoch ended here.
    pub(super) fn close(&mut self, at: Position) {
        self.closed.push_back(at);
        if self.closed.len() > CHAIN_MAX {
            self.closed.pop_front();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.closed.len()
    }

    /// Where a closed epoch ended, and its rank.
    pub(super) fn find(&self, epoch: Epoch) -> Option<(usize, Position)> {
        let rank = self.closed.iter().rposition(|p| p.epoch == epoch)?;
        self.closed.get(rank).map(|p| (rank, *p))
    }
}

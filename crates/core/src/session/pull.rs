//! What a connection writes next: control first, then channels by deficit round robin, then
//! volatile messages and acknowledgements.

use std::time::{Duration, Instant};

use belay_wire::{
    Ack, BINARY_CHANNELS_MAX, Channel, ConnectionId, Epoch, Frame, Gap, Live, Open, Positions, Seq,
    binary::{BinaryFrame, BinaryKind},
};
use bytes::Bytes;

use super::{ChannelState, Connection, Session, connection::Reader};
use crate::{
    Env,
    delivery::{Body, Next, Record, RecordKind, Volatile},
};

/// Bytes that one channel may send before the next one's turn.
const QUANTUM: usize = 16 * 1024;
/// Bytes after which a batch is written before more is taken.
const BATCH_BYTES: usize = 64 * 1024;
/// Acknowledgements to a writer wait at most this long for company.
const ACK_DELAY: Duration = Duration::from_millis(20);
/// Messages after which an acknowledgement does not wait.
const ACK_MESSAGES: usize = 32;

/// One frame to write.
#[derive(Debug, Clone)]
pub enum OutFrame {
    /// UTF-8 text.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl OutFrame {
    /// Size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Tells whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A gap that a reader was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapTold {
    pub reason: String,
    /// Messages that are missing, as far as this reader can prove it: those after the place that it had.
    pub missing: u64,
    /// It was told because the reader resumed from a place.
    pub resumed: bool,
}

impl GapTold {
    fn of(gap: &Gap, resumed: bool) -> Self {
        let had_a_place = matches!(&*gap.reason, "evicted" | "expired" | "log_lost");
        let missing = (gap.to.value() + 1).saturating_sub(gap.from.value());
        Self { reason: gap.reason.clone(), missing: if had_a_place { missing } else { 0 }, resumed }
    }
}

/// A batch to write with one flush.
#[derive(Debug, Default)]
pub struct Pulled {
    pub frames: Vec<OutFrame>,
    pub bytes: usize,
    /// More is ready: pull again after the write.
    pub more: bool,
    /// Gaps that were told in this batch.
    pub gaps: Vec<GapTold>,
    /// The connection is to be closed after this batch.
    pub close: Option<belay_wire::CloseCode>,
}

impl Pulled {
    fn text(&mut self, frame: impl Into<Frame>) {
        self.push(OutFrame::Text(frame.into().encode().into()));
    }

    pub(super) fn push(&mut self, frame: OutFrame) {
        self.bytes += frame.len();
        self.frames.push(frame);
    }
}

impl Session {
    /// Takes what this connection may be written now, within one batch.
    pub fn pull(&mut self, id: ConnectionId, env: &Env<'_>) -> Pulled {
        let mut out = Pulled::default();
        if self.record.compat.is_some() {
            return self.pull_compat(id, env);
        }
        let (presence, devices) = self.due_state(id, env);
        let Some(connection) = self.connections.get_mut(&id) else { return out };
        while let Some(frame) = connection.control.pop_front() {
            if let Frame::Gap(gap) = &frame {
                out.gaps.push(GapTold::of(gap, true));
            }
            out.text(frame);
        }
        if !connection.is_serving() {
            return out;
        }
        if let Some(presence) = presence {
            out.text(presence);
        }
        if let Some(devices) = devices {
            out.text(devices);
        }
        pull_channels(connection, &mut self.channels, env.now.mono, &mut out);
        pull_acks(connection, &self.channels, env.now.mono, &mut out);
        out
    }

    fn due_state(
        &mut self,
        id: ConnectionId,
        env: &Env<'_>,
    ) -> (Option<belay_wire::Presence>, Option<belay_wire::DeviceListed>) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| c.is_serving()) else {
            return (None, None);
        };
        let presence_due = std::mem::take(&mut connection.presence_due);
        let devices_due = std::mem::take(&mut connection.devices_due);
        let is_host = connection.is_host();
        (
            presence_due.then(|| self.presence(is_host)),
            devices_due.then(|| self.device_list(env.policy.devices_max)),
        )
    }

    /// When this connection has something to write although nothing happens: acknowledgements that
    /// wait for company. One that gave way to a newer one has nothing to write, however long it waits.
    pub fn pull_deadline(&self, id: ConnectionId) -> Option<Instant> {
        let connection = self.connections.get(&id).filter(|c| c.is_serving())?;
        connection.ack_due.values().min().map(|since| *since + ACK_DELAY)
    }

    /// Where this connection's reader was written up to, for the relay's ping.
    pub fn top(&self, id: ConnectionId) -> Positions {
        let Some(connection) = self.connections.get(&id) else { return Positions::new() };
        let at = |r: &Reader| r.cursor.at().map(|position| (r.channel, position));
        connection.readers.iter().filter_map(at).collect()
    }
}

type Channels = std::collections::BTreeMap<Channel, ChannelState>;

fn pull_channels(
    connection: &mut Connection,
    channels: &mut Channels,
    now: Instant,
    out: &mut Pulled,
) {
    let mut readers = std::mem::take(&mut connection.readers);
    let mut busy = true;
    while busy && out.bytes < BATCH_BYTES {
        busy = false;
        for reader in &mut readers {
            let Some(state) = channels.get(&reader.channel) else { continue };
            reader.deficit = (reader.deficit + QUANTUM).min(2 * QUANTUM);
            busy |= pull_reader(connection, reader, state, now, out);
        }
    }
    out.more = out.bytes >= BATCH_BYTES;
    pull_live(connection, &readers, channels, out);
    if !readers.is_empty() {
        readers.rotate_left(1);
    }
    connection.readers = readers;
}

/// Sends one channel's share; tells whether there is more of it.
pub(super) fn pull_reader(
    connection: &mut Connection,
    reader: &mut Reader,
    state: &ChannelState,
    now: Instant,
    out: &mut Pulled,
) -> bool {
    loop {
        match reader.cursor.next(reader.channel, &state.log) {
            Next::Wait => {
                reader.deficit = 0;
                let at = reader.cursor.at();
                let ch = reader.channel;
                reader.stamp = state.volatiles.since(reader.stamp, at, |message| {
                    send_volatile(connection, ch, message, out);
                });
                return false;
            }
            Next::Gap(gap) => {
                out.gaps.push(GapTold::of(&gap, false));
                out.text(gap);
            }
            Next::Record(record) => {
                let len = record.bytes.len();
                if !connection.window.has_room(len) {
                    connection.window.note_full(now);
                    return false;
                }
                if len > reader.deficit && reader.deficit < QUANTUM {
                    return true;
                }
                reader.deficit = reader.deficit.saturating_sub(len);
                send_record(connection, reader.channel, record, out);
                let position = record.position;
                connection.window.sent(reader.channel, position, len);
                reader.cursor.advance(position);
                if out.bytes >= BATCH_BYTES {
                    return true;
                }
            }
        }
    }
}

fn send_record(connection: &mut Connection, ch: Channel, record: &Record, out: &mut Pulled) {
    let RecordKind::Binary { header } = &record.kind else {
        // A reader of the compat protocol gets what the writer wrote, and nothing around it.
        let text = match connection.compat {
            Some(_) => record.payload_bytes(),
            None => record.bytes.clone(),
        };
        return out.push(OutFrame::Text(text));
    };
    let frame = BinaryFrame {
        kind: BinaryKind::Msg,
        channel: announced(connection, ch, record.position.epoch, out),
        seq: record.position.seq,
        header: Some(header.clone()),
        payload: record.bytes.clone(),
    };
    out.push(OutFrame::Binary(frame.encode()));
}

fn send_volatile(connection: &mut Connection, ch: Channel, message: &Volatile, out: &mut Pulled) {
    match &message.body {
        Body::Text(bytes) => out.push(OutFrame::Text(bytes.clone())),
        Body::Binary { header, payload } => {
            let frame = BinaryFrame {
                kind: BinaryKind::Vol,
                channel: announced(connection, ch, message.epoch, out),
                seq: Seq::new(message.vseq).unwrap_or(Seq::MAX),
                header: Some(header.clone()),
                payload: payload.clone(),
            };
            out.push(OutFrame::Binary(frame.encode()));
        }
    }
}

/// The number of a channel's epoch in binary frames on this connection, told before its first use.
fn announced(connection: &mut Connection, ch: Channel, epoch: Epoch, out: &mut Pulled) -> u32 {
    let known = connection.announced.iter().position(|a| *a == (ch, epoch));
    if known.is_none() && connection.announced.len() >= BINARY_CHANNELS_MAX {
        // A number that is told again names the new channel from there on.
        connection.announced.clear();
    }
    let at = known.unwrap_or(connection.announced.len());
    let id = u32::try_from(at).unwrap_or(u32::MAX);
    if known.is_none() {
        connection.announced.push((ch, epoch));
        out.text(Open { id, ch, epoch });
    }
    id
}

/// Says once that replay is over.
fn pull_live(
    connection: &mut Connection,
    readers: &[Reader],
    channels: &Channels,
    out: &mut Pulled,
) {
    let at_head =
        |r: &Reader| channels.get(&r.channel).is_none_or(|state| r.cursor.is_at_head(&state.log));
    if connection.live_due && readers.iter().all(at_head) {
        connection.live_due = false;
        let at = |r: &Reader| r.cursor.at().map(|position| (r.channel, position));
        out.text(Live { pos: readers.iter().filter_map(at).collect() });
    }
}

fn pull_acks(connection: &mut Connection, channels: &Channels, now: Instant, out: &mut Pulled) {
    let due = |since: &Instant| now.saturating_duration_since(*since) >= ACK_DELAY;
    let ready = connection.ack_count >= ACK_MESSAGES
        || !out.frames.is_empty()
        || connection.ack_due.values().any(due);
    if connection.ack_due.is_empty() || !ready {
        return;
    }
    let owed = std::mem::take(&mut connection.ack_due);
    connection.ack_count = 0;
    let pos: Positions = owed
        .into_keys()
        .filter_map(|ch| channels.get(&ch)?.log.ring().head().map(|head| (ch, head)))
        .collect();
    if !pos.is_empty() {
        out.text(Ack { pos });
    }
}

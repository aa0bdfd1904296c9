//! What every message log must do.

use std::sync::Arc;

use belay_wire::{Channel, Epoch, MemberId, Position, Seq, SessionId};
use bytes::Bytes;

use crate::{
    delivery::{Record, RecordKind},
    ports::{AppendError, ChannelId, Loaded, LogEvent, MessageLog, Tail},
};

/// A record of `bytes` bytes under the `n`-th name.
pub fn record(n: u64, bytes: usize) -> Record {
    let payload: String = std::iter::repeat_n('x', bytes).collect();
    Record {
        position: Position::new(Epoch(1), Seq::new(n).unwrap_or(Seq::MAX)),
        kind: RecordKind::Binary { header: format!("{{\"at\":{n}}}") },
        bytes: Bytes::from(payload),
        at: 1_700_000_000_000 + n,
    }
}

/// A channel of the `n`-th session.
pub fn channel(n: u8, channel: fn(MemberId) -> Channel) -> ChannelId {
    let member = MemberId::from_bytes([n; 16]);
    ChannelId { session: SessionId::from_bytes([n; 16]), channel: channel(member) }
}

/// The numbers of all records of a channel.
pub async fn numbers(log: &dyn MessageLog, id: ChannelId) -> Vec<u64> {
    let loaded = log.load(id).await.expect("readable");
    let records = loaded.entries.into_iter().flat_map(|entry| entry.records);
    records.map(|record| record.position.seq.value()).collect()
}

/// Runs the whole suite on an empty log.
pub async fn message_log(log: Arc<dyn MessageLog>) {
    log.check().await.expect("an empty log works");
    an_empty_channel_has_an_empty_tail(&*log).await;
    what_is_appended_is_read_back_whole(&*log).await;
    an_append_behind_the_tail_changes_nothing(&*log).await;
    of_two_appends_at_one_tail_one_wins(&*log).await;
    a_purge_keeps_the_bookmark_and_the_tail(&*log).await;
    channels_do_not_meet(&*log).await;
    a_forgotten_channel_is_empty(&*log).await;
}

async fn an_empty_channel_has_an_empty_tail(log: &dyn MessageLog) {
    let loaded = log.load(channel(1, Channel::Up)).await.expect("readable");
    assert_eq!((loaded.tail.offset, loaded.entries.len()), (0, 0));
}

async fn what_is_appended_is_read_back_whole(log: &dyn MessageLog) {
    let id = channel(2, |_| Channel::Down);
    let start = log.load(id).await.expect("readable").tail;
    let first = vec![record(1, 10), record(2, 0), record(3, 300_000)];

    let tail = log.append(id, start, first.clone()).await.expect("stored");
    let end = log.append(id, tail, vec![record(4, 1)]).await.expect("stored");

    assert!(start.offset < tail.offset && tail.offset < end.offset);
    let Loaded { tail: at, entries } = log.load(id).await.expect("readable");
    assert_eq!(at, end);
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[0].offset, &entries[0].records), (tail.offset, &first));
    assert_eq!((entries[1].offset, &entries[1].records), (end.offset, &vec![record(4, 1)]));
}

async fn an_append_behind_the_tail_changes_nothing(log: &dyn MessageLog) {
    let id = channel(2, |_| Channel::Down);
    let before = log.load(id).await.expect("readable");
    let behind = Tail { offset: before.entries[0].offset, ..before.tail };
    let elsewhere = Tail { incarnation: before.tail.incarnation.wrapping_add(1), ..before.tail };
    let ahead = Tail { offset: before.tail.offset + 1, ..before.tail };

    for wrong in [behind, elsewhere, ahead, Tail { offset: 0, ..before.tail }] {
        let refused = log.append(id, wrong, vec![record(9, 1)]).await.expect_err("not the tail");
        assert!(matches!(refused, AppendError::Conflict), "{refused}");
    }

    assert_eq!(log.load(id).await.expect("readable"), before);
}

async fn of_two_appends_at_one_tail_one_wins(log: &dyn MessageLog) {
    let id = channel(3, Channel::DownTo);
    let start = log.load(id).await.expect("readable").tail;
    let racing: Vec<_> = (1..=20).map(|n| log.append(id, start, vec![record(n, 5)])).collect();

    let mut stored = 0;
    for append in racing {
        match append.await {
            Ok(_) => stored += 1,
            Err(error) => assert!(matches!(error, AppendError::Conflict), "{error}"),
        }
    }

    assert_eq!(stored, 1);
    assert_eq!(numbers(log, id).await.len(), 1);
}

async fn a_purge_keeps_the_bookmark_and_the_tail(log: &dyn MessageLog) {
    let id = channel(4, Channel::Up);
    let mut tail = log.load(id).await.expect("readable").tail;
    let mut offsets = Vec::new();
    for n in 1..=5 {
        tail = log.append(id, tail, vec![record(n, 5)]).await.expect("stored");
        offsets.push(tail.offset);
    }

    log.purge(id, offsets[2]).await.expect("purged");
    assert_eq!(numbers(log, id).await, [3, 4, 5]);
    log.purge(id, offsets[1]).await.expect("an older purge is harmless");
    assert_eq!(numbers(log, id).await, [3, 4, 5]);
    log.purge(id, tail.offset + 10).await.expect("purged");
    assert_eq!(numbers(log, id).await, [5], "the tail always stays");
    assert_eq!(log.load(id).await.expect("readable").tail, tail);
    let next = log.append(id, tail, vec![record(6, 5)]).await.expect("stored");
    assert!(next.offset > tail.offset);
}

async fn channels_do_not_meet(log: &dyn MessageLog) {
    let session = SessionId::from_bytes([5; 16]);
    let member = MemberId::from_bytes([5; 16]);
    let channels = [Channel::Down, Channel::DownTo(member), Channel::Up(member)];
    for (n, channel) in (1..).zip(channels) {
        let id = ChannelId { session, channel };
        let tail = log.load(id).await.expect("readable").tail;
        log.append(id, tail, vec![record(n, 1)]).await.expect("stored");
    }
    for (n, channel) in (1..).zip(channels) {
        assert_eq!(numbers(log, ChannelId { session, channel }).await, [n]);
    }
}

async fn a_forgotten_channel_is_empty(log: &dyn MessageLog) {
    let id = channel(4, Channel::Up);

    log.forget(id).await.expect("forgotten");
    log.forget(id).await.expect("twice is once");

    let loaded = log.load(id).await.expect("readable");
    assert_eq!((loaded.tail.offset, loaded.entries.len()), (0, 0));
    assert_eq!(numbers(log, channel(2, |_| Channel::Down)).await.len(), 4, "others stay");
}

/// Runs the suite of logs that tell their entries to several nodes; `one` and `other` share a log.
pub async fn told_log(one: Arc<dyn MessageLog>, other: Arc<dyn MessageLog>) {
    let (tell, mut told) = std::sync::mpsc::sync_channel(100);
    other.subscribe(Arc::new(move |event| {
        let _ = tell.send(event);
    }));
    let id = channel(8, |_| Channel::Down);
    let mut tail = one.load(id).await.expect("readable").tail;
    let mut expected = Vec::new();
    for n in 1..=3 {
        let next = one.append(id, tail, vec![record(n, 3)]).await.expect("stored");
        expected.push((tail.offset, next, vec![record(n, 3)]));
        tail = next;
    }

    let event = |told: &mut std::sync::mpsc::Receiver<LogEvent>| loop {
        let patience = std::time::Duration::from_secs(10);
        match told.recv_timeout(patience).expect("told in time") {
            LogEvent::Stored { id: of, previous, tail, entry } if of == id => {
                assert_eq!(entry.offset, tail.offset);
                return (previous, tail, entry.records);
            }
            LogEvent::Stored { .. } | LogEvent::Tail { .. } | LogEvent::Doubt => {}
        }
    };
    for expected in expected {
        assert_eq!(event(&mut told), expected);
    }
}

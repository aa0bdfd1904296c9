//! What waits has bounds, and what can be one request is one.

use std::time::Duration;

use belay_core::ports::{
    AppendError, MessageLog,
    contract::log::{channel, numbers, record},
};
use belay_wire::Channel;
use rustix::process::Signal;

use super::{append, down, node, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_beyond_the_room_are_refused_and_the_others_are_stored() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let log = node(&server, "n1").await;
    let mut appends = Vec::new();
    let mut tails = Vec::new();
    for n in 0..150 {
        tails.push(log.load(down(n)).await.expect("readable").tail);
    }
    let large = record(1, 1 << 20);
    server.process().signal(Signal::STOP);
    tokio::time::sleep(Duration::from_millis(100)).await;
    for (n, tail) in (0..150).zip(tails) {
        appends.push((n, log.append(down(n), tail, vec![large.clone()])));
    }
    server.process().signal(Signal::CONT);

    let (mut stored, mut refused) = (0, 0);
    for (n, append) in appends {
        let expected = match append.await {
            Ok(_) => {
                stored += 1;
                vec![1]
            }
            Err(AppendError::Refused(text)) => {
                assert!(text.contains("too much waits"), "{text}");
                refused += 1;
                vec![]
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(numbers(&log, down(n)).await, expected, "{n}");
    }
    assert_eq!((stored, refused), (63, 87), "each takes a little more than 1 of 64 MiB");
    append(&log, down(200), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_of_one_channel_are_few_and_all_are_answered() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = start(folder.path());
    let log = node(&server, "n1").await;
    let id = channel(1, Channel::Up);
    MessageLog::watch(&log, id.session);
    let mut offsets = Vec::new();
    for n in 1..=50 {
        offsets.push(append(&log, id, n).await.offset);
    }
    let before = log.messages();

    let purges: Vec<_> = offsets.iter().map(|offset| log.purge(id, *offset)).collect();
    for purge in purges {
        purge.await.expect("purged");
    }

    assert_eq!(numbers(&log, id).await, [50]);
    assert!(log.messages() - before < 20, "{}", log.messages() - before);
    let late = log.purge(id, offsets[3]).await;
    late.expect("an older purge is harmless");
    assert_eq!(numbers(&log, id).await, [50]);
}

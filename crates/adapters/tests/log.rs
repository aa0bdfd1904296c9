//! The message log on disk: what crashes, damage and growth leave of it.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use belay_adapters::{DiskError, DiskLog, LogOptions, MemoryLog, SyncPolicy};
use belay_core::ports::{
    ChannelId, MessageLog, Tail,
    contract::log::{channel, message_log, numbers, record, told_log},
};
use belay_wire::Channel;

fn open(folder: &Path) -> DiskLog {
    DiskLog::open(folder, LogOptions::default()).expect("opens")
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder.join("log"))
        .expect("there is a folder")
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    paths
}

async fn append(log: &dyn MessageLog, id: ChannelId, n: u64, bytes: usize) -> Tail {
    let tail = log.load(id).await.expect("readable").tail;
    log.append(id, tail, vec![record(n, bytes)]).await.expect("stored")
}

fn down(n: u8) -> ChannelId {
    channel(n, |_| Channel::Down)
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_for_which_nothing_waits_takes_little_memory() {
    let anonymous_kib = || -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("readable");
        let line = status.lines().find(|l| l.starts_with("RssAnon:")).expect("told");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    };
    let folders: Vec<_> = (0..16).map(|_| tempfile::tempdir().expect("temporary folder")).collect();
    let before = anonymous_kib();

    let logs: Vec<_> = folders.iter().map(|folder| open(folder.path())).collect();

    let each = anonymous_kib().saturating_sub(before) / logs.len();
    assert!(each < 1_024, "{each} KiB each");
}

#[tokio::test]
async fn memory_keeps_the_contract_of_logs() {
    message_log(Arc::new(MemoryLog::default())).await;
    let log = MemoryLog::default();
    told_log(Arc::new(log.clone()), Arc::new(log)).await;
}

#[tokio::test]
async fn disk_keeps_the_contract_of_logs_with_every_sync_policy() {
    for sync in [SyncPolicy::Always, SyncPolicy::Every(Duration::from_millis(5)), SyncPolicy::Never]
    {
        let folder = tempfile::tempdir().expect("temporary folder");
        let options = LogOptions { sync, ..LogOptions::default() };
        message_log(Arc::new(DiskLog::open(folder.path(), options).expect("opens"))).await;
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_positions_go_on() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let log = open(folder.path());
    let (kept, gone) = (down(1), channel(2, Channel::Up));
    for n in 1..=5 {
        append(&log, kept, n, 10).await;
        append(&log, gone, n, 10).await;
    }
    let third = log.load(kept).await.expect("readable").entries[2].offset;
    log.purge(kept, third).await.expect("purged");
    log.forget(gone).await.expect("forgotten");
    let before = log.load(kept).await.expect("readable");
    drop(log);

    let log = open(folder.path());

    assert_eq!(log.notes(), [""; 0]);
    assert_eq!(log.load(kept).await.expect("readable"), before);
    assert_eq!(numbers(&log, kept).await, [3, 4, 5]);
    assert_eq!(numbers(&log, gone).await, [0; 0]);
    assert!(append(&log, kept, 6, 10).await.offset > before.tail.offset);
}

#[tokio::test]
async fn a_tail_cut_at_any_byte_is_cut_off_and_what_came_before_stays() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let log = open(folder.path());
    append(&log, down(1), 1, 40).await;
    let whole = std::fs::metadata(&segments(folder.path())[0]).expect("there").len();
    append(&log, down(1), 2, 40).await;
    drop(log);
    let bytes = std::fs::read(&segments(folder.path())[0]).expect("readable");

    for len in whole..bytes.len() as u64 {
        let copy = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir(copy.path().join("log")).expect("made");
        let name = segments(folder.path())[0].file_name().expect("named").to_owned();
        let cut = &bytes[..usize::try_from(len).expect("small")];
        std::fs::write(copy.path().join("log").join(name), cut).expect("written");

        let log = open(copy.path());

        assert_eq!(numbers(&log, down(1)).await, [1], "cut at {len}");
        assert_eq!(log.notes().len(), usize::from(len > whole), "{:?}", log.notes());
        assert_eq!(log.damaged(), 0);
        append(&log, down(1), 3, 1).await;
        drop(log);
        assert_eq!(numbers(&open(copy.path()), down(1)).await, [1, 3], "cut at {len}");
    }
}

#[tokio::test]
async fn a_flipped_bit_is_named_and_costs_only_its_own_entry() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let log = open(folder.path());
    let mut ends = Vec::new();
    for n in 1..=3 {
        append(&log, down(1), n, 20).await;
        append(&log, down(2), n, 20).await;
        ends.push(std::fs::metadata(&segments(folder.path())[0]).expect("there").len());
    }
    drop(log);
    let path = segments(folder.path())[0].clone();
    let whole = std::fs::read(&path).expect("readable");

    // Any bit of the second entry of the first channel and of the second of the second one.
    for at in (ends[0]..ends[1]).step_by(3) {
        let mut bytes = whole.clone();
        bytes[usize::try_from(at).expect("small")] ^= 0x10;
        std::fs::write(&path, &bytes).expect("written");

        let log = open(folder.path());

        assert_eq!(log.damaged(), 1, "bit at {at}: {:?}", log.notes());
        assert!(log.notes()[0].contains("damaged"), "{:?}", log.notes());
        let (one, two) = (numbers(&log, down(1)).await, numbers(&log, down(2)).await);
        assert_eq!(one.len() + two.len(), 5, "bit at {at}: {one:?} {two:?}");
    }
}

#[tokio::test]
async fn a_log_of_a_newer_version_is_refused_and_a_strange_file_is_set_aside() {
    let folder = tempfile::tempdir().expect("temporary folder");
    append(&open(folder.path()), down(1), 1, 10).await;
    let path = segments(folder.path())[0].clone();
    let file = OpenOptions::new().write(true).open(&path).expect("writable");
    file.write_all_at(&[0, 0, 0, 9], 8).expect("written");

    let refused = DiskLog::open(folder.path(), LogOptions::default()).expect_err("newer");
    assert!(matches!(refused, DiskError::Newer { found: 9, .. }), "{refused}");

    file.write_all_at(b"NOTALOG!", 0).expect("written");
    let log = open(folder.path());
    assert_eq!((log.damaged(), numbers(&log, down(1)).await), (1, vec![]));
    assert!(path.with_extension("damaged").exists());
    append(&log, down(1), 2, 10).await;
    assert_eq!(numbers(&log, down(1)).await, [2]);
}

#[tokio::test]
async fn space_is_given_back_and_a_slow_channel_does_not_pin_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let options =
        LogOptions { segment_bytes: 64 * 1024, sync: SyncPolicy::Never, ..LogOptions::default() };
    let log = DiskLog::open(folder.path(), options).expect("opens");
    let (slow, busy) = (channel(9, Channel::Up), channel(1, Channel::Up));
    append(&log, slow, 1, 100).await;

    for n in 1..=2_000 {
        let tail = append(&log, busy, n, 1_000).await;
        log.purge(busy, tail.offset).await.expect("purged");
    }

    let (total, live) = log.sizes();
    assert!(total <= 6 * 64 * 1024, "{total} bytes for {live} that are needed");
    assert!(segments(folder.path()).len() <= 6);
    assert_eq!(numbers(&log, slow).await, [1]);
    let tail = log.load(slow).await.expect("readable").tail;
    drop(log);
    let log = DiskLog::open(folder.path(), options).expect("opens again");
    assert_eq!((numbers(&log, slow).await, numbers(&log, busy).await), (vec![1], vec![2_000]));
    assert_eq!(log.load(slow).await.expect("readable").tail, tail);
}

#[tokio::test]
async fn messages_of_sessions_that_sleep_leave_by_their_age() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let options =
        LogOptions { segment_bytes: 16 * 1024, sync: SyncPolicy::Never, ..LogOptions::default() };
    let log = DiskLog::open(folder.path(), options).expect("opens");
    let (old, commands) = (down(3), channel(3, Channel::Up));
    // The samples are of 2023.
    for n in 1..=10 {
        append(&log, old, n, 1_000).await;
        append(&log, commands, n, 10).await;
    }

    let busy = channel(1, Channel::Up);
    for n in 1..=200 {
        let tail = append(&log, busy, n, 1_000).await;
        log.purge(busy, tail.offset).await.expect("purged");
    }

    assert_eq!(numbers(&log, old).await, [10], "the tail stays");
    assert_eq!(numbers(&log, commands).await.len(), 10, "commands wait for their host");
}

#[tokio::test]
async fn many_channels_share_few_files_and_few_syncs() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let log = open(folder.path());
    let files = || std::fs::read_dir("/proc/self/fd").expect("readable").count();
    let before = files();
    let ids: Vec<_> = (0..200).map(down).collect();
    for n in 1..=3 {
        let mut appends = Vec::new();
        for id in &ids {
            let tail = log.load(*id).await.expect("readable").tail;
            appends.push(log.append(*id, tail, vec![record(n, 10)]));
        }
        for append in appends {
            append.await.expect("stored");
        }
    }

    assert!(files() <= before + 2, "{} files", files());
    for id in ids {
        assert_eq!(numbers(&log, id).await, [1, 2, 3]);
    }
}

#[test]
fn sync_policies_are_read_and_anything_else_is_refused() {
    assert_eq!("always".parse(), Ok(SyncPolicy::Always));
    assert_eq!("never".parse(), Ok(SyncPolicy::Never));
    assert_eq!("250".parse(), Ok(SyncPolicy::Every(Duration::from_millis(250))));
    for wrong in ["", "sometimes", "0", "60001", "-1", "5ms"] {
        let error = wrong.parse::<SyncPolicy>().expect_err("refused");
        assert!(error.contains("always"), "{error}");
    }
}

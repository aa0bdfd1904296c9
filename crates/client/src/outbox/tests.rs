use belay_wire::{Ack, Frame, Nack, NackReason, Position, Positions, RawJson};

use super::*;
use crate::ledger::Heard;

const DOWN: Channel = Channel::Down;

fn seq(n: u64) -> Seq {
    Seq::new(n).expect("small")
}

fn open(folder: &tempfile::TempDir) -> (OutboxFile, Ledger) {
    let mut file = OutboxFile::open(&folder.path().join("outbox")).expect("opens");
    let writers = file.take_writers();
    (file, Ledger::restored(writers, &[]))
}

fn push(ledger: &mut Ledger, n: u64) {
    ledger.push(DOWN, RawJson::of(&n).expect("JSON"), None, Epoch(1)).expect("room");
}

fn hear(ledger: &mut Ledger, frame: impl Into<Frame>) -> Heard {
    ledger.hear(frame.into(), std::time::Instant::now(), &mut || Epoch(7))
}

fn kept(ledger: &Ledger) -> Vec<Kept> {
    ledger.writers().map(Writer::kept).collect()
}

#[test]
fn an_outbox_is_found_as_it_was_left_after_each_kind_of_change() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut file, mut ledger) = open(&folder);
    let check = |ledger: &mut Ledger, file: &mut OutboxFile| {
        file.record(ledger).expect("written");
        let found = read(&std::fs::read(&file.path).expect("readable")).expect("whole");
        assert_eq!(found.into_values().collect::<Vec<_>>(), kept(ledger));
    };

    (1..=5).for_each(|n| push(&mut ledger, n));
    check(&mut ledger, &mut file);
    ledger.outgoing(std::time::Instant::now());
    check(&mut ledger, &mut file);
    let pos = Positions::from([(DOWN, Position::new(Epoch(1), seq(2)))]);
    hear(&mut ledger, belay_wire::Stable { pos: pos.clone() });
    hear(&mut ledger, Ack { pos });
    check(&mut ledger, &mut file);
    push(&mut ledger, 6);
    check(&mut ledger, &mut file);
    let (epoch, reason) = (Some(Epoch(1)), NackReason::EpochClosed);
    hear(&mut ledger, Nack { ch: DOWN, epoch, expect: None, reason, retry_ms: None });
    check(&mut ledger, &mut file);
    let (epoch, expect, reason) = (Some(Epoch(7)), Some(seq(1)), NackReason::TooLarge);
    hear(&mut ledger, Nack { ch: DOWN, epoch, expect, reason, retry_ms: None });
    check(&mut ledger, &mut file);
    ledger.forget(DOWN);
    check(&mut ledger, &mut file);
}

#[test]
fn a_process_that_was_killed_goes_on_under_the_same_names() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut file, mut ledger) = open(&folder);
    (1..=3).for_each(|n| push(&mut ledger, n));
    file.record(&ledger).expect("written");
    drop((file, ledger));

    let (_file, mut ledger) = open(&folder);

    assert_eq!(ledger.head(DOWN), Some(Position::new(Epoch(1), seq(3))));
    let base = ledger.bases()[&DOWN];
    assert_eq!((base.epoch, base.seq, base.fresh), (Epoch(1), seq(1), false));
}

#[test]
fn an_outbox_has_one_owner() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (_file, _) = open(&folder);

    let error = OutboxFile::open(&folder.path().join("outbox")).expect_err("it is owned");

    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
}

#[test]
fn a_file_that_is_cut_anywhere_gives_what_was_written_before() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut file, mut ledger) = open(&folder);
    let mut lengths = vec![(file.len, 0)];
    for n in 1..=4 {
        push(&mut ledger, n);
        file.record(&ledger).expect("written");
        lengths.push((file.len, n));
    }
    let text = std::fs::read(&file.path).expect("readable");
    let first = usize::try_from(lengths[0].0).expect("small");

    for cut in first..text.len() {
        let found = read(&text[..cut]).expect("a cut end is no damage");
        let count = found.values().map(|kept| kept.outbox.len() as u64).sum::<u64>();
        let whole = lengths.iter().rev().find(|(len, _)| *len <= cut as u64).expect("the first");
        assert_eq!(count, whole.1, "cut at {cut}");
    }
}

#[test]
fn damage_and_other_versions_are_told_with_the_line() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut file, mut ledger) = open(&folder);
    (1..=3).for_each(|n| push(&mut ledger, n));
    file.record(&ledger).expect("written");
    push(&mut ledger, 4);
    file.record(&ledger).expect("written");
    drop(file);
    let path = folder.path().join("outbox");
    let text = std::fs::read(&path).expect("readable");
    let second = text.iter().position(|b| *b == b'\n').expect("lines") + 20;

    let mut flipped = text.clone();
    flipped[second] ^= 1;
    std::fs::write(&path, flipped).expect("written");
    let error = OutboxFile::open(&path).expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("line 2 is damaged"), "{error}");

    let mut newer = Vec::new();
    put(&Line::Outbox { version: 2 }, &mut newer).expect("JSON");
    std::fs::write(&path, newer).expect("written");
    let error = OutboxFile::open(&path).expect_err("it is of another version");
    assert!(error.to_string().contains("version 2"), "{error}");
    std::fs::write(&path, "hello\nworld\n").expect("written");
    assert!(OutboxFile::open(&path).is_err(), "it is no outbox");
}

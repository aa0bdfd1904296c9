//! One log, one reader that comes and goes: whatever happens, it gets each message once and in
//! order, or a gap that names what is missing.

use std::time::{Duration, Instant};

use belay_core::delivery::{Cursor, Log, LogLimits, Next, RecordKind};
use belay_wire::{Channel, Epoch, Msg, NackReason, Position, RawJson, Seq};
use proptest::prelude::*;

const LIMITS: LogLimits = LogLimits {
    messages: 10,
    bytes: 1_000_000,
    age: Duration::from_mins(1),
    keep_unapplied: false,
};

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
fn some_instant() -> Instant {
    Instant::now()
}

fn seq(n: u64) -> Seq {
    Seq::new(n).expect("small")
}

fn message(epoch: Epoch, n: u64) -> Msg {
    Msg {
        ch: Channel::Down,
        epoch,
        seq: seq(n),
        flags: None,
        key: None,
        at: None,
        from: None,
        p: RawJson::of(&n).expect("JSON"),
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(u8),
    /// The reader takes up to so many records.
    Read(u8),
    /// The reader reconnects with what it has.
    Resume,
    /// The relay loses its log; the writer announces what it still has.
    Lose {
        window: u8,
    },
    /// The writer loses its memory.
    NewEpoch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u8..6).prop_map(Step::Append),
        4 => (1_u8..6).prop_map(Step::Read),
        2 => Just(Step::Resume),
        1 => (0_u8..8).prop_map(|window| Step::Lose { window }),
        1 => Just(Step::NewEpoch),
    ];
    proptest::collection::vec(step, 1..80)
}

/// The writer, the log and the reader's own memory.
struct World {
    log: Log,
    cursor: Cursor,
    epoch: Epoch,
    next: u64,
    now: Instant,
    /// What the reader has applied, or was told is gone.
    at: Option<Position>,
}

impl World {
    fn append(&mut self) {
        let msg = message(self.epoch, self.next);
        let position = Position::new(self.epoch, seq(self.next));
        let verdict = self.log.judge(position, Some(msg.p.text().as_bytes()));
        assert_eq!(verdict, Ok(None), "the writer sends the next number");
        self.log.append(&msg, self.now);
        self.next += 1;
    }

    /// One record or gap; `false` if there is none.
    fn read(&mut self) -> bool {
        let (position, is_message) = match self.cursor.next(Channel::Down, &self.log) {
            Next::Wait => return false,
            Next::Gap(gap) => {
                self.at = Some(Position::new(gap.epoch, gap.to));
                return true;
            }
            Next::Record(record) => {
                if let (RecordKind::Epoch { prev }, Some(at)) = (&record.kind, self.at)
                    && prev.epoch == at.epoch
                {
                    assert!(at.seq >= prev.seq, "the end of an epoch is not skipped in silence");
                }
                let note = !record.bytes.starts_with(b"{\"k\":\"msg\"");
                (record.position, !note)
            }
        };
        self.cursor.advance(position);
        // The client library drops a name that it has applied.
        let known = self.at.is_some_and(|at| at.epoch == position.epoch && position.seq <= at.seq);
        if let Some(at) = self.at.filter(|_| is_message && !known) {
            assert_eq!(at.epoch, position.epoch, "a new epoch is told before its messages");
            assert_eq!(position.seq, at.seq.next(), "no hole without a gap");
        }
        if !known {
            self.at = Some(position);
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_reader_gets_each_message_once_in_order_or_a_gap(steps in steps()) {
        let now = some_instant();
        let epoch = Epoch(1);
        let mut log = Log::new(LIMITS);
        log.announce(Channel::Down, Position::new(epoch, seq(1)), now);
        let cursor = Cursor::new(None);
        let mut world = World { log, cursor, epoch, next: 1, now, at: None };
        world.cursor.resolve(Channel::Down, &world.log);
        for step in steps {
            match step {
                Step::Append(n) => (0..n).for_each(|_| world.append()),
                Step::Read(n) => for _ in 0..n { if !world.read() { break } },
                Step::Resume => world.cursor = Cursor::new(world.at),
                Step::Lose { window } => {
                    let base = world.next.saturating_sub(u64::from(window)).max(1);
                    world.log = Log::new(LIMITS);
                    let at = Position::new(world.epoch, seq(base));
                    world.log.announce(Channel::Down, at, now);
                    let next = world.next;
                    world.next = base;
                    while world.next < next { world.append() }
                    world.cursor = Cursor::new(world.at);
                }
                Step::NewEpoch => {
                    world.epoch = Epoch(world.epoch.0 + 1);
                    world.next = 1;
                    let at = Position { fresh: true, ..Position::new(world.epoch, seq(1)) };
                    world.log.announce(Channel::Down, at, now);
                }
            }
        }
        while world.read() {}
        // In the end the reader stands where the writer does.
        if world.next > 1 && world.at.is_some() {
            prop_assert_eq!(world.at, Some(Position::new(world.epoch, seq(world.next - 1))));
        }
    }
}

#[test]
fn what_an_unapplied_command_channel_holds_is_never_evicted() {
    let now = some_instant();
    let mut log = Log::new(LogLimits { keep_unapplied: true, ..LIMITS });
    let channel = Channel::Up(belay_wire::MemberId::from_bytes([1; 16]));
    log.announce(channel, Position::new(Epoch(1), seq(1)), now);
    for n in 1..=10 {
        assert_eq!(log.judge(Position::new(Epoch(1), seq(n)), Some(b"1")), Ok(None));
        log.append(&message(Epoch(1), n), now);
    }

    let refused = log.judge(Position::new(Epoch(1), seq(11)), Some(b"1")).expect_err("full");
    assert_eq!(refused.reason, NackReason::Full);

    log.applied(Position::new(Epoch(1), seq(3)));
    assert_eq!(log.judge(Position::new(Epoch(1), seq(11)), Some(b"1")), Ok(None));
}

#[test]
fn names_that_are_taken_are_judged_by_their_bytes() {
    let now = some_instant();
    let mut log = Log::new(LIMITS);
    log.announce(Channel::Down, Position::new(Epoch(1), seq(1)), now);
    log.append(&message(Epoch(1), 1), now);
    let first = Position::new(Epoch(1), seq(1));

    assert!(matches!(log.judge(first, Some(b"1")), Ok(Some(_))), "the same bytes again");
    assert_eq!(log.judge(first, Some(b"2")).expect_err("other bytes").reason, NackReason::Conflict);
    let hole = log.judge(Position::new(Epoch(1), seq(5)), Some(b"5")).expect_err("a hole");
    assert_eq!((hole.reason, hole.expect), (NackReason::Hole, seq(2)));
    let second = Position { fresh: true, ..Position::new(Epoch(2), seq(1)) };
    log.announce(Channel::Down, second, now);
    let closed = log.judge(Position::new(Epoch(1), seq(2)), Some(b"2")).expect_err("closed");
    assert_eq!(closed.reason, NackReason::EpochClosed);
}

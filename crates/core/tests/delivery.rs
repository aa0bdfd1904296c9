//! One log, one reader that comes and goes: whatever happens, it gets each message once and in
//! order, or a gap that names what is missing.

use std::time::{Duration, Instant};

#[path = "common/logs.rs"]
mod logs;

use belay_core::{
    Input, Now,
    delivery::{Accepted, Ask, Cursor, Log, LogLimits, Next, Outcome, Record, RecordKind},
    ports::{Entry, Loaded, LogUnavailable, Tail},
    session::LogTold,
};
use belay_wire::{Channel, Epoch, MemberId, Msg, NackReason, Position, RawJson, Seq};
use logs::Logs;
use proptest::prelude::*;

const LIMITS: LogLimits = LogLimits {
    messages: 10,
    bytes: 1_000_000,
    age: Duration::from_mins(1),
    keep_unapplied: false,
};

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
fn some_time() -> Now {
    Now { mono: Instant::now(), unix_ms: 1_700_000_000_000 }
}

/// Does all that a log asks for, and gives what came of it.
fn settle(log: &mut Log, stored: &mut Logs, now: Now) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    while let Some(ask) = log.ask(now) {
        for input in stored.carry_out(vec![(Channel::Down, ask)]) {
            let Input::Log { told, .. } = input else { panic!("logs answer") };
            outcomes.push(match told {
                LogTold::Loaded(answer) => log.on_loaded(answer, now),
                LogTold::Appended(answer) => log.on_appended(&answer, now),
                LogTold::Stored { .. } | LogTold::Hint(_) | LogTold::Tail(_) | LogTold::Doubt => {
                    panic!("not asked for")
                }
            });
        }
    }
    outcomes
}

/// An open log and where it stores.
fn open(channel: Channel, limits: LogLimits, now: Now) -> (Log, Logs) {
    let (mut log, mut stored) = (Log::new(channel, limits), Logs::default());
    settle(&mut log, &mut stored, now);
    (log, stored)
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
        was: Vec::new(),
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
    /// The relay starts again on the log that is stored.
    Restart,
    /// The relay starts again on an empty log; the writer announces what it still has.
    Lose {
        window: u8,
    },
    /// The log is lost under a relay that goes on.
    LoseLive {
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
        1 => Just(Step::Restart),
        1 => (0_u8..8).prop_map(|window| Step::Lose { window }),
        1 => (0_u8..8).prop_map(|window| Step::LoseLive { window }),
        1 => Just(Step::NewEpoch),
    ];
    proptest::collection::vec(step, 1..80)
}

/// The writer, the log and the reader's own memory.
struct World {
    log: Log,
    stored: Logs,
    cursor: Cursor,
    epoch: Epoch,
    next: u64,
    now: Now,
    /// What the reader has applied, or was told is gone.
    at: Option<Position>,
}

impl World {
    fn append(&mut self) {
        let msg = message(self.epoch, self.next);
        let position = Position::new(self.epoch, seq(self.next));
        let verdict = self.log.judge(position, Some(msg.p.text().as_bytes()));
        assert_eq!(verdict, Ok(Accepted::Next), "the writer sends the next number");
        self.log.enqueue(Record::message(&msg, self.now.unix_ms));
        self.next += 1;
        assert!(self.log.ring().last_of(self.epoch).is_none_or(|seq| seq < position.seq));
        self.settle();
    }

    fn settle(&mut self) {
        for outcome in settle(&mut self.log, &mut self.stored, self.now) {
            if outcome.reset {
                self.cursor.reset();
            }
        }
    }

    fn announce(&mut self, base: u64, fresh: bool) {
        let at = Position { fresh, ..Position::new(self.epoch, seq(base)) };
        self.log.announce(at, self.now);
        self.settle();
    }

    /// The writer sends again what it still has.
    fn send_again(&mut self, window: u8) {
        let base = self.next.saturating_sub(u64::from(window)).max(1);
        self.announce(base, false);
        let next = std::mem::replace(&mut self.next, base);
        while self.next < next {
            self.append();
        }
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
        let now = some_time();
        let (log, stored) = open(Channel::Down, LIMITS, now);
        let cursor = Cursor::new(None);
        let mut world = World { log, stored, cursor, epoch: Epoch(1), next: 1, now, at: None };
        world.announce(1, false);
        world.cursor.resolve(Channel::Down, &world.log);
        for step in steps {
            match step {
                Step::Append(n) => (0..n).for_each(|_| world.append()),
                Step::Read(n) => for _ in 0..n { if !world.read() { break } },
                Step::Resume => world.cursor = Cursor::new(world.at),
                Step::Restart => {
                    world.log = Log::new(Channel::Down, LIMITS);
                    world.settle();
                    world.cursor = Cursor::new(world.at);
                }
                Step::Lose { window } => {
                    (world.log, world.stored) = open(Channel::Down, LIMITS, now);
                    world.send_again(window);
                    world.cursor = Cursor::new(world.at);
                }
                Step::LoseLive { window } => {
                    world.stored = Logs::default();
                    world.log.doubt();
                    world.settle();
                    world.send_again(window);
                }
                Step::NewEpoch => {
                    world.epoch = Epoch(world.epoch.0 + 1);
                    world.next = 1;
                    world.announce(1, true);
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
    let now = some_time();
    let channel = Channel::Up(belay_wire::MemberId::from_bytes([1; 16]));
    let (mut log, mut stored) = open(channel, LogLimits { keep_unapplied: true, ..LIMITS }, now);
    log.announce(Position::new(Epoch(1), seq(1)), now);
    for n in 1..=10 {
        let at = Position::new(Epoch(1), seq(n));
        assert_eq!(log.judge(at, Some(b"1")), Ok(Accepted::Next));
        log.enqueue(Record::message(&message(Epoch(1), n), now.unix_ms));
    }
    settle(&mut log, &mut stored, now);

    let refused = log.judge(Position::new(Epoch(1), seq(11)), Some(b"1")).expect_err("full");
    assert_eq!(refused.reason, NackReason::Full);

    log.applied(Position::new(Epoch(1), seq(3)));
    assert_eq!(log.judge(Position::new(Epoch(1), seq(11)), Some(b"1")), Ok(Accepted::Next));
}

#[test]
fn names_that_are_taken_are_judged_by_their_bytes() {
    let now = some_time();
    let (mut log, mut stored) = open(Channel::Down, LIMITS, now);
    log.announce(Position::new(Epoch(1), seq(1)), now);
    log.enqueue(Record::message(&message(Epoch(1), 1), now.unix_ms));
    let first = Position::new(Epoch(1), seq(1));

    for stored_yet in [Accepted::Queued, Accepted::Stored] {
        assert_eq!(log.judge(first, Some(b"1")), Ok(stored_yet), "the same bytes again");
        let other = log.judge(first, Some(b"2")).expect_err("other bytes");
        assert_eq!(other.reason, NackReason::Conflict);
        settle(&mut log, &mut stored, now);
    }
    let hole = log.judge(Position::new(Epoch(1), seq(5)), Some(b"5")).expect_err("a hole");
    assert_eq!((hole.reason, hole.expect), (NackReason::Hole, seq(2)));
    let second = Position { fresh: true, ..Position::new(Epoch(2), seq(1)) };
    log.announce(second, now);
    let closed = log.judge(Position::new(Epoch(1), seq(2)), Some(b"2")).expect_err("closed");
    assert_eq!(closed.reason, NackReason::EpochClosed);
}

#[test]
fn who_came_before_a_log_began_is_told_that_its_beginning_is_gone() {
    let now = some_time();
    let (mut log, _) = open(Channel::Down, LIMITS, now);
    let mut cursor = Cursor::new(None);
    assert!(matches!(cursor.next(Channel::Down, &log), Next::Wait));
    // Another node stored much while this one could not read the log.
    log.doubt();
    log.ask(now);
    let entry =
        |n: u64| Entry { offset: n, records: vec![Record::message(&message(Epoch(1), n), 0)] };
    let tail = Tail { incarnation: 0, offset: 5 };
    log.on_loaded(Ok(Loaded { tail, entries: (4..=5).map(entry).collect() }), now);

    let Next::Gap(gap) = cursor.next(Channel::Down, &log) else { panic!("nothing is told") };

    assert_eq!((gap.from, gap.to), (seq(1), seq(3)));
    let Next::Record(next) = cursor.next(Channel::Down, &log) else { panic!("nothing follows") };
    assert_eq!(next.position.seq, seq(4));
}

#[test]
fn a_log_that_ends_elsewhere_than_was_known_is_read_again() {
    let now = some_time();
    let (mut log, _) = open(Channel::Down, LIMITS, now);
    log.on_tail(Tail::default());
    assert_eq!(log.ask(now), None, "that is where it ends");

    log.on_tail(Tail { incarnation: 0, offset: 5 });

    assert_eq!(log.ask(now), Some(Ask::Load));
}

#[test]
fn a_log_that_cannot_be_read_is_trouble_at_once_for_who_writes_and_soon_for_all() {
    let mut now = some_time();
    let (mut log, _) = open(Channel::Down, LIMITS, now);
    let mut read_in_vain = |log: &mut Log| {
        log.tick(now);
        log.doubt();
        assert_eq!(log.ask(now), Some(Ask::Load));
        now.mono += Duration::from_secs(9);
        log.tick(now);
        log.on_loaded(Err(LogUnavailable("no leader".to_owned())), now);
        now.mono += Duration::from_secs(9);
        log.is_in_trouble()
    };

    assert!(!read_in_vain(&mut log), "brokers choose a leader");
    let mut written = log.clone();
    written.enqueue(Record::start(Position::new(Epoch(1), seq(1)), 0));
    assert!(written.is_in_trouble(), "something waits");
    let told: Vec<_> = (0..4).map(|_| read_in_vain(&mut log)).collect();
    assert_eq!(told, [false, false, true, true]);
}

#[test]
fn a_log_that_was_never_read_is_trouble_when_it_cannot_be() {
    let now = some_time();
    let mut log = Log::new(Channel::Down, LIMITS);
    log.ask(now);

    log.on_loaded(Err(LogUnavailable("no leader".to_owned())), now);

    assert!(log.is_in_trouble());
}

#[test]
fn a_host_that_came_before_a_phone_began_at_another_node_is_told_no_gap() {
    let now = some_time();
    let channel = Channel::Up(MemberId::from_bytes([1; 16]));
    let (mut log, _) = open(channel, LogLimits { keep_unapplied: true, ..LIMITS }, now);
    let mut cursor = Cursor::new(None);
    assert!(matches!(cursor.next(channel, &log), Next::Wait));
    log.doubt();
    log.ask(now);
    let start = Record::start(Position::new(Epoch(1), seq(1)), 0);
    let tail = Tail { incarnation: 0, offset: 1 };
    let begun = Loaded { tail, entries: vec![Entry { offset: 1, records: vec![start] }] };
    log.on_loaded(Ok(begun), now);

    assert!(matches!(cursor.next(channel, &log), Next::Wait), "nothing was sent yet");
}

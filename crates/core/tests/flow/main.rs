//! Slow readers, floods, and who may write what, on a session with a host and a phone.

#[path = "../common/around.rs"]
mod around;
mod binary;
#[path = "../common/logs.rs"]
mod logs;
#[path = "../common/phone.rs"]
mod phone;
mod strange;
#[path = "../common/told.rs"]
mod told;
mod world;

use std::time::Duration;

use belay_core::{
    Effect, Event, Input,
    delivery::Record,
    ports::{Entry, Tail},
    session::LogTold,
};
use belay_wire::{
    Channel, CloseCode, Epoch, Frame, Msg, NackReason, Position, Positions, RawJson, Seq,
};
use world::{HOST, PHONE, World, member};

fn seq(n: u64) -> Seq {
    Seq::new(n).expect("small")
}

fn message(ch: Channel, n: u64, size: usize) -> Frame {
    let p = RawJson::of(&"x".repeat(size)).expect("JSON");
    let (epoch, at, from) = (Epoch(1), None, None);
    Msg { ch, epoch, seq: seq(n), flags: None, key: None, was: Vec::new(), at, from, p }.into()
}

fn announced(ch: Channel) -> Positions {
    Positions::from([(ch, Position::new(Epoch(1), seq(1)))])
}

#[test]
fn a_reader_that_acknowledges_nothing_is_held_back_then_closed() {
    let mut world = World::new(announced(Channel::Down), Positions::new());
    for n in 1..=150 {
        world.frame(HOST, message(Channel::Down, n, 10_000));
    }

    let mut sent = 0;
    for _ in 0..100 {
        sent += world.pull(PHONE).iter().filter(|f| f.kind() == "msg").count();
    }

    assert!((90..=110).contains(&sent), "the window is one mebibyte, not {sent} messages");
    world.wait(Duration::from_secs(31));
    let effects = world.give(Input::Tick);
    let closed = effects.then.iter().any(|e| {
        matches!(e, Effect::Close { connection, code: CloseCode::SlowConsumer } if *connection == PHONE)
    });
    assert!(closed, "{effects:?}");
}

#[test]
fn an_acknowledgement_lets_the_reader_go_on() {
    let mut world = World::new(announced(Channel::Down), Positions::new());
    for n in 1..=150 {
        world.frame(HOST, message(Channel::Down, n, 10_000));
    }
    let mut got = Vec::new();
    for _ in 0..100 {
        for frame in world.pull(PHONE) {
            if let Frame::Msg(m) = frame {
                got.push(m.seq.value());
                let pos = Positions::from([(m.ch, Position::new(m.epoch, m.seq))]);
                let effects = world.frame(PHONE, belay_wire::Ack { pos }.into());
                assert!(effects.wake.contains(&PHONE), "it is woken to be written again");
            }
        }
    }
    assert_eq!(got, (1..=150).collect::<Vec<_>>());
}

#[test]
fn a_flooding_phone_is_told_to_wait_and_nothing_is_lost() {
    let up = Channel::Up(world::member());
    let mut world = World::new(Positions::new(), announced(up));
    let mut refused = None;
    for n in 1..=1_000 {
        world.frame(PHONE, message(up, n, 1));
        let nack = world
            .pull(PHONE)
            .into_iter()
            .find_map(|f| if let Frame::Nack(nack) = f { Some(nack) } else { None });
        if nack.is_some() {
            refused = nack;
            break;
        }
    }
    let nack = refused.expect("a flood is refused");
    assert!(matches!(nack.reason, NackReason::RateLimited | NackReason::Full), "{nack:?}");
    assert!(nack.retry_ms.is_some());
    let expect = nack.expect.expect("where to go on").value();

    // What follows is ignored until the refused one comes again.
    world.frame(PHONE, message(up, expect + 1, 1));
    world.wait(Duration::from_secs(2));
    let ack = Positions::from([(up, Position::new(Epoch(1), seq(expect - 1)))]);
    world.pull(HOST);
    world.frame(HOST, belay_wire::Ack { pos: ack }.into());
    let effects = world.frame(PHONE, message(up, expect, 1));
    assert!(effects.events.iter().any(|e| matches!(e, Event::MessageStored { .. })), "{effects:?}");
}

#[test]
fn nobody_writes_a_channel_that_is_not_theirs() {
    let other = Channel::Up(belay_wire::MemberId::from_bytes([77; 16]));
    for (from, channel) in [(PHONE, Channel::Down), (PHONE, other), (HOST, other)] {
        let mut world = World::new(announced(Channel::Down), Positions::new());
        world.frame(from, message(channel, 1, 1));

        let nack = world
            .pull(from)
            .into_iter()
            .find_map(|f| if let Frame::Nack(nack) = f { Some(nack) } else { None });

        assert_eq!(nack.map(|n| n.reason), Some(NackReason::NotAllowed), "{channel}");
    }
}

#[test]
fn frames_that_only_the_host_may_send_close_a_phone() {
    let revoke = belay_wire::DeviceRevoke { member: world::member() };
    let mut world = World::new(Positions::new(), Positions::new());

    let effects = world.frame(PHONE, revoke.into());

    let closed = effects
        .then
        .iter()
        .any(|e| matches!(e, Effect::Close { code: CloseCode::ProtocolError, .. }));
    assert!(closed, "{effects:?}");
}

#[test]
fn what_a_phone_acknowledged_while_its_host_was_away_is_told_to_the_host_that_comes_back() {
    let ch = Channel::DownTo(member());
    let mut world = World::new(announced(ch), Positions::new());
    for n in 1..=3 {
        world.frame(HOST, message(ch, n, 1));
    }
    world.pull(PHONE);
    world.give(Input::Detach { connection: HOST });
    let pos = Positions::from([(ch, Position::new(Epoch(1), seq(2)))]);
    world.frame(PHONE, belay_wire::Ack { pos: pos.clone() }.into());

    world.attach_host_again(HOST);

    let told = world
        .pull(HOST)
        .into_iter()
        .find_map(|f| if let Frame::Stable(stable) = f { Some(stable.pos) } else { None });
    assert_eq!(told, Some(pos));
}

#[test]
fn a_snapshot_request_reaches_the_host_with_its_sender_or_is_refused() {
    let ask = || belay_wire::Snapshot { id: "s".to_owned(), reason: "gap".to_owned(), from: None };
    let mut world = World::new(Positions::new(), Positions::new());
    world.frame(PHONE, ask().into());
    let got = world
        .pull(HOST)
        .into_iter()
        .find_map(|f| if let Frame::Snapshot(s) = f { Some(s) } else { None });
    assert_eq!(got.and_then(|s| s.from), Some(world::member()));

    world.give(Input::Detach { connection: HOST });
    world.pull(PHONE);
    world.frame(PHONE, ask().into());
    let nack = world
        .pull(PHONE)
        .into_iter()
        .find_map(|f| if let Frame::Nack(nack) = f { Some(nack.reason) } else { None });
    assert_eq!(nack, Some(NackReason::HostOffline));
}

#[test]
fn a_flood_of_snapshot_requests_waits_for_the_host_as_one() {
    let mut world = World::new(Positions::new(), Positions::new());
    for n in 0..1_000 {
        let (id, reason) = (n.to_string(), "gap".to_owned());
        let effects = world.frame(PHONE, belay_wire::Snapshot { id, reason, from: None }.into());
        assert!(effects.then.is_empty(), "nobody is closed: {effects:?}");
    }

    let got = world.pull(HOST);

    let snapshots: Vec<_> = got
        .iter()
        .filter_map(|f| if let Frame::Snapshot(s) = f { Some(s.id.as_str()) } else { None })
        .collect();
    assert_eq!(snapshots, ["999"]);
}

#[test]
fn what_a_host_writes_for_a_member_that_is_gone_counts_as_done_and_is_not_kept() {
    let mut world = World::new(Positions::new(), Positions::new());
    for n in 0..50 {
        let ch = Channel::DownTo(belay_wire::MemberId::from_bytes([100 + n; 16]));
        let (new, base, prev, prev_last) = (Epoch(1), seq(1), None, None);
        let epoch = belay_wire::EpochFrame { ch, new, base, prev, prev_last };
        let skip = belay_wire::Skip { ch, epoch: new, to: seq(9), reason: "evicted".to_owned() };
        for frame in [Frame::from(epoch), Frame::from(skip)] {
            let effects = world.frame(HOST, frame);
            assert!(effects.then.is_empty(), "nobody is closed: {effects:?}");
        }
    }
    world.wait(Duration::from_secs(1));

    let got = world.pull(HOST);

    assert!(got.iter().all(|f| f.kind() == "ack"), "nothing to send again: {got:?}");
    assert!(world.pull(HOST).is_empty());
}

#[test]
fn records_that_are_no_messages_are_bounded_in_number_size_and_rate() {
    let up = Channel::Up(member());
    let mut world = World::new(Positions::new(), announced(up));
    let skip =
        |to: u64, reason: String| belay_wire::Skip { ch: up, epoch: Epoch(1), to: seq(to), reason };
    let mut refused = 0;
    for n in 1..=1_000 {
        let effects = world.frame(PHONE, skip(n, "evicted".to_owned()).into());
        assert!(effects.then.is_empty(), "nobody is closed: {effects:?}");
        let nacks = world.pull(PHONE);
        refused += nacks.iter().filter(|f| f.kind() == "nack").count();
    }
    assert!(refused >= 700, "only {refused} of 1,000 were refused");

    let effects = world.frame(PHONE, skip(5_000, "x".repeat(10_000)).into());
    assert!(effects.then.iter().any(|e| matches!(e, Effect::Close { .. })), "{effects:?}");
}

#[test]
fn commands_that_expire_are_told_to_their_member_until_it_forgets_them() {
    let up = Channel::Up(member());
    let mut world = World::new(Positions::new(), announced(up));
    for n in 1..=3 {
        world.frame(PHONE, message(up, n, 1));
    }
    world.pull(PHONE);
    world.wait(Duration::from_hours(25));

    world.give(Input::Tick);

    let lost = |got: Vec<Frame>| {
        got.into_iter()
            .find_map(|f| if let Frame::Lost(l) = f { Some((l.from, l.to)) } else { None })
    };
    assert_eq!(lost(world.pull(PHONE)), Some((seq(1), seq(3))));
    let again = belay_wire::ConnectionId::from_bytes([7; 16]);
    world.attach_phone_again(again);
    assert_eq!(lost(world.pull(again)), Some((seq(1), seq(3))), "it may not have heard it");

    world.restart();
    world.attach_phone_again(PHONE);
    assert_eq!(lost(world.pull(PHONE)), Some((seq(1), seq(3))), "nor before the relay restarted");
}

#[test]
fn a_phone_that_reconnects_without_end_holds_two_sockets() {
    let mut world = World::new(Positions::new(), Positions::new());
    let mut closed = 0;
    for n in 2..=50 {
        let id = belay_wire::ConnectionId::from_bytes([n; 16]);
        let effects = world.attach_phone_with(id, u64::from(n));
        closed += effects.then.iter().filter(|e| matches!(e, Effect::Close { .. })).count();
    }
    assert_eq!(closed, 48);
}

#[test]
fn a_connection_that_goes_before_its_first_frame_gives_way_to_the_one_before_it() {
    let newer = belay_wire::ConnectionId::from_bytes([7; 16]);
    let mut world = World::new(announced(Channel::Down), Positions::new());
    world.attach_phone_again(newer);
    world.frame(HOST, message(Channel::Down, 1, 1));
    assert!(world.pull(PHONE).is_empty(), "the newer one is served");

    world.give(Input::Detach { connection: newer });

    let kinds: Vec<_> = world.pull(PHONE).iter().map(Frame::kind).collect();
    assert!(kinds.contains(&"msg"), "{kinds:?}");
}

#[test]
fn a_connection_that_gave_way_to_a_newer_one_waits_for_nothing_though_it_is_owed_an_acknowledgement()
 {
    let newer = belay_wire::ConnectionId::from_bytes([7; 16]);
    let up = Channel::Up(world::member());
    let mut world = World::new(Positions::new(), announced(up));
    world.frame(PHONE, message(up, 1, 1));
    assert!(world.pull_deadline(PHONE).is_some());

    world.attach_phone_again(newer);
    world.wait(Duration::from_secs(1));

    assert!(world.pull(PHONE).is_empty());
    assert_eq!(
        world.pull_deadline(PHONE),
        None,
        "a deadline that has passed is a loop without rest"
    );
    world.give(Input::Detach { connection: newer });
    let kinds: Vec<_> = world.pull(PHONE).iter().map(Frame::kind).collect();
    assert!(kinds.contains(&"ack"), "{kinds:?}");
}

#[test]
fn a_writer_whose_epoch_a_late_life_of_it_closed_is_told_though_it_sends_nothing() {
    let mut world = World::new(announced(Channel::Down), Positions::new());
    world.frame(HOST, message(Channel::Down, 1, 10));
    world.pull(HOST);
    let written = Position::new(Epoch(1), seq(1));
    let late = Position::new(Epoch(2), seq(1));
    let records = vec![Record::epoch(Channel::Down, late, written, 0)];
    let (previous, tail) = (2, Tail { incarnation: 0, offset: 3 });
    let told = LogTold::Stored { previous, tail, entry: Entry { offset: 3, records } };

    world.give(Input::Log { channel: Channel::Down, told });

    let nacks: Vec<_> = world.pull(HOST).into_iter().filter(|f| f.kind() == "nack").collect();
    let [Frame::Nack(nack)] = &nacks[..] else { panic!("{nacks:?}") };
    assert_eq!((nack.reason, nack.epoch), (NackReason::EpochClosed, Some(Epoch(1))));
}

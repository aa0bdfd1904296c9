//! Places that cannot be: each has an answer and is counted, and the channel goes on.

use belay_core::{Effect, Effects, Event, Input};
use belay_wire::{
    Ack, Channel, CloseCode, ConnectionId, Epoch, EpochFrame, Frame, Gap, Msg, Nack, NackReason,
    Position, Positions, RawJson, Seq,
};

use crate::{
    announced, message, seq,
    world::{HOST, PHONE, World},
};

const AGAIN: ConnectionId = ConnectionId::from_bytes([7; 16]);

fn at(epoch: u64, n: u64) -> Positions {
    Positions::from([(Channel::Down, Position::new(Epoch(epoch), seq(n)))])
}

/// A host that wrote three messages, which the phone was sent.
fn written() -> World {
    let mut world = World::new(announced(Channel::Down), Positions::new());
    for n in 1..=3 {
        world.frame(HOST, message(Channel::Down, n, 1));
    }
    world.pull(PHONE);
    world.pull(HOST);
    world
}

fn was_ahead(effects: &Effects, of: &str) -> bool {
    effects.events.iter().any(|e| matches!(e, Event::PositionAhead { what } if *what == of))
}

fn messages(frames: &[Frame]) -> Vec<u64> {
    let seq = |f: &Frame| if let Frame::Msg(m) = f { Some(m.seq.value()) } else { None };
    frames.iter().filter_map(seq).collect()
}

fn nacked(frames: Vec<Frame>) -> Option<Nack> {
    frames.into_iter().find_map(|f| if let Frame::Nack(nack) = f { Some(nack) } else { None })
}

fn told_gap(frames: &[Frame]) -> Option<&Gap> {
    frames.iter().find_map(|f| if let Frame::Gap(gap) = f { Some(gap) } else { None })
}

#[test]
fn a_resume_in_an_unknown_epoch_gets_one_gap_and_what_is_kept() {
    let mut world = written();
    world.attach_phone_at(AGAIN, at(77, 2));

    let frames = world.pull(AGAIN);

    assert_eq!(told_gap(&frames).map(|g| g.reason.as_str()), Some("unknown_cursor"));
    assert_eq!(messages(&frames), [1, 2, 3]);
}

#[test]
fn a_cursor_from_the_future_is_counted_and_waits_for_its_place() {
    let mut world = written();
    let effects = world.attach_phone_at(AGAIN, at(1, 5));
    assert!(was_ahead(&effects, "resume"), "{effects:?}");
    assert!(messages(&world.pull(AGAIN)).is_empty());

    for n in 4..=6 {
        world.frame(HOST, message(Channel::Down, n, 1));
    }

    // It drops what it has by name, so nothing is left out for its sake.
    let frames = world.pull(AGAIN);
    assert_eq!(messages(&frames).last(), Some(&6));
    assert!(told_gap(&frames).is_none());
}

#[test]
fn an_acknowledgement_beyond_what_was_sent_is_counted_and_taken_up_to_there() {
    let mut world = written();

    let effects = world.frame(PHONE, Ack { pos: at(1, 99) }.into());

    assert!(was_ahead(&effects, "ack"), "{effects:?}");
    assert!(effects.then.is_empty(), "nobody is closed: {effects:?}");
    world.frame(HOST, message(Channel::Down, 4, 1));
    assert_eq!(messages(&world.pull(PHONE)), [4]);
    assert!(!was_ahead(&world.frame(PHONE, Ack { pos: at(1, 4) }.into()), "ack"));
}

#[test]
fn a_number_behind_a_hole_is_refused_with_the_one_that_is_expected() {
    let mut world = written();

    let effects = world.frame(HOST, message(Channel::Down, 6, 1));

    let is_counted = |e: &Event| matches!(e, Event::MessageRefused { reason: NackReason::Hole });
    assert!(effects.events.iter().any(is_counted), "{effects:?}");
    let nack = nacked(world.pull(HOST)).expect("a hole");
    assert_eq!((nack.reason, nack.expect), (NackReason::Hole, Some(seq(4))));
    for n in 4..=6 {
        world.frame(HOST, message(Channel::Down, n, 1));
    }
    assert_eq!(messages(&world.pull(PHONE)), [4, 5, 6]);
}

#[test]
fn another_instance_of_a_writer_takes_over_and_the_first_one_is_told_to_stop() {
    let mut world = written();

    let effects = world.attach_phone_as(AGAIN, "another");

    let taken = |e: &Effect| matches!(e, Effect::Close { connection, code: CloseCode::TakenOver } if *connection == PHONE);
    let settled = world.give(Input::Tick);
    assert!(effects.then.iter().chain(&settled.then).any(taken), "{effects:?} {settled:?}");
}

#[test]
fn the_last_number_of_an_epoch_is_followed_by_a_new_epoch_only() {
    let mut world = written();
    let (ch, last) = (Channel::Down, Seq::MAX);
    let (prev, prev_last) = (None, None);
    let open = |new, base| EpochFrame { ch, new: Epoch(new), base, prev, prev_last };
    world.frame(HOST, open(2, last).into());
    let named = |text: &str| -> Frame {
        let p = RawJson::of(&text).expect("JSON");
        let (flags, key, was, at, from) = (None, None, Vec::new(), None, None);
        Msg { ch, epoch: Epoch(2), seq: last, flags, key, was, at, from, p }.into()
    };
    world.frame(HOST, named("last"));
    world.pull(HOST);

    world.frame(HOST, named("one more"));

    let nack = nacked(world.pull(HOST)).expect("its name is taken");
    assert_eq!(nack.reason, NackReason::Conflict);
    world.frame(HOST, open(3, seq(1)).into());
    let p = RawJson::of(&0).expect("JSON");
    let (flags, key, was, at, from) = (None, None, Vec::new(), None, None);
    let msg = Msg { ch, epoch: Epoch(3), seq: seq(1), flags, key, was, at, from, p };
    world.frame(HOST, msg.into());
    assert_eq!(messages(&world.pull(PHONE)), [last.value(), 1]);
}

#[test]
fn numbers_beyond_the_greatest_one_are_no_frames() {
    let text = format!(
        r#"{{"k":"msg","ch":"down","epoch":"0000000000000001","seq":{},"p":0}}"#,
        Seq::MAX.value() + 1
    );
    assert!(belay_wire::decode(&text).is_err());
}

//! Binary frames through a session: durable and volatile ones, their headers, their channel numbers.

use crate::world::{HOST, PHONE, World};
use belay_core::{Effect, Effects, Input};
use belay_wire::{
    Channel, CloseCode, Epoch, Frame, Open, Position, Positions, Seq,
    binary::{BinaryFrame, BinaryKind, MsgHeader, VolHeader},
};

fn seq(n: u64) -> Seq {
    Seq::new(n).expect("small")
}

fn frame(kind: BinaryKind, n: u64, header: Option<String>, payload: &'static [u8]) -> BinaryFrame {
    BinaryFrame { kind, channel: 7, seq: seq(n), header, payload: payload.into() }
}

fn open_world() -> World {
    let base = Positions::from([(Channel::Down, Position::new(Epoch(1), seq(1)))]);
    let mut world = World::new(base, Positions::new());
    world.frame(HOST, Open { id: 7, ch: Channel::Down, epoch: Epoch(1) }.into());
    world.pull_all(PHONE);
    world
}

fn send(world: &mut World, frame: BinaryFrame) -> Effects {
    world.give(Input::Binary { connection: HOST, frame })
}

fn after(n: u64, key: &str) -> String {
    VolHeader { after: seq(n), key: key.to_owned() }.encode()
}

fn is_closed(effects: &Effects) -> bool {
    let code = CloseCode::ProtocolError;
    effects
        .then
        .iter()
        .any(|e| matches!(e, Effect::Close { connection: HOST, code: c } if *c == code))
}

#[test]
fn a_binary_message_arrives_with_its_writer_and_its_channel_is_told_once() {
    let mut world = open_world();
    send(&mut world, frame(BinaryKind::Msg, 1, None, b"\x00\xff"));
    send(&mut world, frame(BinaryKind::Msg, 2, None, b"two"));

    let got = world.pull_all(PHONE);

    let [Ok(Frame::Open(open)), Err(first), Err(second)] = &got[..] else { panic!("{got:?}") };
    assert_eq!((open.ch, open.epoch), (Channel::Down, Epoch(1)));
    assert_eq!((first.channel, second.channel), (open.id, open.id));
    assert_eq!((&first.payload[..], &second.payload[..]), (&b"\x00\xff"[..], &b"two"[..]));
    let header = first.header.as_deref().and_then(MsgHeader::decode).expect("a header");
    assert_eq!(header.from.map(|f| f.connection), Some(HOST));
    assert_eq!(header.at, Some(world.around.now.unix_ms));
}

#[test]
fn of_binary_volatile_messages_a_reader_gets_the_newest_of_each_key() {
    let mut world = open_world();
    for n in 1..=5 {
        send(&mut world, frame(BinaryKind::Vol, n, Some(after(0, "speed")), b"v"));
    }
    send(&mut world, frame(BinaryKind::Vol, 4, Some(after(0, "speed")), b"late"));
    send(&mut world, frame(BinaryKind::Vol, 1, Some(after(0, "gear")), b"3"));

    let got = world.pull_all(PHONE);

    let volatile: Vec<_> = got.iter().filter_map(|f| f.as_ref().err()).collect();
    assert_eq!(volatile.iter().map(|f| f.seq.value()).collect::<Vec<_>>(), [5, 1], "{got:?}");
    assert!(volatile.iter().all(|f| f.kind == BinaryKind::Vol), "{got:?}");
}

#[test]
fn a_durable_binary_message_outdates_the_volatile_ones_of_its_key() {
    let mut world = open_world();
    send(&mut world, frame(BinaryKind::Vol, 1, Some(after(0, "lap")), b"old"));
    let header = MsgHeader { key: Some("lap".to_owned()), ..MsgHeader::default() };
    send(&mut world, frame(BinaryKind::Msg, 1, Some(header.encode()), b"done"));

    let got = world.pull_all(PHONE);

    let binary: Vec<_> = got.iter().filter_map(|f| f.as_ref().err()).map(|f| f.kind).collect();
    assert_eq!(binary, [BinaryKind::Msg], "{got:?}");
}

#[test]
fn binary_frames_without_a_channel_or_with_a_bad_header_end_the_connection() {
    let strange = BinaryFrame { channel: 8, ..frame(BinaryKind::Msg, 1, None, b"") };
    let bad = Some("{\"colour\":1}".to_owned());
    for frame in [
        strange,
        frame(BinaryKind::Vol, 1, None, b""),
        frame(BinaryKind::Vol, 1, bad.clone(), b""),
        frame(BinaryKind::Msg, 1, bad, b""),
    ] {
        let mut world = open_world();
        let effects = send(&mut world, frame.clone());
        assert!(is_closed(&effects), "{frame:?}: {effects:?}");
        assert!(world.pull_all(PHONE).is_empty(), "{frame:?} reached nobody");
    }
}

#[test]
fn a_channel_number_can_be_given_again_when_all_are_in_use() {
    let mut world = open_world();
    for id in 0..2_000 {
        let epoch = if id < 1_024 { Epoch(1) } else { Epoch(2) };
        let id = id % 1_024;
        let effects = world.frame(HOST, Open { id, ch: Channel::Down, epoch }.into());
        assert!(!is_closed(&effects), "number {id}");
    }
    let effects = world.frame(HOST, Open { id: 5_000, ch: Channel::Down, epoch: Epoch(1) }.into());
    assert!(is_closed(&effects), "1,024 numbers are in use");
}

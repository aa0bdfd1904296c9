//! Frames decode to the same messages wherever their bytes are split.

use belay_ws::{Decoder, HEADER_BYTES_MAX, Header, Message, OpCode, Role, Violation, apply_mask};
use bytes::BufMut;
use proptest::{collection::vec, prelude::*};

const LIMIT: usize = 40_000;

/// A frame that may stand anywhere, valid there or not.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        2 => Just(OpCode::Continuation),
        3 => Just(OpCode::Text),
        3 => Just(OpCode::Binary),
        1 => Just(OpCode::Ping),
        1 => Just(OpCode::Pong),
        1 => Just(OpCode::Close),
    ];
    let payload = prop_oneof![
        4 => "\\PC{0,40}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..40),
        1 => (0_usize..20_000).prop_map(|n| vec![b'x'; n]),
    ];
    (opcode, any::<[u8; 4]>(), payload, prop::bool::weighted(0.7)).prop_map(
        |(opcode, key, mut payload, is_final)| {
            if opcode.is_control() {
                payload.truncate(125);
            }
            let is_final = is_final || opcode.is_control();
            let length = payload.len() as u64;
            let mut bytes = Vec::with_capacity(HEADER_BYTES_MAX + payload.len());
            Header { is_final, opcode, length, masking_key: Some(key) }.encode(&mut bytes);
            apply_mask(&mut payload, key);
            bytes.extend(payload);
            bytes
        },
    )
}

fn drain(decoder: &mut Decoder, messages: &mut Vec<Message>) -> Result<(), Violation> {
    while let Some(message) = decoder.next()? {
        messages.push(message);
    }
    Ok(())
}

fn whole(role: Role, bytes: &[u8]) -> (Vec<Message>, Option<Violation>) {
    let mut decoder = Decoder::new(role, LIMIT);
    let mut messages = Vec::new();
    decoder.feed(bytes);
    let end = drain(&mut decoder, &mut messages);
    (messages, end.err())
}

/// The same in parts of the given sizes, put into the decoder's own room where it has some.
fn split(role: Role, bytes: &[u8], sizes: &[usize]) -> (Vec<Message>, Option<Violation>) {
    let mut decoder = Decoder::new(role, LIMIT);
    let mut messages = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = sizes.next().map_or(1, |size| *size).min(rest.len());
        let taken = if let Some(mut room) = decoder.room() {
            let taken = size.min(room.remaining_mut());
            room.put_slice(&rest[..taken]);
            taken
        } else {
            decoder.feed(&rest[..size]);
            size
        };
        rest = &rest[taken..];
        if let Err(violation) = drain(&mut decoder, &mut messages) {
            return (messages, Some(violation));
        }
    }
    (messages, None)
}

#[test]
fn the_inputs_of_the_fuzz_target_decode_the_same() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/frames");
    let files = std::fs::read_dir(folder).expect("the corpus is there");
    let inputs: Vec<_> =
        files.map(|f| std::fs::read(f.expect("readable").path()).expect("readable")).collect();
    assert!(inputs.len() > 3, "too few inputs");
    for input in inputs {
        let (first, bytes) = input.split_first().expect("not empty");
        let client = Role::Client { masking_key: || [0; 4] };
        let role = if first & 1 == 1 { client } else { Role::Server };
        assert_eq!(split(role, bytes, &[usize::from(first >> 1) + 1]), whole(role, bytes));
    }
}

proptest! {
    #[test]
    fn frames_split_anywhere_decode_the_same(
        frames in vec(frame(), 0..12),
        sizes in vec(prop_oneof![1_usize..5, 1_usize..300, 1_usize..9_000], 1..20),
    ) {
        let bytes = frames.concat();

        prop_assert_eq!(split(Role::Server, &bytes, &sizes), whole(Role::Server, &bytes));
    }

    #[test]
    fn bytes_one_by_one_decode_the_same(frames in vec(frame(), 0..4)) {
        let bytes = frames.concat();

        prop_assert_eq!(split(Role::Server, &bytes, &[1]), whole(Role::Server, &bytes));
    }

    #[test]
    fn garbage_split_anywhere_decodes_the_same(
        bytes in vec(any::<u8>(), 0..300),
        sizes in vec(1_usize..20, 1..10),
    ) {
        prop_assert_eq!(split(Role::Server, &bytes, &sizes), whole(Role::Server, &bytes));
    }
}

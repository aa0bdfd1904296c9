//! Frames decode to the same messages wherever their bytes are split.

#[path = "common/parts.rs"]
mod parts;

use belay_ws::{HEADER_BYTES_MAX, Header, OpCode, Role, apply_mask};
use parts::{in_parts, whole};
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
        assert_eq!(
            in_parts(role, LIMIT, bytes, &[usize::from(first >> 1) + 1]),
            whole(role, LIMIT, bytes)
        );
    }
}

proptest! {
    #[test]
    fn frames_split_anywhere_decode_the_same(
        frames in vec(frame(), 0..12),
        sizes in vec(prop_oneof![1_usize..5, 1_usize..300, 1_usize..9_000], 1..20),
    ) {
        let bytes = frames.concat();

        prop_assert_eq!(in_parts(Role::Server, LIMIT, &bytes, &sizes), whole(Role::Server, LIMIT, &bytes));
    }

    #[test]
    fn bytes_one_by_one_decode_the_same(frames in vec(frame(), 0..4)) {
        let bytes = frames.concat();

        prop_assert_eq!(in_parts(Role::Server, LIMIT, &bytes, &[1]), whole(Role::Server, LIMIT, &bytes));
    }

    #[test]
    fn garbage_split_anywhere_decodes_the_same(
        bytes in vec(any::<u8>(), 0..300),
        sizes in vec(1_usize..20, 1..10),
    ) {
        prop_assert_eq!(in_parts(Role::Server, LIMIT, &bytes, &sizes), whole(Role::Server, LIMIT, &bytes));
    }
}

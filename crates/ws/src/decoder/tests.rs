use bytes::BufMut;

use super::*;
use crate::Text;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMIT: usize = 1024 * 1024;

/// A frame of a client, its first byte given.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        is_final: true,
        opcode: OpCode::Binary,
        length: payload.len() as u64,
        masking_key: Some(KEY),
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    bytes[0] = first;
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    apply_mask(&mut bytes[at..], KEY);
    bytes
}

fn decoder() -> Decoder {
    Decoder::new(Role::Server, LIMIT)
}

/// Everything that bytes decode to, and the violation at their end.
fn decode(bytes: &[u8]) -> (Vec<Message>, Option<Violation>) {
    let mut decoder = decoder();
    decoder.feed(bytes);
    let mut messages = Vec::new();
    loop {
        match decoder.next() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, None),
            Err(violation) => return (messages, Some(violation)),
        }
    }
}

fn binary(bytes: &'static [u8]) -> Message {
    Message::Binary(bytes.into())
}

#[test]
fn frames_become_messages() {
    let ping = || Message::Ping("p".into());
    let rows = [
        ("text", vec![frame(0x81, "grüße".as_bytes())], vec![Message::text("grüße")]),
        ("no text", vec![frame(0x81, b"")], vec![Message::text("")]),
        ("binary", vec![frame(0x82, &[0, 255])], vec![binary(&[0, 255])]),
        (
            "fragments with a ping between",
            vec![frame(0x02, b"ab"), frame(0x89, b"p"), frame(0x00, b""), frame(0x80, b"c")],
            vec![ping(), binary(b"abc")],
        ),
        (
            "a character over two fragments",
            vec![frame(0x01, b"\xe2\x82"), frame(0x80, b"\xac")],
            vec![Message::text("€")],
        ),
        ("pong", vec![frame(0x8a, b"p")], vec![Message::Pong("p".into())]),
        ("close without a code", vec![frame(0x88, b"")], vec![Message::Close(None)]),
        (
            "nothing follows a close frame",
            vec![frame(0x88, b"\x03\xe8bye"), frame(0x81, b"late"), vec![0xff; 9]],
            vec![Message::Close(Some(CloseFrame::new(1000, "bye")))],
        ),
    ];
    for (what, frames, messages) in rows {
        assert_eq!(decode(&frames.concat()), (messages, None), "{what}");
    }
}

#[test]
fn what_no_frame_may_be_after_another_is_refused() {
    let unmasked = vec![0x81, 1, b'a'];
    let rows: Vec<(Vec<Vec<u8>>, Violation)> = vec![
        (vec![unmasked], Violation::Unmasked),
        (vec![frame(0x80, b"a")], Violation::NothingToContinue),
        (vec![frame(0x01, b"a"), frame(0x81, b"b")], Violation::MessageInsideMessage),
        (vec![frame(0x01, b"a"), frame(0x82, b"b")], Violation::MessageInsideMessage),
        (vec![frame(0x81, b"\xe2\x82")], Violation::NotUtf8),
        (vec![frame(0x88, b"\x03")], Violation::HalfCloseCode),
        (vec![frame(0x88, b"\x03\xed")], Violation::CloseCode(1005)),
        (vec![frame(0x88, b"\x03\xe8\xff")], Violation::NotUtf8),
    ];
    for (mut frames, violation) in rows {
        frames.insert(0, frame(0x82, b"before"));
        let (messages, failed) = decode(&frames.concat());

        assert_eq!((messages, failed), (vec![binary(b"before")], Some(violation)));
    }
    let mut client = Decoder::new(Role::Client { masking_key: || KEY }, LIMIT);
    client.feed(&frame(0x81, b"a"));
    assert_eq!(client.next(), Err(Violation::Masked));
}

#[test]
fn a_violation_stays() {
    let mut decoder = decoder();
    decoder.feed(&[0xff, 0xff]);
    assert_eq!(decoder.next(), Err(Violation::ReservedBits));
    decoder.feed(&frame(0x81, b"a"));

    assert_eq!(decoder.next(), Err(Violation::ReservedBits));
    assert_eq!(decoder.held(), 0);
}

#[test]
fn text_fails_at_the_first_byte_that_cannot_be() {
    let bytes = frame(0x01, b"abc\xf4\x90\x80\x80");
    let mut decoder = decoder();

    let failed_at = bytes.iter().position(|byte| {
        decoder.feed(&[*byte]);
        decoder.next().is_err()
    });

    assert_eq!(failed_at, Some(6 + 4), "a header of six bytes, then abc, f4 and 90");
}

#[test]
fn a_message_is_refused_at_the_header_that_makes_it_too_large() {
    let header = |first, length| {
        let mut bytes = frame(first, &vec![0; length]);
        bytes.truncate(bytes.len() - length);
        bytes
    };
    let too_large = |bytes: usize| Some(Violation::TooLarge { bytes: bytes as u64, limit: LIMIT });
    let half = frame(0x02, &vec![0; LIMIT / 2]);
    let rest = header(0x80, LIMIT / 2 + 1);

    assert_eq!(decode(&header(0x82, LIMIT + 1)).1, too_large(LIMIT + 1));
    assert_eq!(decode(&[half, rest].concat()).1, too_large(LIMIT + 1));
    assert_eq!(decode(&frame(0x82, &vec![0; LIMIT])).1, None);
}

#[test]
fn memory_goes_with_the_message() {
    let large = vec![b'x'; LIMIT];
    let halves = [frame(0x01, &large[LIMIT / 2..]), frame(0x80, &large[LIMIT / 2..])];
    for frames in [vec![frame(0x81, &large)], halves.to_vec()] {
        let mut decoder = decoder();
        let mut message = None;
        for part in frames.concat().chunks(1_000) {
            decoder.feed(part);
            message = message.or(decoder.next().expect("valid"));
        }

        assert_eq!(message, Some(Message::text(String::from_utf8(large.clone()).expect("text"))));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.held(), 0);
    }
}

#[test]
fn the_length_in_a_header_takes_no_memory() {
    let bytes = frame(0x81, &vec![b'x'; LIMIT]);
    let mut decoder = decoder();
    for (part, so_far) in bytes.chunks(1_000).zip((1_000..).step_by(1_000)) {
        decoder.feed(part);
        let message = decoder.next().expect("valid");
        let bound = 2 * so_far + 17 * 1024;
        assert!(message.is_some() || decoder.held() <= bound, "{} after {so_far}", decoder.held());
    }
}

#[test]
fn a_large_payload_is_read_into_its_place() {
    let payload: Vec<u8> = (0..=250).cycle().take(300_000).collect();
    let bytes = [frame(0x82, &payload), frame(0x89, b"p")].concat();
    let (mut fed, mut direct) = (0, 0);
    let mut decoder = decoder();
    let mut messages = Vec::new();
    while fed < bytes.len() {
        if let Some(mut room) = decoder.room() {
            let taken = room.remaining_mut().min(7_001);
            room.put_slice(&bytes[fed..fed + taken]);
            fed += taken;
            direct += taken;
        } else {
            let taken = (bytes.len() - fed).min(1_000);
            decoder.feed(&bytes[fed..fed + taken]);
            fed += taken;
        }
        while let Some(message) = decoder.next().expect("valid") {
            messages.push(message);
        }
    }

    assert_eq!(messages, [Message::Binary(payload.into()), Message::Ping("p".into())]);
    assert!(direct > 290_000, "{direct} bytes without a copy");
}

#[test]
fn part_of_a_header_keeps_no_large_buffer() {
    let mut bytes = frame(0x82, &[7; 4_000]);
    bytes.extend([0x82]);
    let mut decoder = decoder();
    decoder.feed(&bytes);

    assert!(decoder.next().expect("valid").is_some());
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.held() <= 256, "{}", decoder.held());
}

#[test]
fn text_is_shared_not_copied() {
    let text = Text::from("shared");
    assert_eq!(text.as_bytes().as_ptr(), text.clone().into_bytes().as_ptr());
}

//! The same bytes as tungstenite reads them: the same messages, and the same judgement of what is
//! wrong. Where this crate is stricter, or fails earlier, the test says so.

#![expect(clippy::wildcard_enum_match_arm, reason = "most of an open set cannot come of reading")]

use std::io::{self, Cursor, Read, Write};

use belay_ws::{Decoder, Header, Message, OpCode, Role, Violation, apply_mask};
use proptest::{collection::vec, prelude::*, sample::Index};
use tokio_tungstenite::tungstenite::{
    self, Error,
    error::{CapacityError, ProtocolError},
    protocol::{Role as TheirRole, WebSocketConfig},
};

const LIMIT: usize = 3_000;
const OURS: Role = Role::Client { masking_key: || [0; 4] };

/// How a stream of bytes ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With a close frame, or in the middle: more could follow.
    Open,
    Failed(u16),
}

fn ours(bytes: &[u8], role: Role) -> (Vec<Message>, Result<(), Violation>) {
    let mut decoder = Decoder::new(role, LIMIT);
    decoder.feed(bytes);
    let mut messages = Vec::new();
    loop {
        match decoder.next() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => return (messages, Ok(())),
            Err(violation) => return (messages, Err(violation)),
        }
    }
}

/// Reads from memory; what is written is nobody's.
struct Half<'a>(Cursor<&'a [u8]>);

impl Read for Half<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Half<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn theirs(bytes: &[u8], role: TheirRole) -> (Vec<Message>, End) {
    let config =
        WebSocketConfig::default().max_message_size(Some(LIMIT)).max_frame_size(Some(LIMIT));
    let half = Half(Cursor::new(bytes));
    let mut socket = tungstenite::WebSocket::from_raw_socket(half, role, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            // What follows it is discarded here; as a client the oracle calls it a fault.
            Ok(tungstenite::Message::Close(close)) => {
                messages.push(translated(tungstenite::Message::Close(close)));
                return (messages, End::Open);
            }
            Ok(message) => messages.push(translated(message)),
            Err(error) => return (messages, end(&error)),
        }
    }
}

fn translated(message: tungstenite::Message) -> Message {
    match message {
        tungstenite::Message::Text(text) => Message::text(text.to_string()),
        tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
        tungstenite::Message::Ping(bytes) => Message::Ping(bytes),
        tungstenite::Message::Pong(bytes) => Message::Pong(bytes),
        tungstenite::Message::Close(close) => Message::Close(
            close.map(|c| belay_ws::CloseFrame::new(c.code.into(), c.reason.to_string())),
        ),
        tungstenite::Message::Frame(_) => unreachable!("not read"),
    }
}

fn end(error: &Error) -> End {
    match error {
        Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            End::Open
        }
        Error::Protocol(_) => End::Failed(1002),
        Error::Utf8(_) => End::Failed(1007),
        Error::Capacity(CapacityError::MessageTooLong { .. }) => End::Failed(1009),
        other => panic!("{other}"),
    }
}

/// Compares; `is_one_fault`: then the close code must agree as well.
fn compare(bytes: &[u8], is_server: bool, is_one_fault: bool) -> Result<(), TestCaseError> {
    let (our_role, their_role) =
        if is_server { (Role::Server, TheirRole::Server) } else { (OURS, TheirRole::Client) };
    let (messages, end) = ours(bytes, our_role);
    let (mut expected, expected_end) = theirs(bytes, their_role);
    match end {
        // The oracle takes these lengths, and answers these codes as if it had been sent 1002.
        Err(Violation::LengthNotMinimal | Violation::LengthTooLong) => {
            expected.truncate(messages.len());
        }
        // Both wrong, code and reason.
        Err(Violation::CloseCode(_)) if expected_end == End::Failed(1007) && !is_one_fault => {}
        Err(Violation::CloseCode(_)) => {
            let close = expected.pop();
            let is_1002 = matches!(&close, Some(Message::Close(Some(c))) if c.code == 1002);
            prop_assert!(is_1002, "{close:?}");
        }
        Err(violation) => match expected_end {
            End::Failed(code) if is_one_fault => prop_assert_eq!(code, violation.close_code()),
            End::Failed(_) => {}
            // The oracle waits for the end of the frame.
            End::Open => prop_assert!(is_cut(bytes, violation), "{violation}"),
        },
        Ok(()) => prop_assert_eq!(expected_end, End::Open),
    }
    prop_assert_eq!(messages, expected);
    Ok(())
}

/// With more bytes behind it, the oracle fails as well.
fn is_cut(bytes: &[u8], violation: Violation) -> bool {
    let more = [bytes, &[0; 2 * LIMIT]].concat();
    let ends = [theirs(&more, TheirRole::Server).1, theirs(&more, TheirRole::Client).1];
    violation.close_code() != 1009 && ends.iter().any(|end| matches!(end, End::Failed(_)))
}

#[derive(Debug, Clone)]
struct Frame {
    header: Header,
    payload: Vec<u8>,
}

impl Frame {
    fn encode(&self, to: &mut Vec<u8>) {
        self.header.encode(to);
        let at = to.len();
        to.extend_from_slice(&self.payload);
        if let Some(key) = self.header.masking_key {
            apply_mask(&mut to[at..], key);
        }
    }
}

fn frame(opcode: OpCode, is_final: bool, payload: Vec<u8>, key: Option<[u8; 4]>) -> Frame {
    let length = payload.len() as u64;
    Frame { header: Header { is_final, opcode, length, masking_key: key }, payload }
}

/// A message in fragments with control frames between them: `cuts` say where.
fn message() -> impl Strategy<Value = Vec<Frame>> {
    let body = prop_oneof![
        "\\PC{0,200}".prop_map(|text| (OpCode::Text, text.into_bytes())),
        vec(any::<u8>(), 0..900).prop_map(|bytes| (OpCode::Binary, bytes)),
    ];
    let control = (prop::bool::ANY, vec(any::<u8>(), 0..126));
    let cuts = vec((any::<Index>(), prop::option::of(control)), 0..4);
    (body, cuts, any::<[u8; 4]>(), prop::bool::weighted(0.1)).prop_map(
        |((opcode, bytes), cuts, key, closes)| {
            let mut cuts: Vec<_> = cuts
                .into_iter()
                .map(|(at, control)| (at.index(bytes.len() + 1), control))
                .collect();
            cuts.sort_by_key(|(at, _)| *at);
            let mut frames = Vec::new();
            let (mut from, mut opcode) = (0, opcode);
            for (at, control) in cuts {
                frames.push(frame(opcode, false, bytes[from..at].to_vec(), Some(key)));
                (from, opcode) = (at, OpCode::Continuation);
                if let Some((is_ping, payload)) = control {
                    let opcode = if is_ping { OpCode::Ping } else { OpCode::Pong };
                    frames.push(frame(opcode, true, payload, Some(key)));
                }
            }
            frames.push(frame(opcode, true, bytes[from..].to_vec(), Some(key)));
            if closes {
                frames.push(frame(OpCode::Close, true, b"\x03\xe8done".to_vec(), Some(key)));
            }
            frames
        },
    )
}

/// One thing that is wrong with a frame, if it applies to it.
fn spoil(frame: &mut Frame, bytes: &mut Vec<u8>, fault: u8) {
    match fault {
        0 => frame.header.masking_key = None,
        1 => frame.header.opcode = OpCode::Continuation,
        2 => frame.header.opcode = OpCode::Text,
        3 => frame.header.is_final = !frame.header.is_final,
        4 => frame.payload.push(0xff),
        5 => frame.payload = vec![b'x'; LIMIT + 1],
        6 => (frame.header.opcode, frame.payload) = (OpCode::Close, vec![3]),
        7 => (frame.header.opcode, frame.payload) = (OpCode::Close, vec![3, 0xed]),
        8 => (frame.header.opcode, frame.payload) = (OpCode::Close, vec![3, 0xe8, 0xff]),
        _ => {}
    }
    if (6..9).contains(&fault) {
        frame.header.is_final = true;
    }
    frame.header.length = frame.payload.len() as u64;
    let at = bytes.len();
    frame.encode(bytes);
    match fault {
        9 => bytes[at] |= 0x40,
        10 => bytes[at] |= 0x10,
        11 => bytes[at] = 0x83,
        12 => bytes[at] = 0x8f,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn valid_streams_give_the_same_messages(
        messages in vec(message(), 0..5),
        is_server: bool,
    ) {
        let mut bytes = Vec::new();
        for mut frame in messages.into_iter().flatten() {
            if !is_server {
                frame.header.masking_key = None;
            }
            frame.encode(&mut bytes);
        }
        let role = if is_server { Role::Server } else { OURS };
        prop_assert_eq!(ours(&bytes, role).1, Ok(()));

        compare(&bytes, is_server, true)?;
    }

    #[test]
    fn one_fault_is_judged_the_same(
        messages in vec(message(), 1..4),
        at: Index,
        fault in 0_u8..13,
    ) {
        let mut frames: Vec<Frame> = messages.into_iter().flatten().collect();
        let at = at.index(frames.len());
        // Behind it nothing may be at fault as well.
        frames.truncate(at + 1);
        let mut bytes = Vec::new();
        for (i, frame) in frames.iter_mut().enumerate() {
            spoil(frame, &mut bytes, if i == at { fault } else { u8::MAX });
        }

        compare(&bytes, true, !matches!(fault, 4 | 5))?;
    }

    #[test]
    fn many_faults_are_judged_the_same(
        messages in vec(message(), 1..4),
        faults in vec(prop_oneof![4 => Just(u8::MAX), 1 => 0_u8..13], 12),
        is_server: bool,
    ) {
        let mut bytes = Vec::new();
        for (mut frame, fault) in messages.into_iter().flatten().zip(faults) {
            if !is_server {
                frame.header.masking_key = None;
            }
            spoil(&mut frame, &mut bytes, fault);
        }

        compare(&bytes, is_server, false)?;
    }

    #[test]
    fn garbage_is_judged_the_same(bytes in vec(any::<u8>(), 0..400), is_server: bool) {
        compare(&bytes, is_server, false)?;
    }

    #[test]
    fn a_valid_stream_with_a_byte_changed_is_judged_the_same(
        messages in vec(message(), 1..4),
        at: Index,
        by in 1_u8..=255,
        is_server: bool,
    ) {
        let mut bytes = Vec::new();
        for mut frame in messages.into_iter().flatten() {
            if !is_server {
                frame.header.masking_key = None;
            }
            frame.encode(&mut bytes);
        }
        let at = at.index(bytes.len());
        bytes[at] ^= by;

        compare(&bytes, is_server, false)?;
    }
}

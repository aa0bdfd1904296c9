//! Websocket frames: whatever comes, split anywhere, gives the same messages and the same verdict.

#![no_main]

use belay_ws::{Decoder, Message, Role, Violation};
use bytes::BufMut;

const LIMIT: usize = 4_096;

fn decode(is_client: bool, bytes: &[u8], step: usize) -> (Vec<Message>, Option<Violation>) {
    let role = if is_client { Role::Client { masking_key: || [0; 4] } } else { Role::Server };
    let mut decoder = Decoder::new(role, LIMIT);
    let (mut messages, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let size = step.min(rest.len());
        let taken = if let Some(mut room) = decoder.room() {
            let taken = size.min(room.remaining_mut());
            room.put_slice(&rest[..taken]);
            taken
        } else {
            decoder.feed(&rest[..size]);
            size
        };
        rest = &rest[taken..];
        loop {
            match decoder.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
        assert!(decoder.held() <= bytes.len() + LIMIT, "{} bytes are held", decoder.held());
    }
    (messages, None)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((first, bytes)) = data.split_first() else { return };
    let (is_client, step) = (first & 1 == 1, usize::from(first >> 1) + 1);
    assert_eq!(decode(is_client, bytes, step), decode(is_client, bytes, usize::MAX));
});

//! The same bytes at once and in parts, for the tests and the fuzz target.

use belay_ws::{Decoder, Message, Role, Violation};
use bytes::BufMut;

/// What bytes decode to, and how that ended.
pub(crate) type Decoded = (Vec<Message>, Option<Violation>);

/// Takes what is complete.
fn drain(decoder: &mut Decoder, messages: &mut Vec<Message>) -> Result<(), Violation> {
    while let Some(message) = decoder.next()? {
        messages.push(message);
    }
    Ok(())
}

pub(crate) fn whole(role: Role, limit: usize, bytes: &[u8]) -> Decoded {
    let mut decoder = Decoder::new(role, limit);
    let mut messages = Vec::new();
    decoder.feed(bytes);
    let end = drain(&mut decoder, &mut messages);
    (messages, end.err())
}

/// The same in parts of the given sizes, put into the decoder's own room where it has some.
pub(crate) fn in_parts(role: Role, limit: usize, bytes: &[u8], sizes: &[usize]) -> Decoded {
    let mut decoder = Decoder::new(role, limit);
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
        assert!(decoder.held() <= bytes.len() + limit, "{} bytes are held", decoder.held());
    }
    (messages, None)
}

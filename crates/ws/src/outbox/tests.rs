use std::task::Waker;

use super::*;

/// Takes so many bytes of each write, and remembers each.
#[derive(Default)]
struct Wire {
    takes: usize,
    writes: Vec<Vec<u8>>,
    /// Where the slices of the last write lay.
    addresses: Vec<*const u8>,
    flushes: usize,
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        bytes.truncate(self.takes);
        self.addresses = slices.iter().map(|slice| slice.as_ptr()).collect();
        self.writes.push(bytes);
        Poll::Ready(Ok(self.writes.last().map_or(0, Vec::len)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn drain(outbox: &mut Outbox, wire: &mut Wire) {
    let mut context = Context::from_waker(Waker::noop());
    let drained = outbox.poll_drain(Pin::new(wire), &mut context);
    assert!(matches!(drained, Poll::Ready(Ok(()))), "{drained:?}");
}

fn wire(takes: usize) -> Wire {
    Wire { takes, ..Wire::default() }
}

fn large() -> Bytes {
    vec![7; COPIED_BYTES_MAX + 1].into()
}

#[test]
fn all_that_waits_leaves_in_one_write_and_one_flush() {
    let (mut outbox, mut wire) = (Outbox::default(), wire(usize::MAX));
    let large = large();
    outbox.push(Message::text("a"), Role::Server, true);
    outbox.push(Message::Binary(large.clone()), Role::Server, true);
    outbox.push(Message::text("b"), Role::Server, true);
    let waits = outbox.len();

    drain(&mut outbox, &mut wire);

    assert_eq!((wire.writes.len(), wire.flushes), (1, 1));
    assert_eq!(wire.writes[0].len(), waits);
    assert_eq!(wire.writes[0][..7], [0x81, 1, b'a', 0x82, 126, 16, 1]);
    assert_eq!(wire.addresses[1], large.as_ptr(), "a large payload is shared");
    assert_eq!((outbox.len(), outbox.tail.capacity(), outbox.parts.capacity()), (0, 0, 0));
    drain(&mut outbox, &mut wire);
    assert_eq!((wire.writes.len(), wire.flushes), (1, 1), "nothing waits, nothing is written");
}

#[test]
fn partial_writes_are_continued() {
    let all = |takes| {
        let (mut outbox, mut wire) = (Outbox::default(), wire(takes));
        for _ in 0..3 {
            outbox.push(Message::text("small"), Role::Server, true);
            outbox.push(Message::Binary(large()), Role::Server, true);
        }
        drain(&mut outbox, &mut wire);
        wire.writes.concat()
    };
    let expected = all(usize::MAX);
    for takes in [1, 2, 5, 1_000, 4_100, 5_000] {
        assert!(all(takes) == expected, "{takes} bytes at a time");
    }
}

#[test]
fn a_stream_without_slices_gets_one_buffer() {
    let (mut outbox, mut wire) = (Outbox::default(), wire(usize::MAX));
    outbox.push(Message::Binary(large()), Role::Server, false);
    outbox.push(Message::Binary(large()), Role::Server, false);

    drain(&mut outbox, &mut wire);

    assert_eq!((wire.writes.len(), wire.addresses.len()), (1, 1));
}

#[test]
fn a_client_masks_a_copy() {
    let (mut outbox, mut wire) = (Outbox::default(), wire(usize::MAX));
    let role = Role::Client { masking_key: || [1, 2, 3, 4] };
    let payload = large();
    outbox.push(Message::Binary(payload.clone()), role, true);

    drain(&mut outbox, &mut wire);

    assert_eq!(payload, large(), "what others hold stays as it is");
    assert_eq!(wire.writes[0][..12], [0x82, 0xfe, 16, 1, 1, 2, 3, 4, 7 ^ 1, 7 ^ 2, 7 ^ 3, 7 ^ 4]);
}

#[test]
fn a_stream_that_takes_nothing_is_an_error() {
    let (mut outbox, mut wire) = (Outbox::default(), wire(0));
    outbox.push(Message::text("a"), Role::Server, true);
    let mut context = Context::from_waker(Waker::noop());

    let drained = outbox.poll_drain(Pin::new(&mut wire), &mut context);

    assert!(matches!(drained, Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::WriteZero));
}

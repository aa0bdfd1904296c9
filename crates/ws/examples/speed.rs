//! Time per message without a kernel: frames of a client read from memory 4 KiB at a time, and frames
//! of a server written to nowhere 16 at a time. Ours beside tungstenite.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{
    io::{Cursor, Read, Write},
    time::{Duration, Instant},
};

use belay_ws::{Decoder, Header, Limits, Message, OpCode, Role, Text, WebSocket, apply_mask};
use bytes::Bytes;
use futures_util::SinkExt;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message as TheirMessage, Utf8Bytes,
        protocol::{Role as TheirRole, WebSocketConfig},
    },
};

const LARGEST: usize = 2 << 20;
const BATCH: usize = 16;

fn frames(length: usize, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let masking_key = Some([1, 2, 3, 4]);
        let length = length as u64;
        Header { is_final: true, opcode: OpCode::Text, length, masking_key }.encode(&mut bytes);
        let at = bytes.len();
        bytes.resize(at + usize::try_from(length).unwrap_or(0), b'x');
        apply_mask(&mut bytes[at..], [1, 2, 3, 4]);
    }
    bytes
}

/// The shortest of several runs, ns per message.
fn best(count: usize, mut run: impl FnMut()) -> u128 {
    let times = (0..30).map(|_| {
        let started = Instant::now();
        run();
        started.elapsed()
    });
    times.min().unwrap_or(Duration::ZERO).as_nanos() / count as u128
}

fn read_ours(bytes: &[u8], count: usize) {
    let mut decoder = Decoder::new(Role::Server, LARGEST);
    let mut got = 0;
    for part in bytes.chunks(4096) {
        decoder.feed(part);
        while let Ok(Some(message)) = decoder.next() {
            std::hint::black_box(&message);
            got += 1;
        }
    }
    assert_eq!(got, count);
}

struct Half<'a>(Cursor<&'a [u8]>);

impl Read for Half<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Half<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(256 * 1024)
}

fn read_theirs(bytes: &[u8], count: usize) {
    let half = Half(Cursor::new(bytes));
    let mut socket =
        tungstenite::WebSocket::from_raw_socket(half, TheirRole::Server, Some(config()));
    for _ in 0..count {
        std::hint::black_box(socket.read().expect("valid"));
    }
}

async fn write_ours(payload: &Bytes, count: usize) {
    let nowhere = tokio::io::join(tokio::io::empty(), tokio::io::sink());
    let limits = Limits { message_bytes_max: LARGEST, queue_bytes_max: 256 * 1024 };
    let mut socket = WebSocket::new(nowhere, Role::Server, limits, &[]);
    for _ in 0..count / BATCH {
        for _ in 0..BATCH {
            let text = Text::trusted(payload.clone());
            socket.feed(Message::Text(text)).await.expect("open");
        }
        socket.flush().await.expect("open");
    }
}

async fn write_theirs(payload: &Bytes, count: usize) {
    let nowhere = tokio::io::join(tokio::io::empty(), tokio::io::sink());
    let mut socket =
        WebSocketStream::from_raw_socket(nowhere, TheirRole::Server, Some(config())).await;
    for _ in 0..count / BATCH {
        for _ in 0..BATCH {
            let text = Utf8Bytes::try_from(payload.clone()).expect("text");
            socket.feed(TheirMessage::Text(text)).await.expect("open");
        }
        socket.flush().await.expect("open");
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    println!("ns per message: read ours, theirs; write ours, theirs");
    for (length, count) in [(128, 8_000), (300, 8_000), (4_000, 1_600), (60_000, 160)] {
        let bytes = frames(length, count);
        let payload = Bytes::from(vec![b'x'; length]);
        println!(
            "{length:>6} bytes: {:>6} {:>6}; {:>6} {:>6}",
            best(count, || read_ours(&bytes, count)),
            best(count, || read_theirs(&bytes, count)),
            best(count, || runtime.block_on(write_ours(&payload, count))),
            best(count, || runtime.block_on(write_theirs(&payload, count))),
        );
    }
}

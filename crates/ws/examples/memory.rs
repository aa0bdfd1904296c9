//! Heap bytes that one socket of a server holds: idle, and idle again after one large message. Ours
//! beside tokio-tungstenite with the read buffer that the relay gives it.

#![expect(unsafe_code, reason = "an allocator that counts is one by its nature")]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use belay_ws::{Limits, Message, Role, WebSocket};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message as TheirMessage,
        protocol::{Role as TheirRole, WebSocketConfig},
    },
};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SOCKETS: usize = 200;
const MIB: usize = 1024 * 1024;
const LARGEST: usize = MIB + 4 * 1024;

fn held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// Bytes per socket since a former count.
fn each(before: usize) -> usize {
    held().saturating_sub(before) / SOCKETS
}

async fn streams() -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..SOCKETS {
        let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        far.push(connected.expect("connected"));
        near.push(accepted.expect("accepted").0);
    }
    (near, far)
}

/// One message of 1 MiB from the far end. What it needs there is dropped before it returns.
async fn send(far: &mut TcpStream) {
    use tokio::io::AsyncWriteExt;
    let mut frame = vec![0x82, 0xff];
    frame.extend((MIB as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.resize(frame.len() + MIB, b'x');
    far.write_all(&frame).await.expect("sent");
}

async fn ours() -> [usize; 3] {
    let (near, mut far) = streams().await;
    let before = held();
    let limits = Limits { message_bytes_max: LARGEST, queue_bytes_max: 256 * 1024 };
    let mut sockets: Vec<_> =
        near.into_iter().map(|io| WebSocket::new(io, Role::Server, limits, &[])).collect();
    for socket in &mut sockets {
        assert!(socket.next().now_or_never().is_none());
    }
    let idle = each(before);
    for (socket, far) in sockets.iter_mut().zip(&mut far) {
        let (next, ()) = tokio::join!(socket.next(), send(far));
        assert!(matches!(next, Some(Ok(Message::Binary(b))) if b.len() == MIB));
        assert!(socket.next().now_or_never().is_none());
    }
    let after_read = each(before);
    for (socket, far) in sockets.iter_mut().zip(&mut far) {
        let message = Message::Binary(vec![b'x'; MIB].into());
        let (sent, ()) = tokio::join!(socket.send(message), drain(far));
        sent.expect("sent");
    }
    [idle, after_read, each(before)]
}

async fn theirs(read_buffer: Option<usize>) -> [usize; 3] {
    let (near, mut far) = streams().await;
    let before = held();
    let mut config = WebSocketConfig::default()
        .write_buffer_size(256 * 1024)
        .max_message_size(Some(LARGEST))
        .max_frame_size(Some(LARGEST));
    if let Some(bytes) = read_buffer {
        config = config.read_buffer_size(bytes);
    }
    let mut sockets = Vec::with_capacity(SOCKETS);
    for io in near {
        let socket = WebSocketStream::from_raw_socket(io, TheirRole::Server, Some(config)).await;
        sockets.push(socket);
    }
    for socket in &mut sockets {
        assert!(socket.next().now_or_never().is_none());
    }
    let idle = each(before);
    for (socket, far) in sockets.iter_mut().zip(&mut far) {
        let (next, ()) = tokio::join!(socket.next(), send(far));
        assert!(matches!(next, Some(Ok(TheirMessage::Binary(b))) if b.len() == MIB));
        assert!(socket.next().now_or_never().is_none());
    }
    let after_read = each(before);
    for (socket, far) in sockets.iter_mut().zip(&mut far) {
        let message = TheirMessage::Binary(vec![b'x'; MIB].into());
        let (sent, ()) = tokio::join!(socket.send(message), drain(far));
        sent.expect("sent");
    }
    [idle, after_read, each(before)]
}

async fn drain(far: &mut TcpStream) {
    use tokio::io::AsyncReadExt;
    let mut left = 10 + MIB;
    let mut chunk = vec![0; 64 * 1024];
    while left > 0 {
        left -= far.read(&mut chunk).await.expect("open");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("heap bytes of one socket: idle, after reading 1 MiB, after writing 1 MiB");
    println!("belay-ws                        {:?}", ours().await);
    println!("tokio-tungstenite, 4 KiB buffer {:?}", theirs(Some(4 * 1024)).await);
    println!("tokio-tungstenite, default      {:?}", theirs(None).await);
}

//! From nothing to a welcomed belay.v1 socket that costs this machine little.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use belay_wire::{Auth, Frame, SUBPROTOCOL, Welcome};
use belay_ws::{Limits, Message, Role, WebSocket};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// How long one attempt may take, as in the client library.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of the answer to the upgrade.
const ANSWER_BYTES_MAX: usize = 4 * 1_024;
/// Addresses of this machine that the sockets of one process come from: each has 28,000 ports.
const SOURCES: u8 = 4;

/// A websocket of a load client.
pub(crate) type Socket = WebSocket<TcpStream>;

/// Upgrades a connection to a relay; `process` and `n` choose where it comes from.
pub(crate) async fn upgrade(relay: SocketAddr, process: u8, n: u64) -> anyhow::Result<Socket> {
    let socket = TcpSocket::new_v4().context("descriptor")?;
    let source = u8::try_from(n % u64::from(SOURCES))?;
    let source = Ipv4Addr::new(127, 0, 1 + process, 1 + source);
    socket.bind((source, 0).into()).context("no port is left")?;
    let mut stream = socket.connect(relay).await.context("tcp")?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /ws HTTP/1.1\r\nhost: {relay}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: bG9hZCBvZiBhIHJlbGF5IQ==\r\n\
         sec-websocket-protocol: {SUBPROTOCOL}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.context("tcp")?;
    let mut answer = Vec::new();
    let end = loop {
        ensure!(answer.len() < ANSWER_BYTES_MAX, "upgrade");
        ensure!(stream.read_buf(&mut answer).await.context("tcp")? > 0, "closed");
        if let Some(at) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
    };
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        let status = String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).into_owned();
        bail!("http {status}");
    }
    let limits = Limits { message_bytes_max: 1 << 20, queue_bytes_max: 1 << 18 };
    // There is no proxy between us that a key would keep from being misled.
    let role = Role::Client { masking_key: || [0x5a, 0xa5, 0x0f, 0xf0] };
    Ok(WebSocket::new(stream, role, limits, &answer[end..]))
}

/// Authenticates; `auth` is made for the nonce of the relay.
pub(crate) async fn authenticate(
    socket: &mut Socket,
    auth: impl FnOnce(&str) -> Auth,
) -> anyhow::Result<Welcome> {
    let Frame::Hello(hello) = next(socket).await? else { bail!("no hello") };
    let auth = Frame::from(auth(&hello.nonce)).encode();
    socket.send(Message::text(auth)).await.context("write")?;
    #[expect(clippy::wildcard_enum_match_arm, reason = "one kind of many")]
    match next(socket).await? {
        Frame::Welcome(welcome) => Ok(welcome),
        Frame::Bye(bye) => bail!("bye {}", bye.reason),
        other => bail!("no welcome but {}", kind(&other)),
    }
}

async fn next(socket: &mut Socket) -> anyhow::Result<Frame> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(belay_wire::decode(text.as_str())?),
            Some(Ok(Message::Close(Some(close)))) => bail!("close {}", close.code),
            Some(Ok(Message::Close(None)) | Err(_)) | None => bail!("closed"),
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
        }
    }
}

/// The word that a frame begins with.
pub(crate) fn kind(frame: &Frame) -> String {
    let text = frame.clone().encode();
    text.split('"').nth(3).unwrap_or("nothing").to_owned()
}

//! A websocket that shows frames as they are: raw text and pings. It can stop answering, and stop
//! reading, as a phone does that lost its network.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use belay_testkit::SOON;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::relay::{PAGE, Relay};

/// Receive buffer of a client that is to be slow, bytes.
const SMALL_BUFFER: u32 = 4_096;

pub(crate) struct Raw {
    socket: WebSocketStream<Muted>,
}

impl Raw {
    /// A desktop or phone of the page that is authenticated; `auth_ok` was read.
    pub(crate) async fn authenticated(relay: &Relay, token: &str) -> Self {
        let mut raw = Self::open(relay).await;
        raw.send(json!({ "type": "relay.auth", "token": token }).to_string()).await;
        assert!(raw.text().await.starts_with(r#"{"type":"auth_ok","#));
        raw
    }

    pub(crate) async fn open(relay: &Relay) -> Self {
        let at = relay.url.trim_start_matches("http://");
        let tcp = TcpSocket::new_v4().expect("a socket");
        tcp.set_recv_buffer_size(SMALL_BUFFER).expect("a small buffer");
        let tcp = tcp.connect(at.parse().expect("an address")).await.expect("it listens");
        let mut request = format!("ws://{at}/ws").into_client_request().expect("an address");
        request.headers_mut().insert("origin", HeaderValue::from_static(PAGE));
        let muted = Muted { tcp, is_mute: false };
        let (socket, _) = client_async(request, muted).await.expect("upgraded");
        Self { socket }
    }

    /// From now on nothing leaves, no pong either.
    pub(crate) fn mute(&mut self) {
        self.socket.get_mut().is_mute = true;
    }

    /// Sends text byte for byte.
    pub(crate) async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    pub(crate) async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.expect("sent");
    }

    /// The next frame of any kind; `None`: the connection broke.
    pub(crate) async fn frame(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(SOON, self.socket.next()).await;
        next.expect("a frame in time")?.ok()
    }

    /// The next text as it came.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.frame().await {
                Some(Message::Text(text)) => return text.to_string(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    /// The next text that holds a `payload`.
    pub(crate) async fn envelope(&mut self) -> String {
        loop {
            let text = self.text().await;
            if text.contains(r#""payload""#) {
                return text;
            }
        }
    }

    /// Reads to the close frame: the last text, code and text of the close frame.
    pub(crate) async fn ended(&mut self) -> (String, u16, String) {
        let mut last = String::new();
        loop {
            match self.frame().await {
                Some(Message::Text(text)) => last = text.to_string(),
                Some(Message::Close(Some(close))) => {
                    return (last, close.code.into(), close.reason.to_string());
                }
                Some(_) => {}
                None => panic!("broken after {last:.200}"),
            }
        }
    }
}

/// A connection whose writes can be made to vanish.
struct Muted {
    tcp: TcpStream,
    is_mute: bool,
}

impl AsyncRead for Muted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Muted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_mute {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

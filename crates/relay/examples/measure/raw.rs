//! A socket of belay.v1 that costs the machine less than a client does: what it reads it counts by kind.

use std::time::Instant;

use belay_client::{CredentialStore, Identity, MemoryCredentials};
use belay_wire::{
    Auth, Channel, ClientInfo, Epoch, Frame, Pong, Position, Positions, SUBPROTOCOL, Seq, VERSIONS,
    proof::auth_transcript,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, Utf8Bytes, client::IntoClientRequest},
};

/// The one epoch of each channel.
pub(crate) const EPOCH: Epoch = Epoch(1);

pub(crate) struct Raw(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Raw {
    /// Connects as the one whose credentials these are; a host is going to write `down` from its beginning.
    pub(crate) async fn connect(credentials: &MemoryCredentials, identity: &Identity) -> Self {
        let held = credentials.load().expect("readable").expect("there");
        let url = format!("{}/ws", held.relay.replacen("http", "ws", 1));
        let mut request = url.into_client_request().expect("an address");
        let protocol = SUBPROTOCOL.parse().expect("a header");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, _) = connect_async_with_config(request, None, true).await.expect("upgraded");
        let mut raw = Self(socket);
        let hello = raw.until("hello").await.0;
        let Ok(Frame::Hello(hello)) = belay_wire::decode(&hello) else { panic!("{hello}") };
        let principal = held.member.map_or([0; 16], |m| *m.as_bytes());
        let token = held.token.expose();
        let signed = auth_transcript(&held.relay, held.session, &principal, &hello.nonce, token);
        let first = Position { fresh: true, ..Position::new(EPOCH, Seq::ZERO.next()) };
        raw.send([Auth {
            version: VERSIONS[0].to_owned(),
            token: held.token,
            nonce: hello.nonce,
            proof: Some(identity.sign(&signed)),
            client: ClientInfo {
                name: "measure".to_owned(),
                version: "0".to_owned(),
                instance: "measure".to_owned(),
                attempt: 1,
            },
            resume: Positions::new(),
            base: held
                .member
                .map_or(Positions::from([(Channel::Down, first)]), |_| Positions::new()),
        }])
        .await;
        raw.until("welcome").await;
        raw
    }

    /// Writes frames with one flush.
    pub(crate) async fn send(&mut self, frames: impl IntoIterator<Item = impl Into<Frame>>) {
        for frame in frames {
            let text = frame.into().encode();
            self.0.feed(Message::text(text)).await.expect("the relay takes it");
        }
        self.0.flush().await.expect("the relay takes it");
    }

    /// The next frame of this kind, and when it was there; pings are answered.
    pub(crate) async fn until(&mut self, kind: &str) -> (Utf8Bytes, Instant) {
        loop {
            let message = self.0.next().await.expect("connected").expect("readable");
            let Message::Text(text) = message else { continue };
            // The text begins with `{"k":"…"`.
            match text.split('"').nth(3) {
                Some(found) if found == kind => return (text, Instant::now()),
                Some("nack" | "gap" | "bye") => panic!("{text}"),
                Some("ping") => {
                    let Ok(Frame::Ping(ping)) = belay_wire::decode(&text) else { panic!("{text}") };
                    self.send([Pong { n: ping.n, t: ping.t }]).await;
                }
                _ => {}
            }
        }
    }

    /// Reads until the relay has acknowledged all up to this.
    pub(crate) async fn until_acknowledged(&mut self, seq: Seq) {
        loop {
            let text = self.until("ack").await.0;
            let Ok(Frame::Ack(ack)) = belay_wire::decode(&text) else { panic!("{text}") };
            if ack.pos.get(&Channel::Down).is_some_and(|at| at.seq >= seq) {
                return;
            }
        }
    }
}

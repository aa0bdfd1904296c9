//! The task of a socket over a pipe, in invented time: who is silent, does not answer, does not read,
//! or closes one direction.

use belay_adapters::{Keys, MemoryStore, Stores};
use belay_client::Identity;
use belay_core::{Session, ports::SessionStore, token::Principal};
use belay_wire::{
    Channel, Hello, Msg, Position, RawJson, Secret, Seq, pair::HostInfo, proof::auth_transcript,
};
use futures_util::{SinkExt, StreamExt};
use tokio::io::DuplexStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{config::Config, node::Parts, origin::Origins};

const ORIGIN: &str = "http://127.0.0.1:1";
/// Bytes that the pipe holds in each direction.
const PIPE: usize = 16 * 1024;

type Peer = WebSocketStream<DuplexStream>;

struct World {
    node: Arc<Node>,
    identity: Identity,
    session: belay_wire::SessionId,
    token: Secret,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let config = Config::default();
        let node = Arc::new(Node::new(Parts {
            keys: Keys::ephemeral(&mut crate::entropy::fill),
            stores: Stores { sessions: store.clone(), ..Stores::in_memory() },
            origins: Origins::of_listener(config.host, 1, &[], &[]),
            admin_token: String::new(),
            id: String::new(),
            stopping: CancellationToken::new(),
            config,
        }));
        let identity = Identity::generate();
        let (name, platform) = ("desk".to_owned(), "test".to_owned());
        let host = HostInfo { name, platform, public_key: identity.public() };
        let (session, created) = node.with_env(|env| Session::create(host, env));
        store.save(session.record().clone()).await.expect("stored");
        Self { node, identity, session: created.session, token: created.host_token }
    }

    /// A socket whose task runs, and its other end.
    async fn connect(&self) -> Peer {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let place = Unauthenticated::take(&self.node, [127, 0, 0, 1].into()).expect("room");
        let node = self.node.clone();
        let socket = Socket::new(ours);
        tokio::spawn(run(node, socket, ORIGIN.to_owned(), place));
        WebSocketStream::from_raw_socket(theirs, Role::Client, None).await
    }

    /// The same, authenticated as the host.
    async fn welcome(&self) -> Peer {
        let mut peer = self.connect().await;
        let Frame::Hello(Hello { nonce, .. }) = next(&mut peer).await else { panic!("no hello") };
        let principal = Principal::Host.as_bytes();
        let token = self.token.expose();
        let signed = auth_transcript(ORIGIN, self.session, &principal, &nonce, token);
        let base =
            Position { fresh: true, ..Position::new(belay_wire::Epoch(1), Seq::ZERO.next()) };
        let auth = belay_wire::Auth {
            version: belay_wire::VERSIONS[0].to_owned(),
            token: self.token.clone(),
            nonce,
            proof: Some(self.identity.sign(&signed)),
            client: belay_wire::ClientInfo {
                name: "test".to_owned(),
                version: "0".to_owned(),
                instance: "one".to_owned(),
                attempt: 1,
            },
            resume: belay_wire::Positions::new(),
            base: belay_wire::Positions::from([(Channel::Down, base)]),
        };
        send(&mut peer, auth).await;
        let welcome = next(&mut peer).await;
        assert_eq!(welcome.kind(), "welcome");
        peer
    }

    fn connected(&self) -> i64 {
        self.node.metrics.active_websockets()
    }
}

async fn send(peer: &mut Peer, frame: impl Into<Frame>) {
    peer.send(Message::text(frame.into().encode())).await.expect("sent");
}

async fn next(peer: &mut Peer) -> Frame {
    let Some(Ok(Message::Text(text))) = peer.next().await else { panic!("no frame") };
    belay_wire::decode(&text).expect("a frame")
}

/// The close code that ends a socket of which everything is read.
async fn closed(peer: &mut Peer) -> Option<u16> {
    while let Some(Ok(message)) = peer.next().await {
        if let Message::Close(close) = message {
            return close.map(|c| c.code.into());
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_refused_when_its_time_is_over() {
    let world = World::new().await;
    let mut peer = world.connect().await;
    let started = Instant::now();

    assert_eq!(closed(&mut peer).await, Some(CloseCode::Unavailable.code()));

    assert_eq!(started.elapsed().as_secs(), world.node.config.auth_timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_gone_after_two() {
    let world = World::new().await;
    let mut peer = world.welcome().await;
    let started = Instant::now();

    assert_eq!(closed(&mut peer).await, Some(CloseCode::PingTimeout.code()));

    let beats = started.elapsed().as_secs_f64() / world.node.config.heartbeat.as_secs_f64();
    assert!((2.0..=3.1).contains(&beats), "{beats} heartbeats");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_its_pings_stays() {
    let world = World::new().await;
    let mut peer = world.welcome().await;
    let started = Instant::now();

    while started.elapsed() < Duration::from_mins(10) {
        if let Frame::Ping(ping) = next(&mut peer).await {
            send(&mut peer, belay_wire::Pong { n: ping.n, t: ping.t }).await;
        }
    }

    assert_eq!(world.connected(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_closed_and_others_are_not_held_up() {
    let world = World::new().await;
    let mut peer = world.welcome().await;
    let p = RawJson::of(&1).expect("JSON");
    // Each message is answered sooner or later, and nobody reads the answers.
    for n in 1..=3_000_u64 {
        let (ch, epoch, seq) = (Channel::Down, belay_wire::Epoch(9), Seq::new(n).expect("small"));
        let (flags, key, at, from) = (None, None, None, None);
        let msg = Msg { ch, epoch, seq, flags, key, was: Vec::new(), at, from, p: p.clone() };
        let sending = peer.send(Message::text(Frame::from(msg).encode()));
        if !matches!(tokio::time::timeout(Duration::from_mins(2), sending).await, Ok(Ok(()))) {
            break;
        }
    }
    tokio::time::sleep(Duration::from_mins(2)).await;

    assert_eq!(world.connected(), 0, "it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_its_direction_is_gone_at_once() {
    use tokio::io::AsyncWriteExt;
    let world = World::new().await;
    let mut peer = world.welcome().await;
    assert_eq!(world.connected(), 1);

    peer.get_mut().shutdown().await.expect("half closed");
    tokio::time::sleep(Duration::from_millis(100)).await;

    assert_eq!(world.connected(), 0);
}

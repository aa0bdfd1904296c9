//! One attempt to connect: TCP, TLS where the address says so, websocket, `hello`, `auth`,
//! `welcome`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::{fmt::Debug, future::Future, io, pin::Pin, sync::Arc, time::Duration};

use belay_wire::{
    AFFINITY_HEADER, Auth, ClientInfo, CloseCode, Frame, Positions, SUBPROTOCOL, VERSIONS, Welcome,
    affinity_key, proof::auth_transcript,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Error as WsError, Message,
        client::IntoClientRequest,
        error::ProtocolError,
        http::{HeaderName, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};
use url::Url;

use crate::{Credentials, Options};

/// How long one attempt may take until `welcome`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<Box<dyn Transport>>>;

/// A stream of bytes to a relay.
pub trait Transport: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Transport for T {}

/// What [`Connector::connect`] answers.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send>>;

/// How a host and port are reached.
pub trait Connector: Debug + Send + Sync {
    /// Connects.
    fn connect(&self, host: &str, port: u16) -> Connecting;
}

/// Over TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Connector for Tcp {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let address = format!("{host}:{port}");
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

/// How an attempt failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Not reachable, or not a relay.
    Network(String),
    /// The relay closed with a reason.
    Closed { code: u16, reason: String, retry_in: Option<Duration> },
}

/// What one attempt needs.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) credentials: Credentials,
    pub(crate) options: Arc<Options>,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) client: ClientInfo,
    pub(crate) resume: Positions,
    pub(crate) base: Positions,
}

/// The origin of a relay's address, as both ends write it into proofs.
pub fn origin_of(relay: &str) -> Option<String> {
    let url = Url::parse(relay).ok()?;
    let origin = url.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

impl Attempt {
    /// Connects until `welcome`.
    pub(crate) async fn run(self) -> Result<(Socket, Welcome), Failed> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
            Ok(result) => result,
            Err(_) => Err(Failed::Network("the relay did not answer in time".to_owned())),
        }
    }

    async fn connect(self) -> Result<(Socket, Welcome), Failed> {
        let relay = &self.credentials.relay;
        let network = |e: String| Failed::Network(format!("{relay}: {e}"));
        let url = Url::parse(relay).map_err(|e| network(e.to_string()))?;
        let origin = origin_of(relay).ok_or_else(|| network("not an http address".to_owned()))?;
        let host = url.host_str().ok_or_else(|| network("no host".to_owned()))?;
        let port = url.port_or_known_default().ok_or_else(|| network("no port".to_owned()))?;
        let stream = self.connector.connect(host, port).await;
        let stream = stream.map_err(|e| network(e.to_string()))?;
        let target = format!("{}/ws", origin.replacen("http", "ws", 1));
        let mut request = target.into_client_request().map_err(|e| network(e.to_string()))?;
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        // A balancer that knows it keeps host and members at one node.
        let key = HeaderValue::try_from(affinity_key(self.credentials.session));
        request
            .headers_mut()
            .extend(key.map(|key| (HeaderName::from_static(AFFINITY_HEADER), key)));
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let connecting = client_async_tls_with_config(request, stream, Some(config), None);
        let (mut socket, _) = connecting.await.map_err(|e| network(describe(&e)))?;
        let welcome = self.authenticate(&mut socket, &origin).await?;
        Ok((socket, welcome))
    }

    async fn authenticate(self, socket: &mut Socket, origin: &str) -> Result<Welcome, Failed> {
        let Frame::Hello(hello) = receive(socket).await? else {
            return Err(Failed::Network("the relay did not say hello".to_owned()));
        };
        let Some(version) = VERSIONS.iter().find(|v| hello.versions.iter().any(|h| h == *v)) else {
            return Err(Failed::Closed {
                code: CloseCode::ProtocolError.code(),
                reason: "no common protocol version; update belay".to_owned(),
                retry_in: None,
            });
        };
        let credentials = &self.credentials;
        let principal = credentials.member.map_or([0; 16], |m| *m.as_bytes());
        let transcript = auth_transcript(
            origin,
            credentials.session,
            &principal,
            &hello.nonce,
            credentials.token.expose(),
        );
        let auth = Frame::from(Auth {
            version: (*version).to_owned(),
            token: credentials.token.clone(),
            nonce: hello.nonce,
            proof: Some(self.options.identity.sign(&transcript)),
            client: self.client,
            resume: self.resume,
            base: self.base,
        });
        let sent = socket.send(Message::text(auth.encode())).await;
        sent.map_err(|e| Failed::Network(describe(&e)))?;
        match receive(socket).await? {
            Frame::Welcome(welcome) => Ok(welcome),
            Frame::Bye(bye) => Err(Failed::Closed {
                code: bye.code,
                reason: bye.reason,
                retry_in: bye.retry.then(|| Duration::from_millis(bye.retry_in_ms)),
            }),
            other => Err(Failed::Network(format!("unexpected {} frame", other.kind()))),
        }
    }
}

/// The next frame; binary ones are not for this client.
pub(crate) async fn receive(socket: &mut Socket) -> Result<Frame, Failed> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                return belay_wire::decode(&text).map_err(|e| Failed::Network(e.to_string()));
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map_or(1005, |f| u16::from(f.code));
                let reason = frame.map_or(String::new(), |f| f.reason.to_string());
                return Err(Failed::Closed { code, reason, retry_in: None });
            }
            Some(Ok(
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_),
            )) => {}
            Some(Err(e)) => return Err(Failed::Network(describe(&e))),
            None => return Err(Failed::Network("the connection ended".to_owned())),
        }
    }
}

pub(crate) fn describe(error: &WsError) -> String {
    match error {
        WsError::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let text = String::from_utf8_lossy(body).chars().take(300).collect::<String>();
            format!("the relay answered {}: {text}", response.status())
        }
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | WsError::ConnectionClosed
        | WsError::AlreadyClosed => "the connection broke off".to_owned(),
        WsError::Io(error) => format!("the connection broke off: {error}"),
        other => other.to_string(),
    }
}

//! Stands between clients and a relay, passes everything on and writes what passed. It can also give
//! one member another name on the way, as a relay with a fault would.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle};
use tokio_tungstenite::{
    WebSocketStream, connect_async,
    tungstenite::{
        Message, client::IntoClientRequest, handshake::derive_accept_key, protocol::Role,
    },
};

use super::transcript::{Line, Transcript, What};

/// A member that gets another name on its way.
#[derive(Debug, Clone)]
pub struct Rename {
    pub member: String,
    /// On the way to the relay, or from it.
    pub to_relay: bool,
}

impl Rename {
    fn apply(&self, text: String, to_relay: bool) -> String {
        if to_relay != self.to_relay {
            return text;
        }
        let (from, to) = (format!("\"{}\":", self.member), format!("\"{}_\":", self.member));
        // Values have quotes of their own only behind a backslash.
        text.replace(&from, &to)
    }
}

/// A recording address in front of a relay.
#[derive(Debug)]
pub struct Recorder {
    /// Where clients connect to.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    relay: String,
    http: reqwest::Client,
    own: String,
    rename: Option<Rename>,
    lines: Mutex<Vec<Line>>,
    conversations: std::sync::atomic::AtomicU32,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// Listens on an address, port 0 for a free one, for clients of the relay at `relay`.
    pub async fn start(
        listen: SocketAddr,
        relay: &str,
        rename: Option<Rename>,
    ) -> std::io::Result<Self> {
        belay_client::install_crypto();
        let listener = TcpListener::bind(listen).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let shared = Arc::new(Shared {
            relay: relay.trim_end_matches('/').to_owned(),
            http,
            own: url.replacen("http", "ws", 1) + "/ws",
            rename,
            lines: Mutex::default(),
            conversations: 1.into(),
        });
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, shared, task })
    }

    /// What passed so far.
    pub async fn transcript(&self) -> Transcript {
        Transcript(self.shared.lines.lock().await.clone())
    }
}

impl Shared {
    fn conversation(&self) -> u32 {
        self.conversations.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    async fn write(&self, conversation: u32, what: What) {
        self.lines.lock().await.push(Line { conversation, what });
    }

    fn on_its_way(&self, text: &str, to_relay: bool) -> String {
        let text = text.to_owned();
        self.rename.as_ref().map_or(text.clone(), |rename| rename.apply(text, to_relay))
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

async fn pass(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    if let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned() {
        let upgrading = hyper::upgrade::on(&mut request);
        let headers = request.headers().clone();
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrading.await {
                let io = TokioIo::new(upgraded);
                let client = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                socket(shared, headers, client).await;
            }
        });
        let accept = derive_accept_key(key.as_bytes());
        let headers = [
            (header::CONNECTION, "Upgrade".to_owned()),
            (header::UPGRADE, "websocket".to_owned()),
            (header::SEC_WEBSOCKET_ACCEPT, accept),
        ];
        return (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    }
    call(shared, request).await.unwrap_or_else(|why| {
        (StatusCode::BAD_GATEWAY, format!("the relay does not answer: {why}")).into_response()
    })
}

async fn call(shared: Arc<Shared>, request: Request) -> Result<Response, reqwest::Error> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 24).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let (path, conversation) = (parts.uri.path().to_owned(), shared.conversation());
    let is_post = parts.method == "POST";
    if is_post {
        shared.write(conversation, What::Call { path: path.clone(), body: json(&text) }).await;
    }
    let mut headers = parts.headers;
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let url = format!("{}{}", shared.relay, parts.uri);
    let call = shared.http.request(parts.method, url).headers(headers);
    let answer = call.body(shared.on_its_way(&text, true)).send().await?;
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let text = shared.on_its_way(&answer.text().await?, false);
    if is_post {
        let (status, body) = (status.as_u16(), json(&text));
        shared.write(conversation, What::Answer { status, body }).await;
    }
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRANSFER_ENCODING);
    Ok((status, headers, Bytes::from(shared.through_here(&text))).into_response())
}

impl Shared {
    /// The address of the relay's websocket becomes the one of this recorder.
    fn through_here(&self, text: &str) -> String {
        let Ok(Value::Object(mut body)) = serde_json::from_str(text) else {
            return text.to_owned();
        };
        if body.contains_key("wsURL") {
            body.insert("wsURL".to_owned(), self.own.clone().into());
        }
        Value::Object(body).to_string()
    }
}

async fn socket<S>(shared: Arc<Shared>, headers: HeaderMap, client: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let conversation = shared.conversation();
    let origin = headers.get(header::ORIGIN).cloned();
    let named = origin.as_ref().and_then(|o: &HeaderValue| o.to_str().ok()).map(str::to_owned);
    shared.write(conversation, What::Open { origin: named }).await;
    let url = shared.relay.replacen("http", "ws", 1) + "/ws";
    let Ok(mut request) = url.into_client_request() else { return };
    if let Some(origin) = origin {
        request.headers_mut().insert(header::ORIGIN, origin);
    }
    let Ok((relay, _)) = connect_async(request).await else {
        return shared.write(conversation, What::Closed { code: 0, reason: String::new() }).await;
    };
    let (mut to_relay, mut from_relay) = relay.split();
    let (mut to_client, mut from_client) = client.split();
    loop {
        tokio::select! {
            message = from_client.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    shared.write(conversation, What::Said(json(&text))).await;
                    let text = shared.on_its_way(&text, true);
                    let _ = to_relay.send(Message::text(text)).await;
                }
                Some(Ok(message)) if !message.is_close() => {
                    let _ = to_relay.send(message).await;
                }
                _ => {
                    shared.write(conversation, What::Left {}).await;
                    return;
                }
            },
            message = from_relay.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let text = shared.on_its_way(&text, false);
                    shared.write(conversation, What::Told(json(&text))).await;
                    let _ = to_client.send(Message::text(text)).await;
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    let (code, reason) = (frame.code.into(), frame.reason.to_string());
                    shared.write(conversation, What::Closed { code, reason }).await;
                    let _ = to_client.send(Message::Close(Some(frame))).await;
                    // The client answers, then the connection ends.
                    let _ = tokio::time::timeout(Duration::from_secs(1), from_client.next()).await;
                    return;
                }
                Some(Ok(message)) if !message.is_close() => {
                    let _ = to_client.send(message).await;
                }
                _ => {
                    let what = What::Closed { code: 0, reason: String::new() };
                    return shared.write(conversation, what).await;
                }
            },
        }
    }
}

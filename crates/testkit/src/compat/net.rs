//! HTTP and websockets without any knowledge of the relay's own types.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::SOON;

/// What a call was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    /// The body as JSON; `Null` where it is none.
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The stable name of an error.
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

async fn read(answer: reqwest::Response) -> Result<Answer, reqwest::Error> {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status, headers, body, text })
}

/// The way to one relay, for one kind of client.
#[derive(Debug, Clone)]
pub struct Net {
    base: String,
    http: reqwest::Client,
    origin: Option<String>,
}

impl Net {
    /// A native client: it sends no `Origin`.
    pub fn native(base: &str) -> Self {
        belay_client::install_crypto();
        // Each request on a connection of its own, which a balancer may send anywhere.
        let http =
            reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(0);
        let http = http.build();
        let http = http.expect("a client");
        Self { base: base.trim_end_matches('/').to_owned(), http, origin: None }
    }

    /// A client in a browser: it sends the `Origin` of its page.
    pub fn page(base: &str, origin: &str) -> Self {
        Self { origin: Some(origin.to_owned()), ..Self::native(base) }
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.raw("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A call to a relay that may be away.
    pub async fn try_call(&self, path: &str, body: &Value) -> Option<Answer> {
        let json = [("content-type", "application/json")];
        self.try_raw("POST", path, &json, body.to_string()).await.ok()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &[], String::new()).await
    }

    /// Any request.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let answer = self.try_raw(method, path, headers, body).await;
        answer.unwrap_or_else(|why| panic!("{path} is answered: {why}"))
    }

    /// Any request, to a relay that may be away.
    pub async fn try_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Result<Answer, reqwest::Error> {
        let method: reqwest::Method = method.parse().expect("a method");
        let mut call = self.http.request(method, format!("{}{path}", self.base)).body(body.into());
        if let Some(origin) = &self.origin {
            call = call.header("origin", origin);
        }
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        read(call.send().await?).await
    }

    /// Upgrades `/ws`.
    pub async fn open(&self) -> Wire {
        self.try_open("/ws").await.unwrap_or_else(|status| panic!("refused with {status}"))
    }

    /// Upgrades a path; `Err`: the status of the refusal, 0 for no answer.
    pub async fn try_open(&self, path: &str) -> Result<Wire, u16> {
        let url = format!("{}{path}", self.base.replacen("http", "ws", 1));
        let mut request = url.into_client_request().expect("an address");
        if let Some(origin) = &self.origin {
            let origin = HeaderValue::from_bytes(origin.as_bytes()).expect("a header");
            request.headers_mut().insert("origin", origin);
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Wire { socket }),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                Err(answer.status().as_u16())
            }
            Err(_) => Err(0),
        }
    }
}

/// What came on a websocket.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Json(Value),
    /// Text that is not JSON.
    Text(String),
    Closed {
        code: u16,
        reason: String,
    },
    /// The connection broke without a close frame.
    Broken,
}

/// A websocket.
#[derive(Debug)]
pub struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Wire {
    pub async fn send(&mut self, value: &Value) {
        self.send_message(Message::text(value.to_string())).await;
    }

    /// Sends a frame; that the peer has gone shows at the next read.
    pub async fn send_message(&mut self, message: Message) {
        let _ = self.socket.send(message).await;
    }

    /// The next thing that is told, or the end; panics if nothing comes in time.
    pub async fn hear(&mut self) -> Heard {
        tokio::time::timeout(SOON, self.listen()).await.expect("something is told in time")
    }

    /// The next thing that is told, however long it takes.
    pub async fn listen(&mut self) -> Heard {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let json = serde_json::from_str(&text);
                    return json.map_or_else(|_| Heard::Text(text.to_string()), Heard::Json);
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    let reason = frame.reason.to_string();
                    // The answer to the close is written with the next read.
                    let _ = self.socket.next().await;
                    return Heard::Closed { code: frame.code.into(), reason };
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Broken,
            }
        }
    }

    /// The next message, which must be JSON.
    pub async fn message(&mut self) -> Value {
        match self.hear().await {
            Heard::Json(value) => value,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// Messages until one of this `type`.
    pub async fn until(&mut self, kind: &str) -> Value {
        loop {
            let value = self.message().await;
            if value["type"] == kind {
                return value;
            }
        }
    }

    /// Messages until one that is an envelope.
    pub async fn envelope(&mut self) -> Value {
        loop {
            let value = self.message().await;
            if value.get("payload").is_some() {
                return value;
            }
        }
    }

    /// The reason that is told as text, and the close frame after it.
    pub async fn ended(&mut self) -> (String, u16) {
        let told = self.until("disconnect").await["reason"].as_str().unwrap_or_default().to_owned();
        match self.hear().await {
            Heard::Closed { code, .. } => (told, code),
            other => panic!("expected a close frame after {told}, got {other:?}"),
        }
    }

    /// Asserts that nothing is told for a while.
    pub async fn stays_silent(&mut self, time: Duration) {
        if let Ok(heard) = tokio::time::timeout(time, self.listen()).await {
            panic!("nothing was to be told, got {heard:?}");
        }
    }

    /// Sends the token and gives the answer.
    pub async fn auth(&mut self, token: &str) -> Value {
        self.send(&serde_json::json!({ "type": "relay.auth", "token": token })).await;
        let told = self.message().await;
        assert_eq!(told["type"], "auth_ok", "{told}");
        told
    }

    /// Ends as a browser does.
    pub async fn close(mut self) {
        let _ = self.socket.close(None).await;
        let _ = tokio::time::timeout(SOON, self.listen()).await;
    }
}

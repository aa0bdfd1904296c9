//! Bad input: each a typed error, and nothing lost for others.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

use belay_relay::Config;

use belay_testkit::{Desk, Relay, config};

pub(crate) type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

pub(crate) async fn connect(relay: &Relay, origin: Option<&str>) -> Result<Socket, u16> {
    let url = format!("{}/ws", relay.url.replacen("http", "ws", 1));
    let mut request = url.into_client_request().expect("an address");
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", "belay.v1".parse().expect("a header"));
    if let Some(origin) = origin {
        headers.insert("origin", origin.parse().expect("a header"));
    }
    // Little room, so that a reader that stops is felt soon.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("set");
    let stream = socket.connect(relay.address()).await.expect("connects");
    match tokio_tungstenite::client_async_tls(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(r)) => Err(r.status().as_u16()),
        Err(other) => panic!("{other}"),
    }
}

/// The close code that ends a socket.
pub(crate) async fn close_code(socket: &mut Socket) -> Option<u16> {
    let closing = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                return frame.map(|f| f.code.into());
            }
        }
        None
    };
    tokio::time::timeout(belay_testkit::SOON, closing).await.expect("closed in time")
}

#[tokio::test]
async fn whatever_is_not_auth_ends_with_a_code_and_a_reason() {
    let relay = Relay::start(config()).await;
    let deep = format!("{{\"k\":\"auth\",\"x\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    let frames = [
        Message::text("not json"),
        Message::text(""),
        Message::text("{\"k\":\"msg\"}"),
        Message::text("{\"k\":\"nonsense\"}"),
        Message::text("{\"k\":\"auth\",\"k\":\"auth\"}"),
        Message::text("{\"k\":\"auth\",\"token\":5}"),
        Message::text(deep),
        Message::text("x".repeat(5_000)),
        Message::binary(vec![1, 2, 3]),
    ];
    for frame in frames {
        let mut socket = connect(&relay, None).await.expect("upgraded");
        socket.send(frame.clone()).await.expect("sent");

        assert_eq!(close_code(&mut socket).await, Some(4400), "{frame:?}");
    }
    relay.until_number("unauthenticatedWebSockets", 0).await;
    let numbers = relay.numbers().await;
    assert_eq!(numbers["wsAuthFailureReasons"]["protocol_error"], 9);
    assert_eq!(numbers["wsAuthAttempts"], 9);
}

#[tokio::test]
async fn a_flood_before_authentication_is_cut_off() {
    let relay = Relay::start(config()).await;
    let mut socket = connect(&relay, None).await.expect("upgraded");

    let _ = socket.send(Message::text("x".repeat(1_000_000))).await;

    let code = close_code(&mut socket).await;
    assert!(matches!(code, Some(4400) | None), "{code:?}");
    relay.until_number("unauthenticatedWebSockets", 0).await;
}

#[tokio::test]
async fn a_silent_socket_is_closed_in_time() {
    let relay = Relay::start(Config { auth_timeout: Duration::from_millis(200), ..config() }).await;
    let mut socket = connect(&relay, None).await.expect("upgraded");

    assert_eq!(close_code(&mut socket).await, Some(4503));

    assert_eq!(relay.numbers().await["wsAuthFailureReasons"]["auth_timeout"], 1);
}

#[tokio::test]
async fn foreign_pages_and_host_names_are_refused() {
    let relay = Relay::start(config()).await;
    for origin in ["http://evil.example", "null", "http://127.0.0.1"] {
        assert_eq!(connect(&relay, Some(origin)).await.err(), Some(403), "{origin}");
    }
    let own = relay.url.clone();
    assert!(connect(&relay, Some(&own)).await.is_ok());
}

#[tokio::test]
async fn sockets_that_do_not_authenticate_are_capped_per_address() {
    let config = Config { unauthenticated_per_address_max: 3, ..config() };
    let relay = Relay::start_alone(config).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connect(&relay, None).await.expect("upgraded"));
    }

    assert_eq!(connect(&relay, None).await.err(), Some(503));

    drop(held);
    relay.until_number("unauthenticatedWebSockets", 0).await;
    assert!(connect(&relay, None).await.is_ok());
}

async fn raw(relay: &Relay, request: &str) -> String {
    let mut stream = TcpStream::connect(relay.address()).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let quiet = Duration::from_millis(500);
    // The relay keeps the connection open, so the answer ends with silence.
    while let Ok(Ok(1..)) = tokio::time::timeout(quiet, stream.read_buf(&mut answer)).await {}
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn handshakes_that_are_not_ours_are_refused() {
    let relay = Relay::start(config()).await;
    let host = relay.address();
    let good = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: belay.v1\r\n";
    let cases = [
        ("GET /ws?token=secret HTTP/1.1", good.to_owned()),
        ("GET /ws HTTP/1.1", good.replace("13", "8")),
        ("GET /ws HTTP/1.1", good.replace("belay.v1", "other")),
        ("GET /ws HTTP/1.1", format!("{good}Sec-WebSocket-Key: twice\r\n")),
        ("GET /ws HTTP/1.1", format!("{good}Transfer-Encoding: chunked\r\n")),
        ("GET /ws HTTP/1.1", String::new()),
    ];
    for (line, headers) in cases {
        let answer = raw(&relay, &format!("{line}\r\nHost: {host}\r\n{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{line} {headers}: {answer}");
        assert!(!answer.contains("secret"), "nothing of the query is echoed");
    }
    let many = "X-Filler: y\r\n".repeat(200);
    let answer = raw(&relay, &format!("GET /livez HTTP/1.1\r\nHost: {host}\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn bodies_that_are_wrong_are_named() {
    let relay = Relay::start(config()).await;
    let host = relay.address();
    let post = |body: &str| {
        let length = body.len();
        format!(
            "POST /v1/pair HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    };
    let cases = [
        ("", "empty"),
        ("{", "EOF"),
        ("[]", "as expected"),
        ("{\"code\":5}", "code"),
        ("{\"unknown\":1}", "unknown field"),
        ("{\"commit\":\"x\"}", "43 base64url"),
        ("{\"code\":\"a\",\"code\":\"b\"}", "duplicate field"),
    ];
    for (body, word) in cases {
        let answer = raw(&relay, &post(body)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
        assert!(answer.contains(word), "{word} in {answer}");
    }
    let large = "x".repeat(20_000);
    assert!(raw(&relay, &post(&large)).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn an_attacker_does_not_disturb_who_is_connected() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    for _ in 0..50 {
        let mut socket = connect(&relay, None).await.expect("upgraded");
        let _ = socket.send(Message::text("garbage")).await;
    }

    let payload = belay_wire::RawJson::of(&7).expect("JSON");
    desk.client.send(belay_wire::Channel::Down, payload, None).expect("room");

    phone.until(|e| matches!(e, belay_client::Event::Message(_))).await;
}

#[tokio::test]
async fn a_hundred_reconnects_leak_no_socket() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    for _ in 0..100 {
        phone.client.reconnect();
        phone.until(|e| matches!(e, belay_client::Event::Connected(_))).await;
    }

    relay.until_number("activeWebSockets", 2).await;
    relay.until_number("unauthenticatedWebSockets", 0).await;
}

#[tokio::test]
async fn the_admin_listener_wants_its_bearer() {
    let relay = Relay::start(config()).await;
    let http = reqwest::Client::new();
    for path in ["/metrics", "/admin/sessions", "/admin/sessions/x/devices"] {
        let url = format!("http://{}{path}", relay.admin());
        let without = http.get(&url).send().await.expect("answers").status();
        let wrong = http.get(&url).bearer_auth("wrong").send().await.expect("answers").status();
        let right = http.get(&url).bearer_auth(relay.admin_token()).send().await;
        assert_eq!((without.as_u16(), wrong.as_u16()), (401, 401), "{path}");
        assert_ne!(right.expect("answers").status().as_u16(), 401, "{path}");
        let public = http.get(format!("{}{path}", relay.url)).send().await.expect("answers");
        assert_eq!(public.status().as_u16(), 404, "{path} is not on the public listener");
    }
}

#[tokio::test]
async fn the_renderings_of_the_numbers_agree() {
    let relay = Relay::start_alone(config()).await;
    let mut desk = Desk::start(&relay).await;
    let _phone = desk.pair(&relay).await;
    relay.until_number("activeWebSockets", 2).await;

    let numbers = relay.numbers().await;
    let url = format!("http://{}/metrics", relay.admin());
    let text = reqwest::Client::new().get(url).bearer_auth(relay.admin_token()).send().await;
    let text = text.expect("answers").text().await.expect("a body");

    let gauge = |name: &str| -> i64 {
        let line = text.lines().find(|l| l.starts_with(&format!("{name}{{")));
        let value = line.and_then(|l| l.rsplit(' ').next()).and_then(|v| v.parse().ok());
        value.unwrap_or_else(|| panic!("{name} in {text}"))
    };
    assert_eq!(gauge("hosts_connected") + gauge("members_connected"), 2);
    for (json, prometheus) in [
        ("sessions", "sessions"),
        ("sessionsWithMobile", "sessions_with_phone"),
        ("deviceTokens", "device_tokens"),
        ("rateLimitBuckets", "rate_limit_buckets"),
        ("commandRateLimitBuckets", "command_rate_limit_buckets"),
        ("snapshotRateLimitBuckets", "snapshot_rate_limit_buckets"),
        ("pendingJoinWaiters", "pair_waiters"),
        ("slowConsumerDisconnects", "slow_consumer_disconnects_total"),
        ("outboundSendFailures", "outbound_send_failures_total"),
        ("wsAuthAttempts", "ws_auth_attempts_total"),
        ("wsAuthSuccesses", "ws_auth_successes_total"),
        ("pairJoinRequests", "pair_join_requests_total"),
        ("pairJoinSuccesses", "pair_join_successes_total"),
        ("pairStartSuccesses", "pair_start_successes_total"),
    ] {
        assert_eq!(numbers[json].as_i64(), Some(gauge(prometheus)), "{json}");
    }
    assert!(text.contains("instance=\"belay\",region=\"local\""), "every line is labelled");
}

#[tokio::test]
async fn slow_headers_and_slow_bodies_are_cut_off() {
    let relay = Relay::start(config()).await;
    let host = relay.address();
    let starts = [
        "GET /livez HTTP/1.1\r\nHost: ".to_owned(),
        format!("POST /v1/pair HTTP/1.1\r\nHost: {host}\r\nContent-Length: 50\r\n\r\n{{"),
    ];
    let cut_off = |start: String| async move {
        let mut stream = TcpStream::connect(host).await.expect("connects");
        stream.write_all(start.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);

        let ended = tokio::time::timeout(Duration::from_secs(25), reading).await;

        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(ended.is_ok() || text.contains("408"), "{start}: still open after 25 s: {text}");
    };
    futures_util::future::join_all(starts.map(cut_off)).await;
}

#[tokio::test]
async fn open_connections_are_bounded_and_their_places_come_back() {
    let relay = Relay::start_alone(Config { http_connections_max: 3, ..config() }).await;
    let ask = || async {
        let mut stream = TcpStream::connect(relay.address()).await.expect("connects");
        let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(request).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(relay.address()).await.expect("connects"));
    }
    let full = ask().await;
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("Retry-After"), "{full}");
    let metrics = format!("http://{}/metrics", relay.admin());
    let metrics = reqwest::Client::new().get(metrics).bearer_auth(relay.admin_token()).send().await;
    let metrics = metrics.expect("answers").text().await.expect("a body");
    let mut lines = metrics.lines();
    let counted = lines.find(|l| l.starts_with("http_connections_refused_total")).expect("there");
    assert!(counted.ends_with(" 1"), "{counted}");

    drop(held);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while !ask().await.starts_with("HTTP/1.1 200") {
        assert!(tokio::time::Instant::now() < deadline, "the places did not come back");
    }
}

/// Authenticates as a phone and then never says a word again, not even to pings.
async fn silent_phone(relay: &Relay, phone: &belay_testkit::Member) -> Socket {
    use belay_client::CredentialStore;
    let mut socket = connect(relay, None).await.expect("upgraded");
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("hello") };
    let Ok(belay_wire::Frame::Hello(hello)) = belay_wire::decode(&text) else { panic!("hello") };
    let credentials = phone.credentials.load().expect("readable").expect("present");
    let origin = belay_client::origin_of(&relay.url).expect("an address");
    let token = credentials.token.clone();
    let signed = belay_wire::proof::auth_transcript(
        &origin,
        credentials.session,
        phone.id.as_bytes(),
        &hello.nonce,
        token.expose(),
    );
    let name = || "silent".to_owned();
    let client =
        belay_wire::ClientInfo { name: name(), version: name(), instance: name(), attempt: 1 };
    let auth = belay_wire::Auth {
        version: belay_wire::VERSIONS[0].to_owned(),
        token,
        nonce: hello.nonce,
        proof: Some(phone.identity.sign(&signed)),
        client,
        resume: belay_wire::Positions::new(),
        base: belay_wire::Positions::new(),
    };
    let frame = belay_wire::Frame::from(auth);
    socket.send(Message::text(frame.encode())).await.expect("sent");
    socket
}

#[tokio::test]
async fn a_half_open_socket_is_noticed_and_its_presence_ends() {
    let config = Config { heartbeat: Duration::from_millis(150), ..config() };
    let relay = Relay::start(config).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;

    let mut silent = silent_phone(&relay, &phone).await;

    let taken_over = belay_wire::CloseCode::TakenOver;
    assert_eq!(phone.until_stopped().await, taken_over, "the newer one took over");
    assert_eq!(close_code(&mut silent).await, Some(4598), "no answer to pings");
    relay.until_number("activeWebSockets", 1).await;
}

#[tokio::test]
async fn a_revoked_phone_that_does_not_read_is_gone_at_once() {
    let relay = Relay::start(config()).await;
    let mut desk = Desk::start(&relay).await;
    let mut phone = desk.pair(&relay).await;
    let stuck = silent_phone(&relay, &phone).await;
    phone.until_stopped().await;
    relay.until_number("activeWebSockets", 2).await;
    desk.client
        .send(belay_wire::Channel::Down, belay_wire::RawJson::of(&1).expect("JSON"), None)
        .expect("there is room");
    // More than the system's buffers hold; volatile messages do not wait for acknowledgements.
    let text = belay_wire::RawJson::of(&"x".repeat(500_000)).expect("JSON");
    for n in 0..40 {
        desk.client.send_volatile(belay_wire::Channel::Down, n.to_string(), text.clone());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = std::time::Instant::now();

    desk.client.control(belay_wire::DeviceRevoke { member: phone.id }).expect("connected");

    relay.until_number("activeWebSockets", 1).await;
    // It would be 30 s if it were waited for.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(stuck);
}

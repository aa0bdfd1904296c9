//! Bytes that no client sends: on the socket in every state, and as HTTP.

use std::time::Duration;

use belay_testkit::{SOON, unix_ms};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    relay::{PAGE, Relay},
    scenario::Scenario,
    world::World,
};

/// Who sends.
#[derive(Clone, Copy)]
enum Who {
    Nobody,
    Desktop,
    Phone,
}

const EVERYONE: [(&str, Who); 3] =
    [("before auth", Who::Nobody), ("by a desktop", Who::Desktop), ("by a phone", Who::Phone)];

/// A masked frame (RFC 6455, section 5.2): first byte, whether it is masked, payload.
fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(mask_bit | u8::try_from(n).expect("small")),
        n @ 126..=65_535 => {
            bytes.push(mask_bit | 0x7e);
            bytes.extend_from_slice(&u16::try_from(n).expect("small").to_be_bytes());
        }
        n => {
            bytes.push(mask_bit | 0x7f);
            bytes.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// Frames, and the codes with which their connection may end.
fn illegal() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    const TEXT: u8 = 0x81;
    let huge_length = [&[TEXT, 0xff][..], &[0x7f; 8], &[0; 4]].concat();
    let nested = "[".repeat(20_000);
    vec![
        ("an unmasked frame", frame(TEXT, false, b"{}"), &[1002]),
        ("a reserved bit", frame(0xc1, true, b"{}"), &[1002]),
        ("a reserved opcode", frame(0x83, true, b"{}"), &[1002]),
        ("a reserved control opcode", frame(0x8b, true, b""), &[1002]),
        ("a long ping", frame(0x89, true, &[0; 126]), &[1002]),
        ("a fragmented ping", frame(0x09, true, b""), &[1002]),
        ("a continuation of nothing", frame(0x80, true, b"x"), &[1002]),
        (
            "a text inside a text",
            [frame(0x01, true, b"{"), frame(TEXT, true, b"}")].concat(),
            &[1002],
        ),
        ("text that is not UTF-8", frame(TEXT, true, &[0xff, 0xfe]), &[1007]),
        ("a length of 2^63", huge_length, &[1009, 1002]),
        ("70,000 bytes", frame(TEXT, true, &[b' '; 70_000]), &[1009]),
        ("a binary frame", frame(0x82, true, b"x"), &[1003]),
        ("text that is not JSON", frame(TEXT, true, b"{"), &[1003]),
        ("deep nesting", frame(TEXT, true, nested.as_bytes()), &[1003]),
    ]
}

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (state, who) in EVERYONE {
        for (what, bytes, codes) in illegal() {
            // Phones get an error for what is not JSON and stay.
            let is_answered = matches!(who, Who::Phone)
                && ["text that is not JSON", "deep nesting"].contains(&what);
            let before_auth = matches!(who, Who::Nobody);
            all.push(Scenario::new(format!("bad input: {what} {state}"), move |w| async move {
                let (mut raw, keep) = Raw::of(&w, who).await;
                raw.stream.write_all(&bytes).await.expect("written");
                if is_answered {
                    let told = raw.text().await;
                    assert!(told.contains("relay.error"), "{told}");
                    assert!(told.contains("invalid_payload"), "{told}");
                } else {
                    let code = raw.end().await;
                    // More than may come before auth is too much, whatever it is.
                    let too_much = before_auth && bytes.len() > 8_192 && code == 1009;
                    assert!(codes.contains(&code) || too_much, "closed with {code}");
                }
                drop(keep);
            }));
        }
    }
    all.push(Scenario::new("bad input: a million fragments of one byte", |w| async move {
        let (mut raw, _keep) = Raw::of(&w, Who::Desktop).await;
        let first = frame(0x01, true, b"\"");
        let more = frame(0x00, true, b"x").repeat(1_000);
        let flooding = async {
            let mut sent = raw.stream.write_all(&first).await;
            for _ in 0..1_000 {
                if sent.is_err() {
                    return;
                }
                sent = raw.stream.write_all(&more).await;
            }
        };
        tokio::time::timeout(3 * SOON, flooding).await.expect("it is read or cut off");
        // It was cut off long before: the rest of what was sent resets the connection.
        let code = raw.try_end().await;
        assert!(code.is_none_or(|code| code == 1009), "{code:?}");
        w.native().get("/healthz").await;
    }));
    all.push(Scenario::new("bad input: compression is not negotiated", |w| async move {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            host(&w.relay)
        );
        let answer = ask(&w.relay, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(!answer.to_lowercase().contains("sec-websocket-extensions"), "{answer}");
    }));
    all.push(Scenario::new("bad input: 2,000 headers", |w| async move {
        let headers: Vec<_> = (0..2_000).map(|n| format!("X-H-{n}: {n}\r\n")).collect();
        let headers = headers.concat();
        for path in ["POST /pair/start", "GET /ws"] {
            let request = format!("{path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", host(&w.relay));
            let answer = ask(&w.relay, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 431"), "{answer:.80}");
        }
        assert_eq!(w.native().get("/healthz").await.status, 200);
    }));
    all.push(Scenario::new("bad input: many unknown session ids keep nothing", |w| async move {
        let ids =
            std::env::var("COMPAT_UNKNOWN_IDS").map_or(5_000, |n| n.parse().expect("a number"));
        let w = w.with(&[("MAX_PAIR_REQUESTS_PER_MINUTE", "4000000000")]);
        let page = w.page();
        guess_ids(&page, 0..2_000).await;
        let before = resident(w.relay.pid());
        guess_ids(&page, 2_000..2_000 + ids).await;
        let after = resident(w.relay.pid());
        assert!(after < before + 24_000_000, "{before} bytes before, {after} after");
        assert_eq!(w.relay.number("sessionsLoaded").await, 0);
    }));
    all
}

async fn guess_ids(page: &belay_testkit::compat::Net, ids: std::ops::Range<usize>) {
    use futures_util::{StreamExt, stream};
    let calls = ids.map(|n| {
        let page = page.clone();
        async move {
            let body = json!({
                "sessionID": format!("unknown-{n}-0123456789abcdef"),
                "joinToken": "join-token-0123456789abcdef",
            });
            assert_eq!(page.post("/pair/join", &body).await.error(), "session_not_found");
        }
    });
    stream::iter(calls).buffer_unordered(32).for_each(|()| async {}).await;
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("kB") * 1_024
}

fn host(relay: &Relay) -> String {
    relay.url.trim_start_matches("http://").to_owned()
}

async fn ask(relay: &Relay, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(host(relay)).await.expect("connects");
    let _ = stream.write_all(request).await;
    let mut answer = vec![0; 4_096];
    let n = tokio::time::timeout(SOON, stream.read(&mut answer)).await.expect("answered");
    String::from_utf8_lossy(&answer[..n.unwrap_or(0)]).into_owned()
}

/// A websocket of bytes.
struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    /// A socket in its state, and what keeps that state.
    async fn of(w: &World, who: Who) -> (Self, Option<crate::world::Desk>) {
        let mut raw = Self::open(w).await;
        let (token, mut desk) = match who {
            Who::Nobody => return (raw, None),
            Who::Desktop => {
                let desktop = w.started().await;
                (desktop.token, None)
            }
            Who::Phone => {
                let (desk, phone) = w.paired().await;
                (phone.token, Some(desk))
            }
        };
        let auth = json!({ "type": "relay.auth", "token": token }).to_string();
        raw.stream.write_all(&frame(0x81, true, auth.as_bytes())).await.expect("written");
        let told = raw.text().await;
        assert!(told.contains("auth_ok"), "{told}");
        if let Some(desk) = &mut desk {
            desk.wire.until("relay.device_count").await;
        }
        (raw, desk)
    }

    async fn open(w: &World) -> Self {
        let mut stream = TcpStream::connect(host(&w.relay)).await.expect("connects");
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nOrigin: {PAGE}\r\nConnection: Upgrade\r\nUpgrade: \
             websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            host(&w.relay)
        );
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("upgraded"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Self { stream, read: Vec::new() }
    }

    /// Opcode and payload of the next frame; `None`: the connection ended.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let deadline = unix_ms() + 10_000;
        loop {
            if let Some((frame, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Some(frame);
            }
            assert!(unix_ms() < deadline, "nothing comes");
            let mut more = [0; 4_096];
            let reading = self.stream.read(&mut more);
            match tokio::time::timeout(Duration::from_secs(10), reading).await.expect("in time") {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.read.extend_from_slice(&more[..n]),
            }
        }
    }

    async fn text(&mut self) -> String {
        loop {
            let (opcode, payload) = self.frame().await.expect("a text");
            if opcode == 1 {
                return String::from_utf8(payload).expect("UTF-8");
            }
        }
    }

    /// The code of the close frame, after a text that tells the reason.
    async fn end(&mut self) -> u16 {
        let told = self.text().await;
        assert!(told.contains("\"disconnect\""), "{told}");
        self.try_end().await.expect("a close frame")
    }

    async fn try_end(&mut self) -> Option<u16> {
        loop {
            if let (8, payload) = self.frame().await? {
                return Some(u16::from_be_bytes([payload[0], payload[1]]));
            }
        }
    }
}

/// An unmasked frame at the start of these bytes, and its length.
fn parse(bytes: &[u8]) -> Option<((u8, Vec<u8>), usize)> {
    let (first, second) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    let (start, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        length => (2, length),
    };
    let payload = bytes.get(start..start + length)?;
    Some(((first & 0x0f, payload.to_vec()), start + length))
}

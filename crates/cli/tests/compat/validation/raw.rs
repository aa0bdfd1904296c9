//! 4.6, point 2, and text that `serde_json` would not write: what is no object, members that come
//! twice, deep nesting, huge numbers.

use belay_testkit::SOON;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::frame::Pair;
use crate::{scenario::Scenario, world::World};

pub(crate) fn all() -> Vec<Scenario> {
    let none = none().into_iter().map(|(what, text)| {
        Scenario::new(format!("4.6.2 invalid_payload: {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.send_text(text).await;
            pair.told("invalid_payload", None, None).await;
            pair.passes(&pair.good(1)).await;
        })
    });
    let refused = refused().into_iter().map(|(what, error, text, echo)| {
        Scenario::new(format!("4.6 {error}: {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            pair.send_text(text.replace("SESSION", &pair.desk.session())).await;
            let (id, seq) = echo;
            pair.told(error, id, seq).await;
            pair.passes(&pair.good(1)).await;
        })
    });
    let kept = kept().into_iter().map(|(what, text)| {
        Scenario::new(format!("4.6.11 passes as it came: {what}"), move |w| async move {
            let mut pair = Pair::of(&w).await;
            let mut ear = Ear::of(&w, &pair).await;
            let sent = text.replace("SESSION", &pair.desk.session());
            pair.send_text(sent.clone()).await;
            let got = ear.text().await;
            let kept = sent.strip_suffix('}').expect("an object");
            let expected = format!(r#"{kept},"relayConnectionID":""#);
            assert!(got.starts_with(&expected), "{got:.400}");
        })
    });
    none.chain(refused).chain(kept).collect()
}

fn none() -> Vec<(&'static str, String)> {
    let nested = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    vec![
        ("empty text", String::new()),
        ("a space", " ".to_owned()),
        ("no JSON", "hello".to_owned()),
        ("an object that does not end", "{".to_owned()),
        ("text after the object", r#"{"type":"relay.snapshot_request"}x"#.to_owned()),
        ("two objects", "{}{}".to_owned()),
        ("a comma too many", r#"{"a":1,}"#.to_owned()),
        ("single quotes", "{'a':1}".to_owned()),
        ("NaN", r#"{"seq":NaN}"#.to_owned()),
        ("a byte order mark", "\u{feff}{}".to_owned()),
        ("null", "null".to_owned()),
        ("a number", "7".to_owned()),
        ("text", r#""relay.snapshot_request""#.to_owned()),
        ("true", "true".to_owned()),
        ("an array", "[]".to_owned()),
        ("an array of a command", r#"[{"payload":{"type":"command"}}]"#.to_owned()),
        ("a member that comes twice", r#"{"type":"a","type":"b"}"#.to_owned()),
        ("a member that comes twice, escaped", r#"{"seq":1,"s\u0065q":2}"#.to_owned()),
        ("nested 1000 deep", nested(1_000)),
        ("nested 30000 deep", nested(30_000)),
        ("nested and not closed", "[".repeat(60_000)),
    ]
}

const ENVELOPE: &str = concat!(
    r#"{"schemaVersion":2,"sessionID":"SESSION","seq":NUMBER,"#,
    r#""payload":{"type":"command","payload":INNER}}"#,
);

fn command(seq: &str, more: &str) -> String {
    let inner = format!(r#"{{"name":"thread.select","commandID":"c-1","threadID":"t"{more}}}"#);
    ENVELOPE.replace("NUMBER", seq).replace("INNER", &inner)
}

const RESPOND: &str = concat!(
    r#"{"name":"runtime_request.respond","commandID":"c-1","runtimeRequestID":"7","#,
    r#""runtimeRequestResponse":{"text":"a","text":"b"}}"#,
);
const SNAPSHOT: &str = r#"{"type":"relay.snapshot_request","sessionID":"SESSION","lastSeq":1e400}"#;

type Echo = (Option<&'static str>, Option<u64>);

fn refused() -> Vec<(&'static str, &'static str, String, Echo)> {
    let (invalid, whole) = ("invalid_command", (Some("c-1"), Some(1)));
    let number = |what, seq| (what, invalid, command(seq, ""), (Some("c-1"), None));
    let many = "9".repeat(400);
    let version = |v: &str| command("1", "").replace(r#"Version":2"#, &format!(r#"Version":{v}"#));
    let twice = command("1", "").replace(r#"{"type""#, r#"{"type":"event","type""#);
    let respond = ENVELOPE.replace("NUMBER", "1").replace("INNER", RESPOND);
    vec![
        number("seq of 2^64", "18446744073709551616"),
        number("seq of 400 digits", &many),
        number("seq of 1e400", "1e400"),
        number("seq of 1e0", "1e0"),
        ("schemaVersion of 2.0", invalid, version("2.0"), whole),
        ("schemaVersion of 2e0", invalid, version("2e0"), whole),
        ("a command's member twice", invalid, command("1", r#","threadID":"u""#), (None, Some(1))),
        ("payload.type twice", invalid, twice, (None, Some(1))),
        ("a response's member twice", invalid, respond, whole),
        ("lastSeq of 1e400", "invalid_snapshot_request", SNAPSHOT.to_owned(), (None, None)),
    ]
}

fn kept() -> Vec<(&'static str, String)> {
    let nested = format!(r#","text":{}{}"#, "[".repeat(50), "]".repeat(50));
    let brackets = format!(r#","text":"{}""#, "[{".repeat(1_000));
    vec![
        ("numbers that no client holds", command("1", r#","text":123456789012345678901234567890"#)),
        ("1.50 and 1E2", command("1", r#","text":[1.50,1E2,-0.0]"#)),
        ("a nesting of 50", command("1", &nested)),
        ("2000 brackets in a text", command("1", &brackets)),
        ("spaces and escapes", command("1", r#","text":{ "\u0061" : "\/" }"#)),
        ("the largest seq", command("18446744073709551615", "")),
    ]
}

/// A desktop that shows text as it came.
pub(crate) struct Ear(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Ear {
    /// Takes the place of the pair's desktop.
    pub(crate) async fn of(w: &World, pair: &Pair) -> Self {
        let url = format!("{}/ws", w.relay.url.replacen("http", "ws", 1));
        let (socket, _) = connect_async(url).await.expect("upgraded");
        let mut ear = Self(socket);
        let auth = json!({ "type": "relay.auth", "token": pair.desk.desktop.token });
        ear.0.send(Message::text(auth.to_string())).await.expect("sent");
        let told = ear.text().await;
        assert!(told.contains(r#""auth_ok""#), "{told}");
        ear
    }

    pub(crate) async fn text(&mut self) -> String {
        let next = async {
            loop {
                match self.0.next().await.expect("open").expect("readable") {
                    Message::Text(text) => return text.to_string(),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("expected text, got {other:?}"),
                }
            }
        };
        tokio::time::timeout(SOON, next).await.expect("text comes in time")
    }
}

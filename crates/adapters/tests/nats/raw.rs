//! The broker as an operator sees it.

use belay_wire::SessionId;
use serde_json::{Value, json};

pub(crate) async fn client(url: &str) -> async_nats::Client {
    let servers: Vec<_> = url.trim_start_matches("nats://").split(',').collect();
    async_nats::connect(servers).await.expect("connects")
}

/// Calls the API of JetStream.
pub(crate) async fn call(url: &str, operation: &str, body: &str) -> Value {
    let client = client(url).await;
    let answer = client.request(format!("$JS.API.{operation}"), body.to_owned().into());
    serde_json::from_slice(&answer.await.expect("an answer").payload).expect("JSON")
}

/// The stream of a session.
pub(crate) async fn stream(url: &str, start: &str, session: SessionId) -> String {
    for shard in 0..2 {
        let subject = format!("{start}{shard}.*.*");
        let found = call(url, "STREAM.NAMES", &json!({ "subject": subject }).to_string()).await;
        let name = found["streams"][0].as_str().expect("a stream").to_owned();
        let filter = format!("{start}{shard}.{session}.>");
        let info = json!({ "subjects_filter": filter }).to_string();
        let info = call(url, &format!("STREAM.INFO.{name}"), &info).await;
        if info["state"]["subjects"].as_object().is_some_and(|subjects| !subjects.is_empty()) {
            return name;
        }
    }
    panic!("nothing of {session} is stored");
}

/// The server that leads a stream.
pub(crate) async fn leader(url: &str, stream: &str) -> String {
    let info = call(url, &format!("STREAM.INFO.{stream}"), "").await;
    info["cluster"]["leader"].as_str().expect("a leader").to_owned()
}

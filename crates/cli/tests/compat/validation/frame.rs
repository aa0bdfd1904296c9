//! A phone and its desktop: frames that the phone sends, and what both hear of them.

use belay_testkit::compat::{Heard, Wire};
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::world::{Desk, Paired, World};

pub(crate) struct Pair {
    pub(crate) desk: Desk,
    pub(crate) phone: Wire,
    pub(crate) paired: Paired,
}

impl Pair {
    pub(crate) async fn of(w: &World) -> Self {
        let (desk, phone, paired) = w.connected().await;
        Self { desk, phone, paired }
    }

    /// A command with nothing wrong.
    pub(crate) fn good(&self, seq: u64) -> Value {
        self.command(seq, &json!({ "name": "thread.select", "threadID": "t-1" }))
    }

    /// A command with these members; its `commandID` is made of the number if none is given.
    pub(crate) fn command(&self, seq: u64, inner: &Value) -> Value {
        let mut inner = inner.clone();
        let members = inner.as_object_mut().expect("an object");
        members.entry("commandID").or_insert_with(|| json!(format!("cmd-{seq}")));
        json!({
            "schemaVersion": 2, "sessionID": self.desk.session(), "seq": seq,
            "timestamp": "2026-02-25T10:00:00.000Z",
            "payload": { "type": "command", "payload": inner },
        })
    }

    pub(crate) fn snapshot(&self, more: &Value) -> Value {
        let mut frame =
            json!({ "type": "relay.snapshot_request", "sessionID": self.desk.session() });
        for (name, value) in more.as_object().into_iter().flatten() {
            frame[name] = value.clone();
        }
        frame
    }

    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        self.phone.send_message(Message::text(text.into())).await;
    }

    /// A frame that is the next thing the desktop hears, with nothing changed but the sender.
    pub(crate) async fn passes(&mut self, frame: &Value) {
        self.phone.send(frame).await;
        let mut got = self.arrived().await;
        got.remove("relayConnectionID");
        got.remove("relayDeviceID");
        let mut sent = frame.clone();
        for name in ["relayConnectionID", "relayDeviceID"] {
            sent.as_object_mut().expect("an object").remove(name);
        }
        assert_eq!(Value::Object(got), sent);
    }

    /// The next thing that the desktop hears, which this phone must have sent.
    pub(crate) async fn arrived(&mut self) -> Map<String, Value> {
        let Value::Object(got) = self.desk.wire.message().await else { panic!("no object") };
        assert_eq!(got.get("relayDeviceID"), Some(&json!(self.paired.device)), "{got:?}");
        assert_ne!(connection_of(&got), "", "{got:?}");
        got
    }

    /// A frame that is refused in the phone's next message: its text.
    pub(crate) async fn refused(&mut self, frame: &Value, error: &str) -> String {
        self.phone.send(frame).await;
        let id = frame["payload"]["payload"]["commandID"].as_str();
        self.told(error, id, frame["seq"].as_u64()).await
    }

    /// The phone's next message is this error, with these members and no other: its text.
    pub(crate) async fn told(&mut self, error: &str, id: Option<&str>, seq: Option<u64>) -> String {
        told(&mut self.phone, error, id, seq).await
    }

    /// A refused frame of which the desktop hears nothing: the next that it hears is a good command
    /// under the same number, or the first.
    pub(crate) async fn refused_then_passes(&mut self, frame: &Value, error: &str) -> String {
        let message = self.refused(frame, error).await;
        let number = frame["seq"].as_u64().filter(|n| *n > 0);
        self.passes(&self.good(number.unwrap_or(1))).await;
        message
    }

    /// The phone leaves and comes back.
    pub(crate) async fn reconnects(&mut self) {
        let next = self.desk.page.open().await;
        std::mem::replace(&mut self.phone, next).close().await;
        self.desk.wire.until("relay.device_count").await;
        let told = self.phone.auth(&self.paired.token).await;
        let token = told["nextDeviceSessionToken"].as_str().expect("a token");
        token.clone_into(&mut self.paired.token);
        self.desk.wire.until("relay.device_count").await;
    }

    /// The desktop leaves; the phone knows it.
    pub(crate) async fn desktop_leaves(&mut self) {
        let next = self.desk.net.open().await;
        std::mem::replace(&mut self.desk.wire, next).close().await;
        assert_eq!(self.phone.until("relay.desktop_status").await["desktopConnected"], false);
    }

    /// The desktop comes back; the phone knows it.
    pub(crate) async fn desktop_returns(&mut self) {
        self.desk.wire.auth(&self.desk.desktop.token).await;
        assert_eq!(self.phone.until("relay.desktop_status").await["desktopConnected"], true);
    }
}

pub(crate) fn connection_of(frame: &Map<String, Value>) -> &str {
    frame.get("relayConnectionID").and_then(Value::as_str).unwrap_or_default()
}

/// The next thing on a phone's socket is this error, with these members and no other: its text.
pub(crate) async fn told(
    phone: &mut Wire,
    error: &str,
    id: Option<&str>,
    seq: Option<u64>,
) -> String {
    let told = match phone.hear().await {
        Heard::Json(told) => told,
        other => panic!("{error} was to be told, got {other:?}"),
    };
    let message = told["message"].as_str().unwrap_or_default().to_owned();
    assert_ne!(message, "", "{told}");
    let mut expected = json!({ "type": "relay.error", "error": error, "message": message });
    if let Some(id) = id {
        expected["commandID"] = json!(id);
    }
    if let Some(seq) = seq {
        expected["seq"] = json!(seq);
    }
    assert_eq!(told, expected);
    message
}

/// Sets what is at a path such as `/payload/payload/name`, or takes it out.
pub(crate) fn spoil(frame: &mut Value, path: &str, value: Option<Value>) {
    let (parent, name) = path.rsplit_once('/').expect("a path");
    let parent = frame.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
}

/// A value as the name of a scenario shows it.
pub(crate) fn show(value: Option<&Value>) -> String {
    match value.map(Value::to_string) {
        None => "absent".to_owned(),
        Some(text) if text.len() > 40 => {
            format!("{}... of {}", text.chars().take(16).collect::<String>(), text.len())
        }
        Some(text) => text,
    }
}

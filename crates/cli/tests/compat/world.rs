//! What a scenario starts from.

use std::sync::Arc;

use belay_testkit::compat::{Answer, Desktop, Net, Party as _, Wire};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::relay::Relay;

/// A relay that scenarios share, and a session id of the scenario's own.
pub(crate) struct World {
    pub(crate) relay: Arc<Relay>,
    pub(crate) session: String,
}

impl World {
    pub(crate) fn shared() -> Arc<Relay> {
        Arc::new(Relay::start(&[]))
    }

    pub(crate) fn new(relay: &Arc<Relay>, at: usize) -> Self {
        Self { relay: relay.clone(), session: format!("session-{at}-0123456789abcdef") }
    }

    /// The same with a relay of its own, which has these settings.
    pub(crate) fn with(self, settings: &[(&str, &str)]) -> Self {
        Self { relay: Arc::new(Relay::start(settings)), ..self }
    }

    pub(crate) fn native(&self) -> Net {
        self.relay.native()
    }

    pub(crate) fn page(&self) -> Net {
        self.relay.page()
    }

    /// A desktop that has not called yet.
    pub(crate) fn desktop(&self) -> Desktop {
        Desktop::new(&self.session)
    }

    /// A session that is started, its desktop not connected.
    pub(crate) async fn started(&self) -> Desktop {
        let desktop = self.desktop();
        let answer = self.native().post("/pair/start", &desktop.start()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        desktop
    }

    /// A session whose desktop is connected.
    pub(crate) async fn open(&self) -> Desk {
        let desktop = self.started().await;
        let mut wire = self.native().open().await;
        wire.auth(&desktop.token).await;
        Desk { desktop, wire, net: self.native(), page: self.page() }
    }

    /// A desktop, and a phone that it let in but that is not connected yet.
    pub(crate) async fn paired(&self) -> (Desk, Paired) {
        let mut desk = self.open().await;
        let phone = desk.pair().await;
        (desk, phone)
    }

    /// A desktop and a phone, both connected; what is told of the phone was heard.
    pub(crate) async fn connected(&self) -> (Desk, Wire, Paired) {
        let (mut desk, mut phone) = self.paired().await;
        let wire = desk.connect(&mut phone).await;
        (desk, wire, phone)
    }
}

/// A phone that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Paired {
    pub(crate) device: String,
    pub(crate) token: String,
    pub(crate) joined: Value,
}

/// A desktop at its socket, driven step by step.
pub(crate) struct Desk {
    pub(crate) desktop: Desktop,
    pub(crate) wire: Wire,
    pub(crate) net: Net,
    pub(crate) page: Net,
}

impl Desk {
    /// A phone calls with the join token that counts now; the call waits for the desktop.
    pub(crate) fn joining(&self) -> JoinHandle<Answer> {
        let body = json!({
            "sessionID": self.desktop.session_id, "joinToken": self.desktop.join_token,
            "deviceName": "Ana's phone",
        });
        let page = self.page.clone();
        tokio::spawn(async move { page.post("/pair/join", &body).await })
    }

    /// The desktop's answer to the pair request that comes next.
    pub(crate) async fn decide(&mut self, approved: bool) -> Value {
        let request = self.wire.until("relay.pair_request").await;
        self.desktop.approves = Some(approved);
        for answer in self.desktop.hears(&request) {
            self.wire.send(&answer).await;
        }
        let result = self.wire.until("relay.pair_result").await;
        assert_eq!(result["requestID"], request["requestID"]);
        request
    }

    /// Lets a phone in; every phone after the first needs a new join token.
    pub(crate) async fn pair(&mut self) -> Paired {
        let joining = self.joining();
        self.decide(true).await;
        let answer = joining.await.expect("ran");
        assert_eq!(answer.status, 200, "{}", answer.text);
        let text = |name: &str| answer.body[name].as_str().expect("text").to_owned();
        Paired { device: text("deviceID"), token: text("deviceSessionToken"), joined: answer.body }
    }

    pub(crate) async fn refresh(&mut self) -> Answer {
        let body = self.desktop.refresh();
        self.net.post("/pair/refresh", &body).await
    }

    /// A phone connects and keeps its next token; the desktop hears how many there are.
    pub(crate) async fn connect(&mut self, phone: &mut Paired) -> Wire {
        let mut wire = self.page.open().await;
        let told = wire.auth(&phone.token).await;
        told["nextDeviceSessionToken"].as_str().expect("a token").clone_into(&mut phone.token);
        self.wire.until("relay.device_count").await;
        wire
    }

    pub(crate) fn session(&self) -> String {
        self.desktop.session_id.clone()
    }
}

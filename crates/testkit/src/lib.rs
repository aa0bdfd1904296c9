//! What tests are made of: a relay on free ports, a desktop that answers pairings, phones, and waits
//! with deadlines. Everything ends with the test, also when it panics: relays run in its runtime.
//!
//! Browsers, terminals and agents are started by `web/e2e/lib.mjs` and `web/e2e/desk.mjs`, which the
//! journeys use; the model that agents talk to is `mock-model.py` beside this crate.

pub mod cluster;
pub mod compat;

use std::{sync::Arc, time::Duration};

use belay_client::{
    Api, Client, Credentials, Event, Identity, MemoryCredentials, Options, PairingLink, Phone,
};
use belay_relay::{Config, Server, serve};
use belay_wire::{
    Bytes32, CloseCode, Frame, PairDecision, PairNonce, PairRequested, RendezvousId,
    pair::{HostInfo, PairOutcome, SessionCreated},
    proof::{Comparison, decision_transcript, key_hash},
};
use tokio::sync::mpsc;

use self::cluster::Cluster;

/// How long anything may take before a test fails.
pub const SOON: Duration = Duration::from_secs(30);

/// A relay in memory, on free ports, without a pairing limit that a test would meet.
pub fn config() -> Config {
    Config {
        port: 0,
        admin_listen: "127.0.0.1:0".parse().expect("an address"),
        store: "memory:".to_owned(),
        pair_per_minute: 10_000,
        pair_waiters_max: 256,
        ..Config::default()
    }
}

/// The same on disk, for relays that are restarted: on the same folder and port; 0: one that nobody takes
/// meanwhile.
pub fn disk_config(folder: &std::path::Path, port: u16) -> Config {
    let port = if port == 0 { belay_servers::free_port().expect("a port") } else { port };
    Config { port, store: "disk:".to_owned(), data_dir: folder.to_owned(), ..config() }
}

/// A relay that stops when the test ends; with `BELAY_TEST_NODES=3` so many of them, which share what they
/// have and of which each connection and call gets one at random.
#[derive(Debug)]
pub struct Relay {
    server: Option<Server>,
    nodes: Option<Box<Cluster>>,
    /// Its public address.
    pub url: String,
}

/// How many nodes a relay in memory is.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment")]
fn nodes() -> usize {
    let nodes = std::env::var("BELAY_TEST_NODES");
    nodes.map_or(1, |nodes| nodes.parse().expect("BELAY_TEST_NODES is a number"))
}

impl Relay {
    /// Starts a relay in this process.
    pub async fn start(config: Config) -> Self {
        let count = nodes();
        if count == 1 || config.store != "memory:" {
            return Self::start_alone(config).await;
        }
        let cluster = Box::pin(Cluster::start_of(count, config)).await;
        Self { server: None, url: cluster.balancer.url(), nodes: Some(Box::new(cluster)) }
    }

    /// The same for a test that is about one process.
    pub async fn start_alone(config: Config) -> Self {
        belay_client::install_crypto();
        let server = serve(config).await.expect("the relay starts");
        let url = format!("http://{}", server.public);
        Self { server: Some(server), nodes: None, url }
    }

    /// A relay that runs as a process of its own.
    pub fn at(url: &str) -> Self {
        belay_client::install_crypto();
        Self { server: None, nodes: None, url: url.to_owned() }
    }

    fn server(&self) -> &Server {
        let nodes = self.nodes.as_ref().and_then(|nodes| nodes.relays.first()?.server.as_ref());
        nodes.or(self.server.as_ref()).expect("a relay of this process")
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.nodes.as_ref().map_or_else(|| self.server().public, |nodes| nodes.balancer.address)
    }

    /// Of one node, as all of these.
    pub fn admin(&self) -> std::net::SocketAddr {
        self.server().admin
    }

    pub fn admin_token(&self) -> &str {
        self.server().admin_token()
    }

    pub fn port(&self) -> u16 {
        self.server().public.port()
    }

    pub async fn stop(self) {
        if let Some(server) = self.server {
            server.stop().await;
        }
    }

    pub fn api(&self) -> Api {
        Api::new(&self.url).expect("an address")
    }

    /// `/metricsz`, of all nodes together.
    pub async fn numbers(&self) -> serde_json::Value {
        let own = || vec![self.url.clone()];
        let urls = self.nodes.as_ref().map_or_else(own, |nodes| nodes.urls());
        let mut sum = serde_json::Value::Null;
        for url in urls {
            let text = reqwest::get(format!("{url}/metricsz")).await.expect("answers");
            let text = text.text().await.expect("a body");
            add(&mut sum, serde_json::from_str(&text).expect("JSON"));
        }
        sum
    }

    /// Waits until a number of `/metricsz` has this value.
    pub async fn until_number(&self, name: &str, value: i64) {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            let found = self.numbers().await[name].as_i64();
            if found == Some(value) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{name} is {found:?}, not {value}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Adds numbers of the same name.
fn add(sum: &mut serde_json::Value, more: serde_json::Value) {
    match (sum, more) {
        (serde_json::Value::Object(sum), serde_json::Value::Object(more)) => {
            for (name, value) in more {
                add(sum.entry(name).or_insert(serde_json::Value::Null), value);
            }
        }
        (serde_json::Value::Number(sum), serde_json::Value::Number(more)) => {
            *sum = (sum.as_i64().unwrap_or(0) + more.as_i64().unwrap_or(0)).into();
        }
        (sum, more) => *sum = more,
    }
}

/// A desktop: its client, its events, and what it needs to pair.
#[derive(Debug)]
pub struct Desk {
    pub client: Client,
    pub events: mpsc::Receiver<Event>,
    pub identity: Identity,
    pub session: SessionCreated,
    pub rendezvous: RendezvousId,
    pub credentials: Arc<MemoryCredentials>,
    nonces: std::collections::BTreeMap<belay_wire::RequestId, Bytes32>,
}

impl Desk {
    pub async fn start(relay: &Relay) -> Self {
        let identity = Identity::generate();
        let host = HostInfo {
            name: "desk".to_owned(),
            platform: "linux".to_owned(),
            public_key: identity.public(),
        };
        let session = relay.api().create_session(host).await.expect("a session");
        let credentials = Arc::new(MemoryCredentials::new(Credentials {
            relay: relay.url.clone(),
            session: session.session,
            member: None,
            token: session.host_token.clone(),
        }));
        let (client, events) = start_client(&identity, credentials.clone());
        let rendezvous = session.rendezvous;
        let nonces = std::collections::BTreeMap::new();
        let mut desk = Self { client, events, identity, session, rendezvous, credentials, nonces };
        desk.until(|e| matches!(e, Event::Connected(_))).await;
        desk
    }

    pub fn link(&self, relay: &Relay) -> PairingLink {
        PairingLink::new(&relay.url, self.rendezvous, key_hash(&self.identity.public()))
    }

    /// Events until one fits; pair commitments met on the way are answered.
    pub async fn until(&mut self, fits: impl Fn(&Event) -> bool) -> Event {
        let waiting = async {
            loop {
                let event = self.events.recv().await.expect("the client runs");
                self.answer_commitment(&event);
                if fits(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(SOON, waiting).await.expect("the event comes in time")
    }

    fn answer_commitment(&mut self, event: &Event) {
        if let Event::Frame(frame) = event
            && let Frame::PairCommitted(commit) = &**frame
        {
            let nonce = Bytes32([7; 32]);
            self.nonces.insert(commit.id, nonce);
            let nonce = PairNonce { id: commit.id, nonce, rendezvous: self.rendezvous };
            self.client.control(nonce).expect("connected");
        }
    }

    /// Waits for a pair request, decides, and gives the code that the person would compare.
    pub async fn decide(&mut self, approved: bool, secret: &[u8]) -> String {
        let request = self.request().await;
        self.answer(&request, approved, secret)
    }

    /// Waits for a pair request.
    pub async fn request(&mut self) -> PairRequested {
        let is_request =
            |e: &Event| matches!(e, Event::Frame(f) if matches!(**f, Frame::PairRequested(_)));
        let Event::Frame(frame) = self.until(is_request).await else { unreachable!() };
        let Frame::PairRequested(request) = *frame else { unreachable!() };
        request
    }

    /// Decides, and gives the code that the person would compare.
    pub fn answer(&self, request: &PairRequested, approved: bool, secret: &[u8]) -> String {
        let key = key_hash(&request.key);
        let transcript = decision_transcript(request.id, approved, &key, request.expires_at);
        let code = Comparison {
            host: &self.identity.public(),
            phone: &request.key,
            rendezvous: self.rendezvous,
            host_nonce: &self.nonces[&request.id],
            opening: &request.opening,
            secret,
        }
        .code();
        let decision = PairDecision {
            id: request.id,
            approved,
            key,
            expires_at: request.expires_at,
            signature: self.identity.sign(&transcript),
        };
        self.client.control(decision).expect("connected");
        code
    }

    pub async fn until_ended(&mut self) -> PairOutcome {
        let is_end = |e: &Event| matches!(e, Event::Frame(f) if matches!(**f, Frame::PairEnded(_)));
        let Event::Frame(frame) = self.until(is_end).await else { unreachable!() };
        let Frame::PairEnded(ended) = *frame else { unreachable!() };
        ended.outcome
    }

    /// Pairs a new phone and gives its running client.
    pub async fn pair(&mut self, relay: &Relay) -> Member {
        let (api, link) = (relay.api(), self.link(relay));
        let phone = Phone::new("Ana's phone", "Android");
        let (url, secret) = (relay.url.clone(), link.secret.clone());
        let joining = tokio::spawn(async move {
            let waiting = phone.start(&api, &link).await.expect("redeemed");
            let credentials = phone.finish(&api, &url, &waiting).await.expect("paired");
            (phone, credentials, waiting.code)
        });
        let code = self.decide(true, secret.expose().as_bytes()).await;
        let (phone, credentials, phone_code) = joining.await.expect("joined");
        assert_eq!(code, phone_code, "both screens show the same code");
        let code = relay
            .api()
            .new_code(self.session.session, &self.token(), &self.identity, unix_ms())
            .await
            .expect("a new code for the next phone");
        self.rendezvous = code.rendezvous;
        Member::start(phone.identity, credentials).await
    }

    pub fn token(&self) -> belay_wire::Secret {
        use belay_client::CredentialStore;
        self.credentials.load().expect("readable").expect("present").token
    }
}

/// A paired phone.
#[derive(Debug)]
pub struct Member {
    pub client: Client,
    pub events: mpsc::Receiver<Event>,
    pub id: belay_wire::MemberId,
    pub identity: Identity,
    pub credentials: Arc<MemoryCredentials>,
}

impl Member {
    pub async fn start(identity: Identity, credentials: Credentials) -> Self {
        let id = credentials.member.expect("a member");
        let credentials = Arc::new(MemoryCredentials::new(credentials));
        let (client, events) = start_client(&identity, credentials.clone());
        let mut member = Self { client, events, id, identity, credentials };
        member.until(|e| matches!(e, Event::Connected(_))).await;
        member
    }

    pub async fn until(&mut self, fits: impl Fn(&Event) -> bool) -> Event {
        until(&mut self.events, fits).await
    }

    pub async fn until_stopped(&mut self) -> CloseCode {
        let Event::Stopped { code, .. } = self.until(|e| matches!(e, Event::Stopped { .. })).await
        else {
            unreachable!()
        };
        CloseCode::ALL.iter().copied().find(|c| c.code() == code).expect("a known code")
    }
}

/// A client on its way to the relay that its credentials name.
pub fn start_client(
    identity: &Identity,
    credentials: Arc<MemoryCredentials>,
) -> (Client, mpsc::Receiver<Event>) {
    Client::start(Options {
        credentials,
        identity: identity.clone(),
        name: "test".to_owned(),
        version: "0".to_owned(),
    })
}

/// Events until one fits.
pub async fn until(events: &mut mpsc::Receiver<Event>, fits: impl Fn(&Event) -> bool) -> Event {
    let waiting = async {
        loop {
            let event = events.recv().await.expect("the client runs");
            if fits(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("the event comes in time")
}

/// Milliseconds since 1970 UTC.
pub fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.expect("after 1970").as_millis()).expect("fits")
}

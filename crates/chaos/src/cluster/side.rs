//! A session in which devices are paired and revoked while faults are on. Host and devices run here, not as
//! processes, and come in through the balancer.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use belay_client::{
    Api, Client, CredentialStore, Credentials, Event, Identity, MemoryCredentials, Options,
    PairingLink, Phone,
};
use belay_wire::{
    Bytes32, Channel, Frame, MemberId, PairDecision, PairNonce, PairRequested, RawJson,
    RendezvousId, SessionId,
    pair::HostInfo,
    proof::{decision_transcript, key_hash},
};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::Expected;
use crate::lists::{List, unix_ms};

/// How long one try to pair may take, and all of them: a fault may be on.
const TRY: Duration = Duration::from_secs(15);
const TRIES: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(250);
/// The host of such a session says something so often.
const EVERY: Duration = Duration::from_millis(200);
/// A device that was sent away tries again after this, at first and later on: many that are revoked must not
/// take the machine for themselves.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Tries until it is later on.
const FIRST_TRIES: u32 = 40;
/// From so long after the answer on, a revoked device must not get in or get anything.
pub(super) const EFFECTIVE_MS: u64 = 1_000;

/// A session and its devices.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) session: SessionId,
    pub(super) devices: Vec<Device>,
    url: String,
    identity: Identity,
    credentials: Arc<MemoryCredentials>,
    rendezvous: Arc<Mutex<RendezvousId>>,
    folder: PathBuf,
    host: JoinHandle<()>,
}

/// A device that tries again whatever it is told.
#[derive(Debug)]
pub struct Device {
    pub(super) id: MemberId,
    /// When it got in or got something, Unix milliseconds.
    got: Arc<Mutex<Vec<u64>>>,
    /// When its revocation was answered, Unix milliseconds.
    pub revoked_ms: Option<u64>,
    task: JoinHandle<()>,
}

impl Side {
    /// Makes a session by any relay, and connects its host; what devices get is written down in `folder`.
    ///
    /// # Errors
    /// When no relay makes one in time.
    pub(super) async fn start(url: &str, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let identity = Identity::generate();
        let deadline = Instant::now() + TRIES;
        let session = loop {
            let host = HostInfo {
                name: "side".to_owned(),
                platform: "linux".to_owned(),
                public_key: identity.public(),
            };
            match Api::new(url)?.create_session(host).await {
                Ok(session) => break session,
                Err(error) if Instant::now() > deadline => bail!("no session was made: {error}"),
                Err(_) => sleep(PAUSE).await,
            }
        };
        let credentials = Arc::new(MemoryCredentials::new(Credentials {
            relay: url.to_owned(),
            session: session.session,
            member: None,
            token: session.host_token,
        }));
        let rendezvous = Arc::new(Mutex::new(session.rendezvous));
        let (client, events) = client(&identity, credentials.clone());
        let host = Host { client, identity: identity.clone(), rendezvous: rendezvous.clone() };
        Ok(Self {
            session: session.session,
            devices: Vec::new(),
            url: url.to_owned(),
            identity,
            credentials,
            rendezvous,
            folder: folder.to_owned(),
            host: tokio::spawn(host.run(events)),
        })
    }

    /// Pairs a device, each call to any relay; tries again while a fault is on.
    ///
    /// # Errors
    /// When it is not paired in time, with the last cause.
    pub(super) async fn pair(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + TRIES;
        let mut tries = 0;
        loop {
            tries += 1;
            let cause = match timeout(TRY, self.pair_once()).await {
                Ok(Ok((identity, credentials))) => return self.add(&identity, credentials),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => format!("no answer within {TRY:?}"),
            };
            if Instant::now() > deadline {
                bail!("not paired after {tries} tries: {cause}");
            }
            sleep(PAUSE).await;
        }
    }

    async fn pair_once(&self) -> anyhow::Result<(Identity, Credentials)> {
        let token = self.credentials.load()?.context("credentials")?.token;
        // Connections are not shared between calls, so each may go to another relay.
        let api = || Api::new(&self.url);
        let made = api()?.new_code(self.session, &token, &self.identity, unix_ms()).await?;
        *self.rendezvous.lock() = made.rendezvous;
        let host = key_hash(&self.identity.public());
        let link = PairingLink::new(&self.url, made.rendezvous, host);
        let phone = Phone::new("a phone", "Android");
        let waiting = phone.start(&api()?, &link).await?;
        let credentials = phone.finish(&api()?, &self.url, &waiting).await?;
        Ok((phone.identity, credentials))
    }

    fn add(&mut self, identity: &Identity, credentials: Credentials) -> anyhow::Result<()> {
        let id = credentials.member.context("a member")?;
        let list = List::open(&self.folder.join(format!("device-{id}")))?;
        let got = Arc::<Mutex<Vec<u64>>>::default();
        let credentials = Arc::new(MemoryCredentials::new(credentials));
        let task = tokio::spawn(keep_trying(identity.clone(), credentials, got.clone(), list));
        self.devices.push(Device { id, got, revoked_ms: None, task });
        Ok(())
    }

    pub(super) fn expected(&self) -> Expected {
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.devices.iter().partition(|device| device.revoked_ms.is_none());
        let ids = |some: Vec<&Device>| some.into_iter().map(|device| device.id).collect();
        let (devices, without) = (ids(kept), ids(gone));
        Expected { session: self.session, devices, without, settled: true, exact: false }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.host.abort();
        self.devices.iter().for_each(|device| device.task.abort());
    }
}

impl Device {
    /// When it got something last, Unix milliseconds.
    pub(super) fn got_last(&self) -> u64 {
        let got = self.got.lock();
        got.last().copied().unwrap_or(0)
    }

    /// In words, if it got in or got something later than it may.
    pub(super) fn came_back(&self) -> Option<String> {
        let revoked = self.revoked_ms?;
        let got = self.got.lock();
        let late: Vec<_> = got.iter().filter(|ms| **ms > revoked + EFFECTIVE_MS).collect();
        let (first, last) = (late.first()?, late.last()?);
        Some(format!(
            "{} was revoked at {revoked} and got {} things later than it may, {} to {} ms after that",
            self.id,
            late.len(),
            *first - revoked,
            *last - revoked
        ))
    }
}

fn client(
    identity: &Identity,
    credentials: Arc<MemoryCredentials>,
) -> (Client, mpsc::Receiver<Event>) {
    Client::start(Options {
        credentials,
        identity: identity.clone(),
        name: "chaos".to_owned(),
        version: "0".to_owned(),
    })
}

/// Connects, and connects again whenever it is told to stop.
async fn keep_trying(
    identity: Identity,
    credentials: Arc<MemoryCredentials>,
    got: Arc<Mutex<Vec<u64>>>,
    mut list: List,
) {
    let mut stops = 0;
    loop {
        let (client, mut events) = client(&identity, credentials.clone());
        while let Some(event) = events.recv().await {
            let ms = unix_ms();
            let line = match event {
                Event::Connected(_) => format!("up {ms}"),
                Event::Message(message) => {
                    client.applied(message.channel, message.position);
                    format!("msg {ms} {}", message.position.seq.value())
                }
                Event::Disconnected { reason, .. } => {
                    let _ = list.add(&format!("down {ms} {reason}"));
                    continue;
                }
                Event::Stopped { code, reason } => {
                    let _ = list.add(&format!("stopped {ms} {code} {reason}"));
                    stops += 1;
                    break;
                }
                Event::Frame(frame) => {
                    client.applied_frame(&frame);
                    continue;
                }
                Event::GivenUp { .. } | Event::Volatile { .. } => continue,
            };
            let _ = list.add(&line);
            got.lock().push(ms);
        }
        sleep(if stops < FIRST_TRIES { AGAIN.0 } else { AGAIN.1 }).await;
    }
}

/// The desktop of a side session: approves everybody, and says something now and then.
struct Host {
    client: Client,
    identity: Identity,
    rendezvous: Arc<Mutex<RendezvousId>>,
}

impl Host {
    async fn run(self, mut events: mpsc::Receiver<Event>) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.note(&event),
                    None => return,
                },
                _ = ticks.tick() => {
                    // It may be full while a fault is on.
                    let payload = RawJson::of(&unix_ms());
                    let _ = payload.map(|payload| self.client.send(Channel::Down, payload, None));
                }
            }
        }
    }

    fn note(&self, event: &Event) {
        if let Event::Message(message) = event {
            self.client.applied(message.channel, message.position);
        }
        let Event::Frame(frame) = event else { return };
        self.client.applied_frame(frame);
        // A phone whose pairing fails tries again.
        if let Frame::PairCommitted(commit) = &**frame {
            let rendezvous = *self.rendezvous.lock();
            let nonce = PairNonce { id: commit.id, nonce: Bytes32([7; 32]), rendezvous };
            let _ = self.client.control(nonce);
        } else if let Frame::PairRequested(request) = &**frame {
            let _ = self.client.control(self.approval(request));
        }
    }

    fn approval(&self, request: &PairRequested) -> PairDecision {
        let (id, key, expires_at) = (request.id, key_hash(&request.key), request.expires_at);
        let transcript = decision_transcript(id, true, &key, expires_at);
        let signature = self.identity.sign(&transcript);
        PairDecision { id, approved: true, key, expires_at, signature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_gets_something_later_than_a_second_after_its_revocation_came_back() {
        let device = |got: &[u64]| Device {
            id: MemberId::from_bytes([1; 16]),
            got: Arc::new(Mutex::new(got.to_vec())),
            revoked_ms: Some(10_000),
            task: tokio::spawn(async {}),
        };

        assert_eq!(device(&[9_000, 11_000]).came_back(), None);
        let told = device(&[9_000, 11_001, 13_000]).came_back().expect("it came back");
        assert!(told.contains("got 2 things later than it may, 1001 to 3000 ms"), "{told}");
    }
}

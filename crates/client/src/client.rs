//! The task that owns a connection, and the handle to it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of an open set is none of this place's business"
)]

use std::{sync::Arc, time::Duration};

use belay_wire::{
    Channel, ClientInfo, DeviceView, Epoch, Frame, From, Pong, Position, RawJson, TokenConfirm,
    Verdict, Vol, Welcome,
};
use futures_util::{FutureExt, SinkExt};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_tungstenite::tungstenite::{
    Message as WsMessage,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Backoff, CredentialStore, Credentials, Identity,
    identity::random,
    ledger::{Heard, Ledger},
    outbox::OutboxFile,
    socket::{Attempt, Connector, Failed, Socket, Tcp, describe, receive},
    writer::{Full, GivenUp},
};

/// Events that may wait for the application; when it is slow, reading the socket waits.
const EVENTS_LEN: usize = 1_024;
/// Control frames that may wait while there is no connection.
const CONTROL_LEN: usize = 256;
/// Silence after which a connection counts as dead: the relay pings at most every 25 s.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// How to connect.
#[derive(Debug)]
pub struct Options {
    /// Where relay, session and token are kept.
    pub credentials: Arc<dyn CredentialStore>,
    /// The registered key.
    pub identity: Identity,
    /// Name and version of the program.
    pub name: String,
    pub version: String,
}

/// What a client remembers of its former processes.
#[derive(Debug, Default)]
pub struct Memory {
    /// Where its outbox is kept; without it the outbox ends with the process.
    pub outbox: Option<OutboxFile>,
    /// What it has applied, oldest first; at least the last of each epoch.
    pub applied: Vec<(Channel, Position)>,
}

/// A durable message.
#[derive(Debug, Clone)]
pub struct Message {
    pub channel: Channel,
    pub position: Position,
    pub from: Option<From>,
    /// Relay time, Unix milliseconds.
    pub at: Option<u64>,
    pub payload: RawJson,
}

/// What a client learns.
#[derive(Debug, Clone)]
pub enum Event {
    /// Welcome.
    Connected(Box<Welcome>),
    /// The connection ended; the next attempt follows after `retry_in`.
    Disconnected { reason: String, retry_in: Duration },
    /// The relay said stop; nothing follows.
    Stopped { code: u16, reason: String },
    /// A durable message, exactly once and in order.
    Message(Message),
    /// Messages that will not be sent any more: refused, or unknown whether they were stored.
    GivenUp { channel: Channel, messages: Vec<GivenUp> },
    /// A volatile message.
    Volatile { channel: Channel, payload: RawJson },
    /// Everything else that the relay says: pairing, devices, presence, gaps, notices.
    Frame(Box<Frame>),
}

/// Why something was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The outbox is full.
    #[error(transparent)]
    Full(#[from] Full),
    /// The relay would not take it; nothing was sent.
    #[error("the message has {bytes} bytes, and the relay takes {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// The outbox cannot be written; nothing was taken.
    #[error("the outbox cannot be written: {0}")]
    NotKept(std::io::ErrorKind),
    /// There is no connection, and this cannot wait.
    #[error("there is no connection")]
    Offline,
}

#[derive(Debug)]
struct Shared {
    outbox: parking_lot::Mutex<Outbox>,
    wake: Notify,
}

#[derive(Debug)]
struct Outbox {
    ledger: Ledger,
    file: Option<OutboxFile>,
    volatile: Vec<(Channel, String, RawJson)>,
    control: Vec<Frame>,
    online: bool,
    probe: bool,
    /// Largest payload that the relay takes.
    message_bytes: usize,
}

impl Outbox {
    fn new(memory: Memory) -> Self {
        let Memory { outbox: mut file, applied } = memory;
        let writers = file.as_mut().map(OutboxFile::take_writers).unwrap_or_default();
        Self {
            ledger: Ledger::restored(writers, &applied),
            file,
            volatile: Vec::new(),
            control: Vec::new(),
            online: false,
            probe: false,
            message_bytes: belay_wire::HOST_MESSAGE_BYTES_MAX,
        }
    }

    /// Writes down what changed.
    fn record(&mut self) -> std::io::Result<()> {
        let Self { file: Some(file), ledger, .. } = self else { return Ok(()) };
        file.record(ledger)
    }
}

/// A handle to a running client; the client stops when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _guard: Arc<DropGuard>,
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn new_epoch() -> Epoch {
    Epoch(u64::from_le_bytes(random()))
}

impl Client {
    /// Starts a client without memory and gives its events.
    pub fn start(options: Options) -> (Self, mpsc::Receiver<Event>) {
        Self::resume(options, Memory::default())
    }

    /// Starts a client that goes on where a former process ended.
    pub fn resume(options: Options, memory: Memory) -> (Self, mpsc::Receiver<Event>) {
        Self::resume_over(options, memory, Arc::new(Tcp))
    }

    /// The same over a network of the caller's.
    pub fn resume_over(
        options: Options,
        memory: Memory,
        connector: Arc<dyn Connector>,
    ) -> (Self, mpsc::Receiver<Event>) {
        let outbox = parking_lot::Mutex::new(Outbox::new(memory));
        let shared = Arc::new(Shared { outbox, wake: Notify::new() });
        let (events, receiver) = mpsc::channel(EVENTS_LEN);
        let stop = CancellationToken::new();
        let task = Task {
            options: Arc::new(options),
            connector,
            shared: shared.clone(),
            events,
            instance: new_epoch().to_string(),
            attempt: 0,
            backoff: Backoff::default(),
        };
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = task.run() => {}
                () = stopped.cancelled() => {}
            }
        });
        (Self { shared, _guard: Arc::new(stop.drop_guard()) }, receiver)
    }

    /// Takes a durable message; it is sent now or after the next welcome. With an outbox on disk it outlives
    /// this process.
    ///
    /// # Errors
    /// [`ClientError::Full`], [`ClientError::TooLarge`], [`ClientError::NotKept`].
    pub fn send(
        &self,
        channel: Channel,
        payload: RawJson,
        key: Option<String>,
    ) -> Result<Position, ClientError> {
        let mut outbox = self.shared.outbox.lock();
        let (bytes, limit) = (payload.text().len(), outbox.message_bytes);
        if bytes > limit {
            return Err(ClientError::TooLarge { bytes, limit });
        }
        let position = outbox.ledger.push(channel, payload, key, new_epoch())?;
        if let Err(error) = outbox.record() {
            outbox.ledger.take_back(channel);
            return Err(ClientError::NotKept(error.kind()));
        }
        self.shared.wake.notify_one();
        Ok(position)
    }

    /// Sends a volatile message if there is a connection; the newest of a key wins.
    pub fn send_volatile(&self, channel: Channel, key: String, payload: RawJson) {
        let mut outbox = self.shared.outbox.lock();
        if outbox.online {
            outbox.volatile.retain(|(c, k, _)| !(*c == channel && *k == key));
            outbox.volatile.push((channel, key, payload));
            self.shared.wake.notify_one();
        }
    }

    /// Sends a control frame.
    ///
    /// # Errors
    /// [`ClientError::Offline`] when there is no connection or too many wait.
    pub fn control(&self, frame: impl Into<Frame>) -> Result<(), ClientError> {
        let mut outbox = self.shared.outbox.lock();
        if !outbox.online || outbox.control.len() >= CONTROL_LEN {
            return Err(ClientError::Offline);
        }
        outbox.control.push(frame.into());
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Everything up to here is applied.
    pub fn applied(&self, channel: Channel, position: Position) {
        self.shared.outbox.lock().ledger.applied(channel, position, now());
        self.shared.wake.notify_one();
    }

    /// Everything up to this `void`, `skip`, `gap` or `epoch` is applied: told like messages, they
    /// count in the relay's window like messages. Other frames have no place.
    pub fn applied_frame(&self, frame: &Frame) {
        if let Some((channel, position)) = note(frame) {
            self.applied(channel, position);
        }
    }

    /// Position that the relay has stored of a channel that this client writes.
    pub fn stored(&self, channel: Channel) -> Option<Position> {
        self.shared.outbox.lock().ledger.stored(channel)
    }

    /// Bytes of the messages of a channel that the outbox holds: of a channel with one reader, those that it
    /// has not acknowledged.
    pub fn unsettled_bytes(&self, channel: Channel) -> usize {
        self.shared.outbox.lock().ledger.unsettled_bytes(channel)
    }

    /// Position of the last message given to `send`.
    pub fn head(&self, channel: Channel) -> Option<Position> {
        self.shared.outbox.lock().ledger.head(channel)
    }

    /// What the outbox of a channel holds, oldest first: all that is not known to be stored, and some that is.
    pub fn held(&self, channel: Channel) -> Vec<RawJson> {
        self.shared.outbox.lock().ledger.held(channel)
    }

    /// The place of a `void`, `skip`, `gap` or `epoch`; other frames have none.
    pub fn place_of(frame: &Frame) -> Option<(Channel, Position)> {
        note(frame)
    }

    /// Forgets a channel whose member is gone.
    pub fn forget(&self, channel: Channel) {
        self.shared.outbox.lock().ledger.forget(channel);
    }

    /// Tells whether there is a connection.
    pub fn is_online(&self) -> bool {
        self.shared.outbox.lock().online
    }

    /// Drops the connection and connects again at once: for tests and network changes.
    pub fn reconnect(&self) {
        self.shared.outbox.lock().probe = true;
        self.shared.wake.notify_one();
    }
}

struct Task {
    options: Arc<Options>,
    connector: Arc<dyn Connector>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    instance: String,
    attempt: u64,
    backoff: Backoff,
}

impl Task {
    async fn run(mut self) {
        loop {
            let failed = match self.connect().await {
                Ok((socket, welcome, credentials)) => {
                    self.backoff.reset();
                    self.serve(socket, welcome, credentials).await
                }
                Err(failed) => failed,
            };
            self.shared.outbox.lock().online = false;
            let pause = self.backoff.next(u64::from_le_bytes(random()));
            let (reason, pause) = match failed {
                Failed::Network(reason) => (reason, pause),
                Failed::Closed { code, reason, retry_in } => match Verdict::of(Some(code)) {
                    Verdict::Stop => {
                        let _ = self.events.send(Event::Stopped { code, reason }).await;
                        return;
                    }
                    Verdict::Reconnect | Verdict::Backoff => (reason, retry_in.unwrap_or(pause)),
                },
            };
            let event = Event::Disconnected { reason, retry_in: pause };
            if self.events.send(event).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn connect(&mut self) -> Result<(Socket, Welcome, Credentials), Failed> {
        let attempt = self.attempt(None).await?;
        let credentials = attempt.credentials.clone();
        let result = attempt.run().await;
        let given_up = self.attempted(result.as_ref().ok().map(|(_, welcome)| welcome));
        self.tell_given_up(given_up).await?;
        result.map(|(socket, welcome)| (socket, welcome, credentials))
    }

    /// What the next attempt says, at another address if the relay named one.
    async fn attempt(&mut self, endpoint: Option<String>) -> Result<Attempt, Failed> {
        self.keep().await?;
        let unusable = |e: String| Failed::Network(format!("credentials cannot be read: {e}"));
        let loaded = self.options.credentials.load().map_err(|e| unusable(e.to_string()))?;
        let mut credentials = loaded.ok_or_else(|| unusable("there are none".to_owned()))?;
        if let Some(endpoint) = endpoint {
            credentials.relay = endpoint;
        }
        self.attempt += 1;
        let (resume, base) = {
            let mut outbox = self.shared.outbox.lock();
            (outbox.ledger.resume(), outbox.ledger.bases())
        };
        let client = ClientInfo {
            name: self.options.name.clone(),
            version: self.options.version.clone(),
            instance: self.instance.clone(),
            attempt: self.attempt,
        };
        let (options, connector) = (self.options.clone(), self.connector.clone());
        Ok(Attempt { credentials, options, connector, client, resume, base })
    }

    /// Nothing goes on the wire before what the outbox says of it is on disk.
    async fn keep(&self) -> Result<(), Failed> {
        let unkept = |e| Failed::Network(format!("the outbox cannot be written: {e}"));
        let file = {
            let mut outbox = self.shared.outbox.lock();
            outbox.record().map_err(unkept)?;
            outbox.file.as_mut().map(OutboxFile::unsynced).transpose().map_err(unkept)?.flatten()
        };
        let Some(file) = file else { return Ok(()) };
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        let synced = synced.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        if synced.is_err()
            && let Some(file) = &mut self.shared.outbox.lock().file
        {
            file.doubt();
        }
        synced.map_err(unkept)
    }

    async fn tell_given_up(&self, given_up: Vec<(Channel, Vec<GivenUp>)>) -> Result<(), Failed> {
        for (channel, messages) in given_up {
            self.tell(Event::GivenUp { channel, messages }).await?;
        }
        Ok(())
    }

    /// An attempt was welcomed, or not. Gives what will not be sent any more.
    fn attempted(&self, welcome: Option<&Welcome>) -> Vec<(Channel, Vec<GivenUp>)> {
        let mut outbox = self.shared.outbox.lock();
        let Some(welcome) = welcome else {
            outbox.ledger.unanswered(&mut new_epoch);
            return Vec::new();
        };
        outbox.volatile.clear();
        outbox.control.clear();
        outbox.online = true;
        outbox.message_bytes = welcome.limits.message_bytes;
        outbox.probe = false;
        outbox.ledger.welcomed(welcome, now(), &mut new_epoch)
    }

    /// Serves one connection until it ends.
    async fn serve(
        &mut self,
        mut socket: Socket,
        welcome: Welcome,
        mut credentials: Credentials,
    ) -> Failed {
        if let Some(token) = welcome.next_token.clone()
            && let Err(failed) = self.take_token(&mut socket, &mut credentials, token).await
        {
            return failed;
        }
        let mut last_frame = None;
        if self.events.send(Event::Connected(Box::new(welcome))).await.is_err() {
            return Failed::Network("the application is gone".to_owned());
        }
        let mut heard = Instant::now();
        let mut moving = Move::default();
        loop {
            let frames = self.outgoing();
            let written = async {
                self.keep().await?;
                write(&mut socket, frames).await
            };
            if let Err(failed) = written.await {
                return last_frame.unwrap_or(failed);
            }
            let due = self.shared.outbox.lock().ledger.deadline().map(Instant::from_std);
            let shared = self.shared.clone();
            tokio::select! {
                frame = receive(&mut socket) => {
                    heard = Instant::now();
                    moving.note(&frame);
                    match self.handle(&mut socket, &mut credentials, frame).await {
                        Ok(None) => {}
                        Ok(Some(bye)) => last_frame = Some(bye),
                        Err(failed) => return last_frame.unwrap_or(failed),
                    }
                    while let Some(frame) = receive(&mut socket).now_or_never() {
                        moving.note(&frame);
                        match self.handle(&mut socket, &mut credentials, frame).await {
                            Ok(None) => {}
                            Ok(Some(bye)) => last_frame = Some(bye),
                            Err(failed) => return last_frame.unwrap_or(failed),
                        }
                    }
                }
                () = shared.wake.notified() => {
                    if shared.outbox.lock().probe {
                        return Failed::Closed {
                            code: 1000,
                            reason: "asked to reconnect".to_owned(),
                            retry_in: Some(Duration::ZERO),
                        };
                    }
                }
                () = until(due) => {}
                () = until(moving.at) => {
                    moving.at = None;
                    match self.attempt(moving.endpoint.clone()).await {
                        Ok(attempt) => moving.attempt = Some(Box::pin(attempt.run())),
                        Err(_) => moving.again(),
                    }
                }
                result = attempted(&mut moving.attempt) => {
                    moving.attempt = None;
                    // Who is refused stays where it is.
                    let Ok((next, welcome)) = result else {
                        moving.again();
                        continue;
                    };
                    // From now on nothing is written on the old socket.
                    tokio::spawn(leave(std::mem::replace(&mut socket, next)));
                    heard = Instant::now();
                    moving = Move::default();
                    let given_up = self.attempted(Some(&welcome));
                    let offer = welcome.next_token.clone();
                    let connected = Event::Connected(Box::new(welcome));
                    let told = async {
                        self.tell_given_up(given_up).await?;
                        self.tell(connected).await
                    };
                    if let Err(failed) = told.await {
                        return failed;
                    }
                    if let Some(token) = offer
                        && let Err(failed) = self.take_token(&mut socket, &mut credentials, token).await
                    {
                        return failed;
                    }
                }
                () = tokio::time::sleep_until(heard + SILENCE_MAX) => {
                    return Failed::Network("the relay went silent".to_owned());
                }
            }
        }
    }

    /// What is to be written now.
    fn outgoing(&self) -> Vec<Frame> {
        let mut outbox = self.shared.outbox.lock();
        let mut frames = std::mem::take(&mut outbox.control);
        frames.extend(outbox.ledger.outgoing(now()));
        for (channel, key, p) in std::mem::take(&mut outbox.volatile) {
            let (epoch, after, vseq) = outbox.ledger.name_volatile(channel, new_epoch());
            frames.push(Vol { ch: channel, epoch, after, vseq, key, p }.into());
        }
        frames
    }

    /// Handles one frame; a `bye` is remembered as the reason of the close that follows.
    async fn handle(
        &mut self,
        socket: &mut Socket,
        credentials: &mut Credentials,
        frame: Result<Frame, Failed>,
    ) -> Result<Option<Failed>, Failed> {
        let hear =
            |frame: Frame| self.shared.outbox.lock().ledger.hear(frame, now(), &mut new_epoch);
        let mut heard = hear(frame?);
        if let Heard::GaveUp(gave_up) = heard {
            let (gap, frame) = *gave_up;
            self.tell(Event::Frame(Box::new(gap.into()))).await?;
            heard = hear(frame);
        }
        let frame = match heard {
            Heard::Frame(frame) => *frame,
            Heard::Nothing => return Ok(None),
            Heard::GivenUp(given_up) => {
                self.tell_given_up(given_up).await?;
                return Ok(None);
            }
            Heard::Hole | Heard::GaveUp(_) => {
                return Err(Failed::Network("a message is missing; resuming".to_owned()));
            }
        };
        if let Frame::DeviceListed(listed) = &frame {
            self.forget_members_that_are_gone(&listed.devices);
        }
        match frame {
            Frame::Msg(msg) => {
                let position = Position::new(msg.epoch, msg.seq);
                let (channel, from, at, payload) = (msg.ch, msg.from, msg.at, msg.p);
                self.tell(Event::Message(Message { channel, position, from, at, payload })).await?;
            }
            Frame::Vol(vol) => {
                self.tell(Event::Volatile { channel: vol.ch, payload: vol.p }).await?;
            }
            Frame::Ping(ping) => {
                write(socket, vec![Pong { n: ping.n, t: ping.t }.into()]).await?;
            }
            Frame::TokenOffer(offer) => self.take_token(socket, credentials, offer.token).await?,
            Frame::TokenCommitted(_) | Frame::Pong(_) => {}
            Frame::Bye(bye) => {
                let retry_in = bye.retry.then(|| Duration::from_millis(bye.retry_in_ms));
                return Ok(Some(Failed::Closed { code: bye.code, reason: bye.reason, retry_in }));
            }
            other => self.tell(Event::Frame(Box::new(other))).await?,
        }
        Ok(None)
    }

    /// Member ids are never used again, so nothing of these channels is needed any more.
    fn forget_members_that_are_gone(&mut self, devices: &[DeviceView]) {
        let there = |channel: &Channel| {
            channel.member().is_none_or(|member| devices.iter().any(|d| d.member == member))
        };
        self.shared.outbox.lock().ledger.retain(there);
    }

    async fn tell(&self, event: Event) -> Result<(), Failed> {
        let gone = |_| Failed::Network("the application is gone".to_owned());
        self.events.send(event).await.map_err(gone)
    }

    /// Writes an offered token durably, then confirms it.
    async fn take_token(
        &self,
        socket: &mut Socket,
        credentials: &mut Credentials,
        token: belay_wire::Secret,
    ) -> Result<(), Failed> {
        credentials.token = token.clone();
        match self.options.credentials.save(credentials) {
            Ok(()) => write(socket, vec![TokenConfirm { token }.into()]).await,
            Err(error) => {
                tracing::warn!(%error, "offered token not saved; the present one stays");
                Ok(())
            }
        }
    }
}

type Attempting = std::pin::Pin<Box<dyn Future<Output = Result<(Socket, Welcome), Failed>> + Send>>;

/// A move to another socket, because the node drains; the old one serves until the new one is welcome.
#[derive(Default)]
struct Move {
    at: Option<Instant>,
    endpoint: Option<String>,
    attempt: Option<Attempting>,
}

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// Pause after a refused move.
const MOVE_PAUSE: Duration = Duration::from_secs(1);

impl Move {
    fn note(&mut self, frame: &Result<Frame, Failed>) {
        if let Ok(Frame::Drain(drain)) = frame {
            self.at = Some(Instant::now() + Duration::from_millis(drain.reconnect_in_ms));
            self.endpoint.clone_from(&drain.endpoint);
        }
    }

    fn again(&mut self) {
        self.at = Some(Instant::now() + MOVE_PAUSE);
    }
}

/// Says goodbye to a relay that nothing is owed, so that it does not look like a broken network there.
async fn leave(mut old: Socket) {
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: "moved".into() };
    let _ = tokio::time::timeout(GOODBYE, old.close(Some(goodbye))).await;
}

async fn attempted(attempt: &mut Option<Attempting>) -> Result<(Socket, Welcome), Failed> {
    match attempt {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}

/// The place of a record that is no message.
fn note(frame: &Frame) -> Option<(Channel, Position)> {
    Some(match frame {
        Frame::Void(v) => (v.ch, Position::new(v.epoch, v.seq)),
        Frame::Skip(s) => (s.ch, Position::new(s.epoch, s.to)),
        Frame::Gap(g) => (g.ch, Position::new(g.epoch, g.to)),
        Frame::EpochFrame(e) => (e.ch, Position::new(e.new, e.base.previous())),
        _ => return None,
    })
}

async fn write(socket: &mut Socket, frames: Vec<Frame>) -> Result<(), Failed> {
    if frames.is_empty() {
        return Ok(());
    }
    let writing = async {
        for frame in frames {
            socket.feed(WsMessage::text(frame.encode())).await?;
        }
        socket.flush().await
    };
    match tokio::time::timeout(SILENCE_MAX, writing).await {
        Ok(written) => written.map_err(|e| Failed::Network(describe(&e))),
        Err(_) => Err(Failed::Network("the relay takes nothing any more".to_owned())),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

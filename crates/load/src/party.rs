//! One end of a pair: it connects, answers pings, acknowledges, sends when told to, and comes back as the
//! client library does, of which it uses the ledger.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use belay_client::{Backoff, Heard, Ledger};
use belay_core::token::Principal;
use belay_wire::{
    Auth, Channel, ClientInfo, Epoch, Frame, Msg, Pong, Position, RawJson, VERSIONS,
    proof::auth_transcript,
};
use belay_ws::Message;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

use crate::{
    crowd::{Crowd, Orders},
    link::{self, CONNECT_TIMEOUT, Socket},
    world,
};

/// Bytes of a message beside its time.
const FILL: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

#[derive(Serialize, Deserialize)]
struct Payload<'a> {
    /// When it was sent, Unix microseconds.
    t: u64,
    x: &'a str,
}

/// One end of a pair.
pub(crate) struct Party {
    crowd: Arc<Crowd>,
    pair: u64,
    relay: SocketAddr,
    principal: Principal,
    writes: Channel,
    /// The other end is at another relay.
    apart: bool,
    ledger: Ledger,
    attempt: u64,
    send_at: Option<Instant>,
}

impl Party {
    pub(crate) fn new(crowd: Arc<Crowd>, pair: u64, is_host: bool) -> Self {
        let (relay, apart) = crowd.place(pair, is_host);
        let member = world::member(pair);
        let (principal, writes) = if is_host {
            (Principal::Host, Channel::Down)
        } else {
            (Principal::Member(member), Channel::Up(member))
        };
        let (ledger, attempt) = (Ledger::default(), 0);
        Self { crowd, pair, relay, principal, writes, apart, ledger, attempt, send_at: None }
    }

    /// Lives until the process ends.
    pub(crate) async fn live(mut self) {
        let mut orders = self.crowd.orders();
        let mut backoff = Backoff::default();
        // The first time everybody waits for a place, later for nobody.
        let mut first = self.crowd.first.clone().acquire_owned().await.ok();
        loop {
            self.attempt += 1;
            let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.connect());
            match connecting.await.unwrap_or_else(|_| Err(anyhow::anyhow!("late"))) {
                Ok(socket) => {
                    drop(first.take());
                    backoff.reset();
                    self.crowd.connected.fetch_add(1, Ordering::Relaxed);
                    let ended = self.serve(socket, &mut orders).await;
                    self.crowd.connected.fetch_sub(1, Ordering::Relaxed);
                    if let Err(why) = ended {
                        self.crowd.count_drop(why);
                    }
                }
                Err(error) => {
                    self.crowd.count_failure(error.to_string());
                    self.ledger.unanswered(&mut draw);
                }
            }
            tokio::time::sleep(backoff.next(draw().0)).await;
        }
    }

    async fn connect(&mut self) -> anyhow::Result<Socket> {
        let n = self.pair * 2 + u64::from(self.principal == Principal::Host);
        let mut socket = link::upgrade(self.relay, self.crowd.process, n).await?;
        let welcome = link::authenticate(&mut socket, |nonce| self.auth(nonce)).await?;
        let given_up = self.ledger.welcomed(&welcome, std::time::Instant::now(), &mut draw);
        self.crowd.count_lost(given_up.iter().map(|(_, messages)| messages.len()).sum());
        Ok(socket)
    }

    fn auth(&mut self, nonce: &str) -> Auth {
        let token = self.crowd.world.token(self.pair, self.principal);
        let origin = format!("http://{}", self.relay);
        let (session, principal) = (world::session(self.pair), self.principal.as_bytes());
        let signed = auth_transcript(&origin, session, &principal, nonce, token.expose());
        // A place to write from at once, as a client has that has written before.
        if self.ledger.head(self.writes).is_none() {
            self.ledger.name_volatile(self.writes, draw());
        }
        Auth {
            version: VERSIONS[0].to_owned(),
            token,
            nonce: nonce.to_owned(),
            proof: Some(self.crowd.identity.sign(&signed)),
            client: ClientInfo {
                name: "load".to_owned(),
                version: "0".to_owned(),
                instance: "load".to_owned(),
                attempt: self.attempt,
            },
            resume: self.ledger.resume(),
            base: self.ledger.bases(),
        }
    }

    /// Until it is cut (`Ok`), or ends otherwise.
    async fn serve(
        &mut self,
        mut socket: Socket,
        orders: &mut watch::Receiver<Orders>,
    ) -> Result<(), String> {
        let cut = orders.borrow().cut;
        self.follow(&orders.borrow_and_update().clone());
        loop {
            let frames = self.ledger.outgoing(std::time::Instant::now());
            self.write(&mut socket, frames).await?;
            let deadline = self.ledger.deadline().map(Instant::from_std);
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        let answers = self.hear(text.as_str())?;
                        self.write(&mut socket, answers).await?;
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err("closed".to_owned()),
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                },
                () = until(deadline) => {}
                () = until(self.send_at) => self.say(orders.borrow().every),
                changed = orders.changed() => {
                    let ordered = orders.borrow_and_update().clone();
                    if changed.is_err() || ordered.cut != cut {
                        // As when its network is gone: no goodbye.
                        let _ = socket.get_mut().set_zero_linger();
                        return Ok(());
                    }
                    self.follow(&ordered);
                }
            }
        }
    }

    async fn write(&mut self, socket: &mut Socket, frames: Vec<Frame>) -> Result<(), String> {
        if frames.is_empty() {
            return Ok(());
        }
        for frame in frames {
            socket.feed(Message::text(frame.encode())).await.map_err(|e| e.to_string())?;
        }
        socket.flush().await.map_err(|e| e.to_string())
    }

    /// Host and member speak by turns, each pair at a time of its own.
    fn follow(&mut self, orders: &Orders) {
        let speaks = self.pair % 100 < orders.share;
        self.send_at = orders.every.filter(|_| speaks).map(|every| {
            let turn = if self.principal == Principal::Host { 0.0 } else { 1.0 };
            let own = crate::report::ratio(draw().0 % 1_000, 1_000);
            Instant::now() + every.mul_f64(turn + own)
        });
    }

    fn say(&mut self, every: Option<Duration>) {
        let Some(every) = every else { return self.send_at = None };
        self.send_at = self.send_at.map(|at| at + 2 * every);
        let Ok(payload) = RawJson::of(&Payload { t: now_us(), x: FILL }) else { return };
        let epoch = draw();
        match self.ledger.push(self.writes, payload, None, epoch) {
            Ok(_) => self.crowd.sent.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.crowd.unsent.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// Takes a frame; gives what is answered at once.
    fn hear(&mut self, text: &str) -> Result<Vec<Frame>, String> {
        let frame = belay_wire::decode(text).map_err(|e| e.to_string())?;
        let heard = self.ledger.hear(frame, std::time::Instant::now(), &mut draw);
        let frame = match heard {
            Heard::Nothing => return Ok(Vec::new()),
            Heard::Hole => return Err("hole".to_owned()),
            Heard::GivenUp(all) => {
                self.crowd.count_lost(all.iter().map(|(_, messages)| messages.len()).sum());
                return Ok(Vec::new());
            }
            Heard::GaveUp(_) => return Err("gave up".to_owned()),
            Heard::Frame(frame) => *frame,
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others are no load")]
        match frame {
            Frame::Ping(ping) => return Ok(vec![Pong { n: ping.n, t: ping.t }.into()]),
            Frame::Msg(message) => self.take(&message),
            Frame::Gap(gap) => {
                let count = (gap.to.value() + 1).saturating_sub(gap.from.value());
                self.crowd.count_failure(format!("gap of {count} {}", gap.reason));
            }
            Frame::Nack(nack) => self.crowd.count_failure(format!("nack {:?}", nack.reason)),
            Frame::Bye(bye) => return Err(format!("bye {}", bye.reason)),
            _ => {}
        }
        Ok(Vec::new())
    }

    fn take(&mut self, message: &Msg) {
        let at = Position::new(message.epoch, message.seq);
        self.ledger.applied(message.ch, at, std::time::Instant::now());
        if let Ok(Payload { t, .. }) = serde_json::from_str(message.p.text()) {
            self.crowd.note(now_us().saturating_sub(t), self.apart);
        }
    }
}

fn draw() -> Epoch {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    Epoch(u64::from_le_bytes(bytes))
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

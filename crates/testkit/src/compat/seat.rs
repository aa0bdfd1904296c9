//! Gives a party its socket: connects, authenticates, reconnects, and stops when it may not come back.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, MutexGuard, Notify, mpsc},
    task::JoinHandle,
};

use super::{Heard, Net, Wire};
use crate::SOON;

/// Who sits at a socket.
pub trait Party: Send + 'static {
    /// The token of the next connect; `None`: it does not come back.
    fn token(&self) -> Option<String>;
    /// A call before a reconnect.
    fn before(&mut self) -> Option<(&'static str, Value)> {
        None
    }
    /// Takes a message and gives what it says in turn.
    fn hears(&mut self, message: &Value) -> Vec<Value>;
    /// Its connection ended; `code` is 0 without a close frame.
    fn ends(&mut self, reason: &str, code: u16);
}

/// Longest and first pause before a reconnect; clients in the field wait one to fifteen seconds.
const PAUSE: Duration = Duration::from_millis(400);
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// What a party may have said while it is not connected.
const QUEUE: usize = 1_024;

/// A party at its socket.
#[derive(Debug)]
pub struct Seat<P> {
    inner: Arc<Inner<P>>,
    say: mpsc::Sender<Value>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner<P> {
    party: Mutex<P>,
    changed: Notify,
    cut: Notify,
}

impl<P> Drop for Seat<P> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<P: Party> Seat<P> {
    /// Connects until the party has ended.
    pub fn take(net: Net, party: P) -> Self {
        let (changed, cut) = (Notify::new(), Notify::new());
        let inner = Arc::new(Inner { party: Mutex::new(party), changed, cut });
        let (say, said) = mpsc::channel(QUEUE);
        let task = tokio::spawn(keep(net, inner.clone(), said));
        Self { inner, say, task }
    }

    /// Looks at the party.
    pub async fn look<T>(&self, look: impl FnOnce(&P) -> T) -> T {
        look(&*self.inner.party.lock().await)
    }

    /// The party does something and says what comes of it.
    pub async fn act(&self, act: impl FnOnce(&mut P) -> Vec<Value>) {
        let mut party: MutexGuard<'_, P> = self.inner.party.lock().await;
        for message in act(&mut party) {
            self.say.try_send(message).expect("a test says less than the queue holds");
        }
    }

    /// Changes the party without a word.
    pub async fn change<T>(&self, change: impl FnOnce(&mut P) -> T) -> T {
        change(&mut *self.inner.party.lock().await)
    }

    /// Waits until something holds of the party.
    pub async fn until(&self, what: &str, holds: impl Fn(&P) -> bool) {
        assert!(self.comes(SOON, holds).await, "not in time: {what}");
    }

    /// Whether something holds of the party within this time.
    pub async fn comes(&self, within: Duration, holds: impl Fn(&P) -> bool) -> bool {
        let waiting = async {
            loop {
                let changed = self.inner.changed.notified();
                if self.look(&holds).await {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(within, waiting).await.is_ok()
    }

    /// Cuts the connection without a close frame.
    pub fn cut(&self) {
        self.inner.cut.notify_one();
    }
}

async fn keep<P: Party>(net: Net, inner: Arc<Inner<P>>, mut said: mpsc::Receiver<Value>) {
    let mut pause = FIRST_PAUSE;
    for attempt in 0.. {
        let (token, before) = {
            let mut party = inner.party.lock().await;
            let before = if attempt > 0 { party.before() } else { None };
            (party.token(), before)
        };
        let Some(token) = token else { return };
        if let Some((path, body)) = before {
            let _ = net.try_call(path, &body).await;
        }
        let mut end = (String::new(), 0);
        if let Ok(mut wire) = net.try_open("/ws").await {
            wire.send(&json!({ "type": "relay.auth", "token": token })).await;
            let mut is_in = false;
            end = converse(&mut wire, &inner, &mut said, &mut is_in).await;
            if is_in {
                pause = FIRST_PAUSE;
            }
        }
        inner.party.lock().await.ends(&end.0, end.1);
        inner.changed.notify_waiters();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE);
    }
}

/// Until the connection ends: the reason that was told, and the code of the close frame.
async fn converse<P: Party>(
    wire: &mut Wire,
    inner: &Inner<P>,
    said: &mut mpsc::Receiver<Value>,
    is_in: &mut bool,
) -> (String, u16) {
    let mut reason = String::new();
    loop {
        let heard = tokio::select! {
            heard = wire.listen() => heard,
            Some(message) = said.recv(), if *is_in => {
                wire.send(&message).await;
                continue;
            }
            () = inner.cut.notified() => return (reason, 0),
        };
        match heard {
            Heard::Json(message) => {
                if message["type"] == "disconnect" {
                    reason = message["reason"].as_str().unwrap_or_default().to_owned();
                }
                *is_in |= message["type"] == "auth_ok";
                let answers = inner.party.lock().await.hears(&message);
                inner.changed.notify_waiters();
                for answer in answers {
                    wire.send(&answer).await;
                }
            }
            Heard::Text(text) => panic!("the relay tells JSON only, not {text}"),
            Heard::Closed { code, reason: text } => {
                return (if reason.is_empty() { text } else { reason }, code);
            }
            Heard::Broken => return (reason, 0),
        }
    }
}

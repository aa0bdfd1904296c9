//! Requests and their answers: one inbox for all of them, and nothing stays of one that nobody waits for.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::answer::{CallError, read};

/// How long the broker may take to answer anything but an append.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers of one request of many answers that may wait.
const ANSWERS_MAX: usize = 1_100;

#[derive(Debug)]
enum Waiter {
    One(oneshot::Sender<Message>),
    Many(mpsc::Sender<Message>),
}

type Waiters = Arc<Mutex<HashMap<u64, Waiter>>>;

/// The connection, as everything here uses it.
#[derive(Debug)]
pub(super) struct Wire {
    client: Client,
    inbox: String,
    next: AtomicU64,
    waiters: Waiters,
    lost: watch::Receiver<u64>,
    sent: AtomicU64,
}

/// Ends the wait for answers when it is dropped.
#[derive(Debug)]
struct Waiting {
    waiters: Waiters,
    token: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiters.lock().remove(&self.token);
    }
}

/// The answers of one request.
#[derive(Debug)]
pub(super) struct Answers {
    answers: mpsc::Receiver<Message>,
    _waiting: Waiting,
}

impl Answers {
    /// The next answer; `None` if it is late or there were too many.
    pub(super) async fn next(&mut self) -> Option<Message> {
        tokio::time::timeout(REQUEST_TIMEOUT, self.answers.recv()).await.ok().flatten()
    }
}

impl Wire {
    /// Uses a client; `lost` changes with every loss of the connection. The subscriber is for
    /// [`Wire::listen`].
    pub(super) async fn new(
        client: Client,
        lost: watch::Receiver<u64>,
    ) -> Result<(Self, Subscriber), CallError> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await.map_err(|_| CallError::Away)?;
        let (next, waiters, sent) = (AtomicU64::new(0), Waiters::default(), AtomicU64::new(0));
        Ok((Self { client, inbox, next, waiters, lost, sent }, answers))
    }

    /// Hands answers to those that wait for them.
    pub(super) async fn listen(&self, mut answers: Subscriber) {
        while let Some(message) = answers.next().await {
            let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
            let Some(token) = token else { continue };
            let mut waiters = self.waiters.lock();
            match waiters.remove(&token) {
                Some(Waiter::One(to)) => {
                    let _ = to.send(message);
                }
                Some(Waiter::Many(to)) => {
                    // Without one of its answers the request is worth nothing.
                    let kept = to.try_send(message).is_ok();
                    kept.then(|| waiters.insert(token, Waiter::Many(to)));
                }
                None => {}
            }
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Messages that were sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn wait(&self, waiter: Waiter) -> (Waiting, String) {
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        self.waiters.lock().insert(token, waiter);
        let waiting = Waiting { waiters: self.waiters.clone(), token };
        (waiting, format!("{}.{token}", self.inbox))
    }

    async fn send(
        &self,
        subject: String,
        reply: Option<String>,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), CallError> {
        if payload.len() + 1024 > self.client.max_payload() {
            return Err(CallError::TooLarge);
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let headers = headers.unwrap_or_default();
        let sent = match reply {
            Some(reply) if headers.is_empty() => {
                self.client.publish_with_reply(subject, reply, payload).await
            }
            Some(reply) => {
                self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await
            }
            None => self.client.publish(subject, payload).await,
        };
        sent.map_err(|_| CallError::Away)
    }

    /// Sends a message that has no answer.
    pub(super) async fn publish(&self, subject: String, payload: Bytes) -> Result<(), CallError> {
        if !self.is_connected() {
            return Err(CallError::Away);
        }
        self.send(subject, None, None, payload).await
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, CallError> {
        let mut lost = self.lost.clone();
        lost.mark_unchanged();
        if !self.is_connected() {
            return Err(CallError::Away);
        }
        let (to, answer) = oneshot::channel();
        let (_waiting, reply) = self.wait(Waiter::One(to));
        let exchange = async {
            self.send(subject, Some(reply), headers, payload).await?;
            answer.await.map_err(|_| CallError::Lost)
        };
        let answer = tokio::select! {
            answer = tokio::time::timeout(timeout, exchange) => {
                answer.unwrap_or(Err(CallError::Late))?
            }
            _ = lost.changed() => return Err(CallError::Lost),
        };
        if answer.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(CallError::Nobody);
        }
        Ok(answer)
    }

    /// Sends a request that has several answers.
    pub(super) async fn ask(&self, subject: String, body: &Value) -> Result<Answers, CallError> {
        if !self.is_connected() {
            return Err(CallError::Away);
        }
        let (to, answers) = mpsc::channel(ANSWERS_MAX);
        let (waiting, reply) = self.wait(Waiter::Many(to));
        let sent = self.send(subject, Some(reply), None, body.to_string().into());
        tokio::time::timeout(REQUEST_TIMEOUT, sent).await.unwrap_or(Err(CallError::Late))?;
        Ok(Answers { answers, _waiting: waiting })
    }

    /// Calls the API of `JetStream`.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        body: &Value,
        timeout: Duration,
    ) -> Result<T, CallError> {
        let payload = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let subject = format!("$JS.API.{operation}");
        let answer = self.request(subject, None, payload, timeout).await?;
        read(&answer.payload)
    }
}

//! What the sessions of a node ask of the message log.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use belay_core::{
    Input, Session,
    delivery::Ask,
    ports::{AppendError, ChannelId, LogUnavailable, MessageLog},
    session::LogTold,
};
use belay_wire::Channel;
use futures_util::future::join_all;

use super::{Node, unix_ms};
use crate::{metrics::count, registry::Handle};

/// How long a session that comes into memory waits for its logs; later it goes on without them.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1);

/// What many would say, such as the cause of appends that fail, stands in the log at most this often.
pub(super) const TELL_EVERY_MS: u64 = 10_000;

type Telling = Pin<Box<dyn Future<Output = Option<LogTold>> + Send>>;

impl Node {
    /// Brings a session into memory: its logs are read before anybody uses it.
    pub(crate) async fn open(&self, mut session: Session) -> Session {
        let compat = session.record().compat.is_some();
        let id = session.record().id;
        // First hear of entries, then read what is there.
        self.watch(id);
        let effects = self.with_env(|env| session.handle(Input::OpenLogs, env));
        let loads = effects.log.into_iter().map(|(channel, ask)| async move {
            let telling = self.ask(ChannelId { session: id, channel }, compat, ask);
            let late = || Err(LogUnavailable("no answer".to_owned()));
            let told = tokio::time::timeout(LOAD_TIMEOUT, telling).await;
            (channel, told.ok().flatten().unwrap_or_else(|| LogTold::Loaded(late())))
        });
        for (channel, told) in join_all(loads).await {
            self.with_env(|env| session.log_read(channel, told, env));
        }
        session
    }

    /// Gives asks of a session to the log. What is answered at once goes to `inputs`, the rest comes back
    /// as an input of its own.
    pub(super) fn ask_log(
        self: &Arc<Self>,
        handle: &Arc<Handle>,
        asks: Vec<(Channel, Ask)>,
        inputs: &mut std::collections::VecDeque<Input>,
    ) {
        for (channel, ask) in asks {
            let mut telling =
                self.ask(ChannelId { session: handle.id, channel }, handle.compat, ask);
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match telling.as_mut().poll(&mut context) {
                Poll::Ready(Some(told)) => inputs.push_back(Input::Log { channel, told }),
                Poll::Ready(None) => {}
                Poll::Pending => self.wait_for_log(handle, channel, telling),
            }
        }
    }

    fn wait_for_log(self: &Arc<Self>, handle: &Arc<Handle>, channel: Channel, telling: Telling) {
        let (node, handle) = (self.clone(), handle.clone());
        self.tasks.spawn(async move {
            if let Some(told) = telling.await {
                node.drive(&handle, Input::Log { channel, told }).await;
            }
        });
    }

    fn ask(&self, id: ChannelId, compat: bool, ask: Ask) -> Telling {
        let log: &Arc<dyn MessageLog> =
            if compat { &self.stores.compat_log } else { &self.stores.log };
        let (seconds, failures) =
            (self.metrics.append_seconds.clone(), self.metrics.append_failures.clone());
        match ask {
            Ask::Load => {
                let loading = log.load(id);
                Box::pin(async move { Some(LogTold::Loaded(loading.await)) })
            }
            Ask::Append { expected, records } => {
                let appending = log.append(id, expected, records);
                let started = tokio::time::Instant::now();
                let told_at = self.append_told_at.clone();
                Box::pin(async move {
                    let answer = appending.await;
                    seconds.observe(started.elapsed().as_secs_f64());
                    if let Err(error) = &answer {
                        let last = told_at.load(Ordering::Relaxed);
                        let is_new = unix_ms() >= last.saturating_add(TELL_EVERY_MS);
                        if is_new && !matches!(error, AppendError::Conflict) {
                            told_at.store(unix_ms(), Ordering::Relaxed);
                            tracing::error!(channel = %id, %error, "a message was not stored");
                        } else {
                            tracing::debug!(channel = %id, %error, "not appended");
                        }
                        count(&failures, error.label());
                    }
                    Some(LogTold::Appended(answer))
                })
            }
            Ask::Purge { before } => quiet(id, "purge", log.purge(id, before)),
            Ask::Forget => quiet(id, "forget", log.forget(id)),
        }
    }

    /// Asks a log that did not do its work whether it does again.
    pub(crate) async fn recheck_log(self: &Arc<Self>) {
        let degraded = |handle: &Arc<Handle>| handle.session.lock().is_degraded();
        let waiting: Vec<_> = self.registry.all().into_iter().filter(degraded).collect();
        if waiting.is_empty() {
            return;
        }
        // In a cluster a check means something only when the brokers had time to notice who is gone.
        let is_away = self.cluster.as_ref().is_some_and(|cluster| !cluster.broker.is_well());
        if is_away || self.stores.log.check().await.is_err() {
            return;
        }
        for handle in waiting.iter().filter(|handle| self.stores.log.takes(handle.id)) {
            self.drive(handle, Input::LogWorks).await;
        }
    }
}

/// A failure leaves something in the log that nobody reads: the next purge takes it.
fn quiet(
    id: ChannelId,
    what: &'static str,
    answer: impl Future<Output = Result<(), LogUnavailable>> + Send + 'static,
) -> Telling {
    Box::pin(async move {
        if let Err(error) = answer.await {
            tracing::warn!(channel = %id, %error, what, "the message log did not do it");
        }
        None
    })
}

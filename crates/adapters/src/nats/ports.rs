//! The ports over the parts.

use belay_core::{
    delivery::Record,
    ports::{
        Answer, AppendError, Bus, BusEvent, BusFrame, BusListener, ChannelId, Listener, Loaded,
        LogAnswer, LogUnavailable, MessageLog, StoreError, Tail,
    },
};
use belay_wire::SessionId;

use super::{Nats, answer::CallError, load::LOAD_TIMEOUT};

fn unavailable(error: &CallError) -> LogUnavailable {
    LogUnavailable(error.to_string())
}

fn done<T: Send + 'static, E: Send + 'static>(result: Result<T, E>) -> LogAnswer<T, E> {
    Box::pin(std::future::ready(result))
}

impl MessageLog for Nats {
    fn append(
        &self,
        id: ChannelId,
        expected: Tail,
        records: Vec<Record>,
    ) -> LogAnswer<Tail, AppendError> {
        if !self.inner.wire.is_connected() {
            return done(Err(AppendError::Refused(CallError::Away.to_string())));
        }
        let room = match self.inner.flight.enter(&records) {
            Ok(room) => room,
            Err(error) => return done(Err(error)),
        };
        let inner = self.inner.clone();
        let append = self.inner.runtime.spawn(async move {
            let _room = room;
            inner.append(id, expected, records).await
        });
        Box::pin(async move {
            let ended = |e: tokio::task::JoinError| AppendError::Unknown(e.to_string());
            append.await.unwrap_or_else(|e| Err(ended(e)))
        })
    }

    fn load(&self, id: ChannelId) -> LogAnswer<Loaded> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let loaded = tokio::time::timeout(LOAD_TIMEOUT, inner.load(id)).await;
            loaded.unwrap_or(Err(CallError::Late)).map_err(|error| unavailable(&error))
        })
    }

    fn subscribe(&self, listener: Listener) {
        self.inner.listeners.write().push(listener);
    }

    fn watch(&self, session: SessionId) {
        self.inner.watch.watch(session);
    }

    fn unwatch(&self, session: SessionId) {
        self.inner.watch.unwatch(session);
    }

    fn purge(&self, id: ChannelId, before: u64) -> LogAnswer<()> {
        if !self.inner.wire.is_connected() {
            return done(Err(unavailable(&CallError::Away)));
        }
        match self.inner.queue_purge(id, before) {
            Ok(answer) => Box::pin(async move {
                answer.await.unwrap_or_else(|_| Err(unavailable(&CallError::Lost)))
            }),
            Err(error) => done(Err(error)),
        }
    }

    fn forget(&self, id: ChannelId) -> LogAnswer<()> {
        let inner = self.inner.clone();
        let forget = self.inner.runtime.spawn(async move { inner.forget(id).await });
        Box::pin(async move {
            let forgotten = forget.await.unwrap_or(Err(CallError::Lost));
            forgotten.map_err(|error| unavailable(&error))
        })
    }

    fn check(&self) -> LogAnswer<()> {
        let inner = self.inner.clone();
        Box::pin(async move { inner.streams.check_all().await.map_err(LogUnavailable) })
    }

    fn takes(&self, session: SessionId) -> bool {
        self.inner.streams.takes(session)
    }

    fn damaged(&self) -> u64 {
        self.inner.unreadable.total()
    }
}

impl Bus for Nats {
    fn tell(&self, session: SessionId, frame: BusFrame) {
        if !self.inner.wire.is_connected() {
            self.inner.bus.refuse("unsent");
            return;
        }
        self.inner.bus.tell(self.inner.streams.names.bus(session), &frame);
    }

    fn listen(&self, listener: BusListener) {
        if !self.inner.wire.is_connected() {
            listener(BusEvent::Connected { connected: false });
        }
        self.inner.bus.listeners.add(listener);
    }

    fn watch(&self, session: SessionId) {
        self.inner.watch.watch(session);
    }

    fn unwatch(&self, session: SessionId) {
        self.inner.watch.unwatch(session);
    }

    fn check(&self) -> Answer<()> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let checked = inner.check_bus().await;
            checked.map_err(|error| StoreError::Unavailable(error.to_string()))
        })
    }
}

//! One task that takes all that is told of all watched sessions, in order, and hands it on.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use async_nats::{Message, Subscriber};
use belay_core::ports::{ChannelId, Entry, LogEvent, Tail};
use belay_wire::SessionId;
use futures_util::{
    StreamExt,
    stream::{AbortHandle, Abortable, SelectAll, abortable},
};

use super::{
    Inner,
    entry::{self, number},
};

/// Where the broker says that a stream has a new leader.
pub(super) const LEADERS: &str = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.";

type Told = SelectAll<Abortable<Subscriber>>;

/// Runs until it is aborted. `own` brings what this node tells itself, `leaders` what the broker tells.
pub(super) async fn run(inner: Arc<Inner>, own: Subscriber, leaders: Subscriber) {
    let mut handles: HashMap<SessionId, AbortHandle> = HashMap::new();
    let mut told = Told::new();
    for subscriber in [own, leaders] {
        told.push(abortable(subscriber).0);
    }
    loop {
        tokio::select! {
            () = inner.watch.changed.notified() => {
                for (session, watched) in inner.watch.take_changed() {
                    change(&inner, &mut told, &mut handles, session, watched).await;
                }
            }
            Some(message) = told.next() => inner.take(message),
        }
    }
}

async fn change(
    inner: &Inner,
    told: &mut Told,
    handles: &mut HashMap<SessionId, AbortHandle>,
    session: SessionId,
    watched: bool,
) {
    if !watched {
        // The stream ends, and with it the subscription.
        if let Some(handle) = handles.remove(&session) {
            handle.abort();
        }
        return;
    }
    if let hash_map::Entry::Vacant(handle) = handles.entry(session) {
        let subject = inner.streams.names.session(session);
        // It waits only for room on the way to the connection, and fails only if that ended for good.
        let Ok(subscriber) = inner.wire.client().subscribe(subject).await else { return };
        let (stream, ends) = abortable(subscriber);
        told.push(stream);
        handle.insert(ends);
    }
    inner.watch.set_subscribed(session);
}

impl Inner {
    fn take(&self, message: Message) {
        if let Some(stream) = message.subject.strip_prefix(LEADERS) {
            if self.streams.names.is_ours(stream) {
                self.doubt.notify_one();
            }
            return;
        }
        match self.streams.names.told_of(&message.subject) {
            Some((session, "bus")) => self.bus.take(self, session, &message),
            Some((session, rest)) if rest.starts_with("log.") => self.take_stored(session, message),
            Some(_) => self.bus.refuse("kind"),
            None => self.bus.heard_itself(&message.payload),
        }
    }

    /// A stream stored something.
    fn take_stored(&self, session: SessionId, message: Message) {
        let Some((id, previous, tail)) = self.stored(&message) else {
            self.bus.refuse("malformed");
            return;
        };
        if id.session != session || !self.watch.is_watched(session) {
            return;
        }
        let place = self.streams.names.place(id);
        self.streams.saw(place, tail.incarnation, tail.offset);
        match entry::decode(message.payload) {
            Ok(records) => {
                self.watch.advance(id, tail);
                let entry = Entry { offset: tail.offset, records };
                self.tell(&LogEvent::Stored { id, previous, tail, entry });
            }
            Err(error) => {
                self.unreadable.count(tail.incarnation, tail.offset, error);
                // Its log must still be known to end there.
                self.watch.advance(id, tail);
                self.tell(&LogEvent::Tail { id, tail });
            }
        }
    }

    fn stored(&self, message: &Message) -> Option<(ChannelId, u64, Tail)> {
        let headers = message.headers.as_ref()?;
        let id = self.streams.names.channel(headers.get_last("Nats-Subject")?.as_str())?;
        let place = self.streams.names.place(id);
        let stream = headers.get_last("Nats-Stream")?.as_str();
        let incarnation = self.streams.names.incarnation(place, stream)?;
        let offset = number(headers, "Nats-Sequence")?;
        let previous = number(headers, "Nats-Last-Sequence")?;
        Some((id, previous, Tail { incarnation, offset }))
    }

    /// Tells all listeners.
    pub(super) fn tell(&self, event: &LogEvent) {
        let listeners = self.listeners.read();
        listeners.iter().for_each(|listener| listener(event.clone()));
    }
}

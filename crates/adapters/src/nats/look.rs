//! What events may have missed: doubts after a new connection or leader, and a look at all streams from
//! time to time that costs an idle session nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use belay_core::ports::{ChannelId, LogEvent, Tail};
use belay_wire::SessionId;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Inner, entry,
    names::{Place, Way},
    streams::Stream,
    wire::CallError,
};

/// Doubts that come closer together than this are one.
const DOUBT_PAUSE: Duration = Duration::from_millis(250);
/// How long other servers may take to learn of a subscription.
const YOUNG: Duration = Duration::from_secs(2);
/// What was found to differ may be on its way: it is asked again after this.
const SETTLE: Duration = Duration::from_secs(1);
/// Sessions that one request compares. A session has at most 33 channels of one direction, and the broker
/// answers at most 1,024.
const SESSIONS_PER_REQUEST: usize = 16;
/// Bytes of one answer; the broker brings the last entries whole.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Tells doubts, but not too many.
pub(super) async fn doubts(inner: Arc<Inner>) {
    loop {
        inner.doubt.notified().await;
        inner.watch.forget_tails();
        inner.tell(&LogEvent::Doubt);
        sleep(DOUBT_PAUSE).await;
    }
}

/// Compares the tails of sessions whose subscription was young a moment ago.
pub(super) async fn young(inner: Arc<Inner>) {
    loop {
        inner.watch.young.notified().await;
        sleep(YOUNG).await;
        let sessions = inner.watch.take_young();
        for place in inner.streams.names.places() {
            // A connection that is away comes back with a doubt.
            let _ = inner.compare(place, &sessions).await;
        }
    }
}

/// Looks at all streams from time to time.
pub(super) async fn periodically(inner: Arc<Inner>) {
    let mut before = HashMap::new();
    loop {
        sleep(jittered(inner.options.look_every)).await;
        for place in inner.streams.names.places() {
            if let Ok(true) = inner.look(place, &mut before).await {
                let sessions = inner.watch.sessions();
                let _ = inner.compare(place, &sessions).await;
            }
        }
    }
}

/// A fifth more or less.
fn jittered(time: Duration) -> Duration {
    let mut byte = [0; 1];
    let _ = getrandom::fill(&mut byte);
    time.mul_f64(0.8 + 0.4 * f64::from(byte[0]) / 255.0)
}

impl Inner {
    /// Looks at one stream; tells whether something was stored since the last look.
    async fn look(
        &self,
        place: Place,
        before: &mut HashMap<Place, (u64, u64)>,
    ) -> Result<bool, CallError> {
        let known = self.streams.current(place).await?;
        let (stream, info) = match self.streams.info(&known).await {
            Err(error) if error.is_gone() => {
                let stream = self.streams.look_again(place, known.incarnation).await?;
                let info = self.streams.info(&stream).await?;
                (stream, info)
            }
            other => (known.clone(), other?),
        };
        let last = info.state.last_seq;
        let seen = self.streams.swap_seen(place, last);
        if stream.incarnation != known.incarnation || last < seen {
            self.doubt.notify_one();
        }
        let now = (stream.incarnation, last);
        Ok(before.insert(place, now).is_some_and(|before| before != now))
    }

    /// Compares the known tails of sessions with a stream, and tells those that differ.
    async fn compare(&self, place: Place, sessions: &[SessionId]) -> Result<(), CallError> {
        let here = |session: &SessionId| self.streams.names.shard(*session) == place.shard;
        let sessions: Vec<_> = sessions.iter().copied().filter(here).collect();
        let stream = self.streams.current(place).await?;
        let mut suspects = Vec::new();
        for part in sessions.chunks(SESSIONS_PER_REQUEST) {
            suspects.extend(self.suspects(place.way, &stream, part).await?);
        }
        if suspects.is_empty() {
            return Ok(());
        }
        sleep(SETTLE).await;
        for (id, known) in suspects {
            // It moved meanwhile: events come.
            if self.watch.tail(id) != Some(known) {
                continue;
            }
            let last = self.last(&stream, &self.streams.names.subject(id)).await?;
            let offset = last.map_or(0, |last| last.sequence);
            let tail = Tail { incarnation: stream.incarnation, offset };
            if tail != known && self.watch.tail(id) == Some(known) {
                self.tell(&LogEvent::Tail { id, tail });
            }
        }
        Ok(())
    }

    /// The channels whose tail, as some replica has it, is not the known one.
    async fn suspects(
        &self,
        way: Way,
        stream: &Stream,
        sessions: &[SessionId],
    ) -> Result<Vec<(ChannelId, Tail)>, CallError> {
        let of_way = |id: &ChannelId| Way::of(id.channel) == way;
        let mut known: HashMap<ChannelId, Tail> = HashMap::new();
        for session in sessions {
            known.extend(self.watch.tails(*session).into_iter().filter(|(id, _)| of_way(id)));
        }
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let with_tails: HashSet<_> = known.keys().map(|id| id.session).collect();
        let subjects: Vec<_> =
            with_tails.iter().map(|id| self.streams.names.channels(way, *id)).collect();
        let found = self.tails(stream, subjects).await?;
        let differs = |(id, tail): &(ChannelId, Tail)| {
            tail.incarnation != stream.incarnation
                || found.get(id).copied().unwrap_or_default() != tail.offset
        };
        Ok(known.into_iter().filter(differs).collect())
    }

    /// The offsets of the last entries at these subjects, as some replica has them.
    async fn tails(
        &self,
        stream: &Stream,
        subjects: Vec<String>,
    ) -> Result<HashMap<ChannelId, u64>, CallError> {
        let target = format!("$JS.API.DIRECT.GET.{}", stream.name);
        let mut found = HashMap::new();
        let mut from = 1;
        loop {
            let body = json!({
                "multi_last": subjects, "seq": from, "batch": 1_024, "max_bytes": ANSWER_BYTES,
            });
            let mut answers = self.wire.ask(target.clone(), &body).await?;
            let before = found.len();
            loop {
                let message = answers.next().await.ok_or(CallError::Late)?;
                if message.status.is_some() {
                    let pending = message.headers.as_ref();
                    let pending = pending.and_then(|h| entry::number(h, "Nats-Num-Pending"));
                    if pending.unwrap_or_default() == 0 || found.len() == before {
                        return Ok(found);
                    }
                    break;
                }
                let garbled = || CallError::Garbled("an entry without headers".to_owned());
                let headers = message.headers.as_ref().ok_or_else(garbled)?;
                let sequence = entry::number(headers, "Nats-Sequence").ok_or_else(garbled)?;
                let subject = headers.get_last("Nats-Subject").map_or("", |value| value.as_str());
                if let Some(id) = self.streams.names.channel(subject) {
                    found.insert(id, sequence);
                }
                from = from.max(sequence + 1);
            }
        }
    }
}

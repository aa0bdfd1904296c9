//! Comparing many tails with what a stream holds, by few requests.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_nats::{Message, StatusCode};
use belay_core::ports::{ChannelId, LogEvent, Tail};
use belay_wire::SessionId;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::sleep;

use super::{
    Inner,
    answer::CallError,
    entry,
    names::{Place, Way},
    streams::Stream,
};

/// What was found to differ may be on its way: it is asked again after this.
const SETTLE: Duration = Duration::from_secs(1);
/// Sessions that one request compares. A session has at most 33 channels of one direction, and the broker
/// refuses requests that match more than 1,024.
const SESSIONS_PER_REQUEST: usize = 16;
/// Entries of one answer, and their bytes; the broker brings them whole.
const ANSWER_ENTRIES: usize = 1_024;
const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Channels that the leader is asked for at once.
const AT_ONCE: usize = 16;
/// How the broker says that nothing is there.
const NOT_FOUND: u16 = 404;

/// The last entries that some replica has.
#[derive(Debug, Default)]
struct Found {
    offsets: HashMap<ChannelId, u64>,
    /// The last entry of the stream that it has; `None` if there is none of these channels.
    up_to: Option<u64>,
}

impl Inner {
    /// Compares the known tails of sessions with the entries of a stream from `from` on, and tells those
    /// that differ. Answers up to where that holds.
    pub(super) async fn compare(
        &self,
        place: Place,
        sessions: &[SessionId],
        from: u64,
    ) -> Result<u64, CallError> {
        let here = |session: &SessionId| self.streams.names.shard(*session) == place.shard;
        let sessions: Vec<_> = sessions.iter().copied().filter(here).collect();
        let stream = self.streams.current(place).await?;
        let (mut suspects, mut up_to) = (Vec::new(), u64::MAX);
        for part in sessions.chunks(SESSIONS_PER_REQUEST) {
            let (differ, replica) = self.suspects(place.way, &stream, part, from).await?;
            suspects.extend(differ);
            up_to = up_to.min(replica);
        }
        if !suspects.is_empty() {
            sleep(SETTLE).await;
        }
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
        Ok(up_to)
    }

    /// The channels whose tail, as some replica has it, is not the known one, and up to where it has all.
    async fn suspects(
        &self,
        way: Way,
        stream: &Stream,
        sessions: &[SessionId],
        from: u64,
    ) -> Result<(Vec<(ChannelId, Tail)>, u64), CallError> {
        let of_way = |id: &ChannelId| Way::of(id.channel) == way;
        let mut known: HashMap<ChannelId, Tail> = HashMap::new();
        for session in sessions {
            known.extend(self.watch.tails(*session).into_iter().filter(|(id, _)| of_way(id)));
        }
        if known.is_empty() {
            return Ok((Vec::new(), u64::MAX));
        }
        let with_tails: HashSet<_> = known.keys().map(|id| id.session).collect();
        let names = &self.streams.names;
        let subjects: Vec<_> = with_tails.iter().map(|id| names.channels(way, *id)).collect();
        let found = match self.tails(stream, subjects, from).await {
            Err(error) if error.is_final() => self.tails_of_leader(stream, &known).await?,
            other => other?,
        };
        let differs = |(id, tail): &(ChannelId, Tail)| {
            let offset = match found.offsets.get(id) {
                Some(offset) => *offset,
                None if from > 1 && found.up_to.is_some() => tail.offset,
                None => 0,
            };
            tail.incarnation != stream.incarnation || offset != tail.offset
        };
        Ok((known.into_iter().filter(differs).collect(), found.up_to.unwrap_or(u64::MAX)))
    }

    /// The same from the leader, one by one: the broker is older than 2.11, the settings of the stream
    /// forbid to ask replicas, or there are too many channels.
    async fn tails_of_leader(
        &self,
        stream: &Stream,
        known: &HashMap<ChannelId, Tail>,
    ) -> Result<Found, CallError> {
        let last = |id: ChannelId| async move {
            let last = self.last(stream, &self.streams.names.subject(id)).await?;
            Ok::<_, CallError>((id, last.map_or(0, |last| last.sequence)))
        };
        let each: Vec<_> = known.keys().copied().map(last).collect();
        let each = stream::iter(each).buffer_unordered(AT_ONCE);
        Ok(Found { offsets: each.try_collect().await?, up_to: Some(u64::MAX) })
    }

    /// The last entries at these subjects from `from` on.
    async fn tails(
        &self,
        stream: &Stream,
        subjects: Vec<String>,
        mut from: u64,
    ) -> Result<Found, CallError> {
        if !self.has_batches() {
            return Err(CallError::Nobody);
        }
        let target = format!("$JS.API.DIRECT.GET.{}", stream.name);
        let mut found = Found::default();
        loop {
            let body = json!({
                "multi_last": subjects, "seq": from,
                "batch": ANSWER_ENTRIES, "max_bytes": ANSWER_BYTES,
            });
            let mut answers = self.wire.ask(target.clone(), &body).await?;
            let start = from;
            let end = loop {
                let message = answers.next().await.ok_or(CallError::Late)?;
                if message.status.is_some() {
                    break message;
                }
                let (subject, sequence) = place_of(&message)?;
                found.offsets.extend(self.streams.names.channel(subject).map(|id| (id, sequence)));
                from = from.max(sequence + 1);
            };
            let (pending, up_to) = end_of(&end)?;
            found.up_to = up_to.map(|up_to| found.up_to.map_or(up_to, |before| before.min(up_to)));
            if pending == 0 || from == start {
                return Ok(found);
            }
        }
    }
}

/// The subject and sequence of an entry.
fn place_of(message: &Message) -> Result<(&str, u64), CallError> {
    let garbled = || CallError::Garbled("an entry without its place".to_owned());
    let headers = message.headers.as_ref().ok_or_else(garbled)?;
    let sequence = entry::number(headers, "Nats-Sequence").ok_or_else(garbled)?;
    Ok((headers.get_last("Nats-Subject").ok_or_else(garbled)?.as_str(), sequence))
}

/// How many entries did not fit, and what the replica has, from the message that ends an answer.
fn end_of(message: &Message) -> Result<(u64, Option<u64>), CallError> {
    let status = message.status.map_or(0, |status| status.as_u16());
    if status == NOT_FOUND {
        return Ok((0, None));
    }
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(CallError::Nobody);
    }
    let number = |name| message.headers.as_ref().and_then(|h| entry::number(h, name));
    let ends = number("Nats-Num-Pending").zip(number("Nats-UpTo-Sequence"));
    let (pending, up_to) = ends.ok_or_else(|| CallError::Refused {
        code: status.into(),
        description: message.description.clone().unwrap_or_default(),
    })?;
    Ok((pending, Some(up_to)))
}

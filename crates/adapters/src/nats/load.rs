//! Reading a channel. Its tail is read from the stream's leader, because another replica may be behind;
//! the rest from any replica, as far as it has it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use belay_core::ports::{ChannelId, Entry, Loaded, Tail};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::{
    Inner,
    answer::{CallError, codes},
    entry::{self, Chain},
    streams::Stream,
    wire::REQUEST_TIMEOUT,
};

/// How long reading a channel may take, with what waits before it.
pub(super) const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Channels that are read at once; others wait.
pub(super) const LOADS_MAX: usize = 128;
/// Tries, if the stream turns out to be gone.
const TRIES: usize = 3;
/// Entries of one answer of a replica, and their bytes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Readers of one channel, if the leader must be asked for each entry.
const READERS: u64 = 8;

/// An entry as it is stored.
pub(super) struct Raw {
    pub(super) sequence: u64,
    /// The entry before it, if its header tells.
    pub(super) previous: Option<u64>,
    pub(super) data: Bytes,
}

#[derive(Deserialize)]
struct Got {
    message: GotMessage,
}

#[derive(Deserialize)]
struct GotMessage {
    seq: u64,
    hdrs: Option<String>,
    data: Option<String>,
}

impl Inner {
    /// Reads tail and retained entries.
    pub(super) async fn load(&self, id: ChannelId) -> Result<Loaded, CallError> {
        self.watch.until_subscribed(id.session).await;
        let _turn = self.loads.acquire().await.map_err(|_| CallError::Away)?;
        let place = self.streams.names.place(id);
        let mut failed = CallError::Nobody;
        for _ in 0..TRIES {
            let stream = self.streams.current(place).await?;
            match self.load_from(&stream, id).await {
                Err(error) if error.is_gone() => {
                    self.streams.look_again(place, stream.incarnation).await?;
                    failed = error;
                }
                Err(error @ CallError::Late) => failed = error,
                Err(error) => return Err(error),
                Ok(loaded) => {
                    self.watch.set_tail(id, loaded.tail);
                    self.streams.saw(place, loaded.tail.incarnation, loaded.tail.offset);
                    return Ok(loaded);
                }
            }
        }
        Err(failed)
    }

    async fn load_from(&self, stream: &Stream, id: ChannelId) -> Result<Loaded, CallError> {
        let subject = self.streams.names.subject(id);
        let empty = Tail { incarnation: stream.incarnation, offset: 0 };
        let Some(last) = self.last(stream, &subject).await? else {
            return Ok(Loaded { tail: empty, entries: Vec::new() });
        };
        let tail = Tail { offset: last.sequence, ..empty };
        let mut raw = self.read_replica(stream, &subject, tail.offset).await;
        let known = raw.last().map_or(0, |entry| entry.sequence);
        if last.previous != Some(known) {
            raw.extend(self.read_leader(stream, &subject, known + 1, tail.offset).await?);
        }
        raw.push(last);
        let mut entries = Vec::with_capacity(raw.len());
        for Raw { sequence, previous, data } in raw {
            match entry::decode(data) {
                Ok(records) => entries.push(Entry { offset: sequence, records }),
                Err(error) => {
                    self.unreadable.count(stream.incarnation, sequence, error);
                    if let Some(version) = error.newer(previous) {
                        return Err(CallError::Newer(version));
                    }
                }
            }
        }
        Ok(Loaded { tail, entries })
    }

    /// The last entry of a subject, from the leader.
    pub(super) async fn last(
        &self,
        stream: &Stream,
        subject: &str,
    ) -> Result<Option<Raw>, CallError> {
        self.get(stream, &json!({ "last_by_subj": subject })).await
    }

    async fn get(
        &self,
        stream: &Stream,
        which: &serde_json::Value,
    ) -> Result<Option<Raw>, CallError> {
        let operation = format!("STREAM.MSG.GET.{}", stream.name);
        let got: Got = match self.wire.call(&operation, which, REQUEST_TIMEOUT).await {
            Err(CallError::Refused { code: codes::NO_MESSAGE, .. }) => return Ok(None),
            other => other?,
        };
        let garbled = |_| CallError::Garbled("an entry is not base64".to_owned());
        let decode = |text: Option<String>| BASE64.decode(text.unwrap_or_default());
        let data = decode(got.message.data).map_err(garbled)?;
        let headers = decode(got.message.hdrs).map_err(garbled)?;
        let previous = Chain::previous(&String::from_utf8_lossy(&headers));
        Ok(Some(Raw { sequence: got.message.seq, previous, data: data.into() }))
    }

    /// The entries before `end`, as far as a replica has them and tells them in time.
    async fn read_replica(&self, stream: &Stream, subject: &str, end: u64) -> Vec<Raw> {
        let mut raw: Vec<Raw> = Vec::new();
        if !self.has_batches() {
            return raw;
        }
        let target = format!("$JS.API.DIRECT.GET.{}", stream.name);
        loop {
            let from = raw.last().map_or(1, |entry| entry.sequence + 1);
            let body = json!({
                "next_by_subj": subject, "seq": from, "batch": BATCH, "max_bytes": BATCH_BYTES,
            });
            let before = raw.len();
            let Ok(mut answers) = self.wire.ask(target.clone(), &body).await else { return raw };
            loop {
                let Some(message) = answers.next().await else { return raw };
                if message.status.is_some() {
                    break;
                }
                let Some(headers) = &message.headers else { return raw };
                let Some(sequence) = entry::number(headers, "Nats-Sequence") else { return raw };
                if sequence >= end {
                    return raw;
                }
                let previous = entry::number(headers, entry::EXPECTED);
                raw.push(Raw { sequence, previous, data: message.payload });
            }
            if raw.len() == before {
                return raw;
            }
        }
    }

    /// The entries from `start` to before `end`, each asked for.
    async fn read_leader(
        &self,
        stream: &Stream,
        subject: &str,
        start: u64,
        end: u64,
    ) -> Result<Vec<Raw>, CallError> {
        let Some(first) = self.next(stream, subject, start).await? else { return Ok(Vec::new()) };
        if first.sequence >= end {
            return Ok(Vec::new());
        }
        let (from, span) = (first.sequence + 1, end - first.sequence - 1);
        let step = span.div_ceil(READERS).max(1);
        let parts = (0..READERS).map(|n| from + n * step).take_while(|at| *at < end);
        let parts: Vec<_> =
            parts.map(|at| self.part(stream, subject, at, (at + step).min(end))).collect();
        let parts = stream::iter(parts).buffered(usize::try_from(READERS).unwrap_or(1));
        let rest: Vec<Vec<Raw>> = parts.try_collect().await?;
        Ok(std::iter::once(first).chain(rest.into_iter().flatten()).collect())
    }

    async fn part(
        &self,
        stream: &Stream,
        subject: &str,
        mut at: u64,
        end: u64,
    ) -> Result<Vec<Raw>, CallError> {
        let mut raw = Vec::new();
        while at < end
            && let Some(entry) = self.next(stream, subject, at).await?
            && entry.sequence < end
        {
            at = entry.sequence + 1;
            raw.push(entry);
        }
        Ok(raw)
    }

    async fn next(
        &self,
        stream: &Stream,
        subject: &str,
        at: u64,
    ) -> Result<Option<Raw>, CallError> {
        self.get(stream, &json!({ "next_by_subj": subject, "seq": at })).await
    }
}

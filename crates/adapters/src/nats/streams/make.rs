//! A stream is found, or made.

use std::{sync::atomic::Ordering, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    super::{
        answer::{CallError, codes},
        names::Place,
        options::NatsError,
        settings,
        wire::REQUEST_TIMEOUT,
    },
    RETRY_AFTER, Stream, Streams,
};

/// How long the broker may take to make a stream: with replicas they must choose a leader.
const MAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Tries to find or make a stream, if nodes do it at once.
const TRIES: usize = 5;

/// What stands against a stream.
pub(super) enum Trouble {
    /// Trying again may help.
    Call(CallError),
    /// It needs an operator.
    Final(NatsError),
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl Streams {
    pub(super) async fn find_or_make(&self, place: Place) -> Result<Stream, Trouble> {
        let mut last = CallError::Nobody;
        for _ in 0..TRIES {
            let found = match self.find(place).await? {
                Some(stream) => self.check(place, &stream).await.map(|()| stream),
                None => self.make(place).await,
            };
            match found {
                Ok(stream) => {
                    let slot = self.slot(place);
                    let before = slot.incarnation.swap(stream.incarnation, Ordering::AcqRel);
                    if before != stream.incarnation {
                        slot.seen.store(0, Ordering::Release);
                    }
                    return Ok(stream);
                }
                // Another node made it in this moment.
                Err(Trouble::Call(CallError::Refused {
                    code: code @ (codes::OVERLAP | codes::NAME_EXISTS | codes::STREAM_NOT_FOUND),
                    description,
                })) => last = CallError::Refused { code, description },
                Err(other) => return Err(other),
            }
            sleep(RETRY_AFTER).await;
        }
        Err(Trouble::Call(last))
    }

    async fn find(&self, place: Place) -> Result<Option<Stream>, Trouble> {
        #[derive(Deserialize)]
        struct Found {
            streams: Option<Vec<String>>,
        }
        let subjects = self.names.subjects(place);
        let filter = json!({ "subject": subjects });
        let found: Found = self.wire.call("STREAM.NAMES", &filter, REQUEST_TIMEOUT).await?;
        let mut names = found.streams.unwrap_or_default().into_iter();
        let Some(name) = names.next() else { return Ok(None) };
        match (self.names.incarnation(place, &name), names.next()) {
            (Some(incarnation), None) => Ok(Some(Stream { name, incarnation })),
            (Some(_), Some(stream)) => Err(Trouble::Final(NatsError::Taken { stream, subjects })),
            (None, _) => Err(Trouble::Final(NatsError::Taken { stream: name, subjects })),
        }
    }

    /// Tells whether a stream is as it should be.
    async fn check(&self, place: Place, stream: &Stream) -> Result<(), Trouble> {
        let info = self.info(stream).await?;
        let wanted = settings::wanted(&self.options, &self.names, place, stream.incarnation);
        settings::check_shards(&self.options, &info.config).map_err(Trouble::Final)?;
        let differ = settings::drift(&wanted, &info.config);
        if !differ.is_empty() {
            let note = format!("stream {} differs from what is configured: {differ}", stream.name);
            self.notes.lock().insert(note);
        }
        Ok(())
    }

    async fn make(&self, place: Place) -> Result<Stream, Trouble> {
        let mut bytes = [0; 8];
        let drawn = getrandom::fill(&mut bytes);
        drawn.map_err(|e| Trouble::Call(CallError::Garbled(e.to_string())))?;
        // 0 is the incarnation of logs that were never read.
        let incarnation = u64::from_be_bytes(bytes).max(1);
        let config = settings::wanted(&self.options, &self.names, place, incarnation);
        let name = self.names.stream(place, incarnation);
        let operation = format!("STREAM.CREATE.{name}");
        match self.wire.call::<Value>(&operation, &config, MAKE_TIMEOUT).await {
            Ok(_) => Ok(Stream { name, incarnation }),
            Err(CallError::Refused { code, description })
                if code == codes::REPLICAS
                    || (code == codes::NO_PEERS && self.options.replicas > 1) =>
            {
                let wanted = self.options.replicas;
                Err(Trouble::Final(NatsError::Replicas { wanted, reason: description }))
            }
            Err(error) => Err(Trouble::Call(error)),
        }
    }
}

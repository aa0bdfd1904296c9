//! A desktop or phone: sends numbers, notes what it applies, goes on after a crash.

use std::{path::PathBuf, sync::Arc, time::Duration};

use belay_chaos::lists::{Applied, Sent};
use belay_client::{
    Client, ClientError, Credentials, Event, Identity, Memory, MemoryCredentials, Options,
    OutboxFile,
};
use belay_wire::{Channel, Frame, MemberId, Position};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    net::{Network, Trace, unix_ms},
    notes::Notes,
    relay,
    setup::{Phase, Setup, number, payload},
    world::SESSION,
};

/// Between two messages, milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 20..300;
/// So many of a hundred pauses end with a burst, and how much that is: it may exceed the relay's window.
const BURST_PERCENT: u64 = 1;
const BURST_MAX: u64 = 150;

/// A party, with all that outlives its processes.
pub(crate) struct Party {
    pub(crate) name: &'static str,
    pub(crate) member: Option<MemberId>,
    pub(crate) identity: Identity,
    pub(crate) writes: Vec<Channel>,
    pub(crate) reads: Vec<Channel>,
    credentials: Arc<MemoryCredentials>,
    outbox: Option<PathBuf>,
    pub(crate) notes: Mutex<Notes>,
    phase: Phase,
    trace: Trace,
}

impl Party {
    pub(crate) fn new(setup: Setup, phase: Phase, trace: Trace) -> Self {
        let Setup { name, member, identity, token, writes, reads, outbox, rng } = setup;
        let credentials = Credentials { relay: relay::url(), session: SESSION, member, token };
        let notes = Notes::new(rng, &writes, &reads);
        let credentials = Arc::new(MemoryCredentials::new(credentials));
        let notes = Mutex::new(notes);
        Self { name, member, identity, writes, reads, credentials, outbox, notes, phase, trace }
    }

    /// One process of it.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let outbox = self.outbox.as_deref().map(OutboxFile::open).transpose()?;
        let options = Options {
            credentials: self.credentials.clone(),
            identity: self.identity.clone(),
            name: self.name.to_owned(),
            version: "0".to_owned(),
        };
        let memory = Memory { outbox, applied: self.positions() };
        let (client, mut events) = Client::resume_over(options, memory, Arc::new(Network));
        let mut next = Instant::now();
        loop {
            let doze = self.notes.lock().doze.take();
            if let Some(doze) = doze {
                tokio::time::sleep(doze).await;
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + self.tick(&client)?;
                }
                event = events.recv() => match event {
                    Some(event) => self.note(&client, event)?,
                    None => return Ok(()),
                }
            }
        }
    }

    fn positions(&self) -> Vec<(Channel, Position)> {
        let notes = self.notes.lock();
        let lines = |(channel, lines): (&Channel, &Vec<Applied>)| {
            let at: Vec<_> = lines.iter().map(|line| (*channel, line.at())).collect();
            at
        };
        notes.applied.iter().flat_map(lines).collect()
    }

    /// Sends or not; gives the time to the next call.
    fn tick(&self, client: &Client) -> anyhow::Result<Duration> {
        let mut notes = self.notes.lock();
        let pause = Duration::from_millis(PAUSE_MS.start + notes.rng.below(PAUSE_MS.end));
        if self.phase.is_sending() {
            let at = notes.rng.below(self.writes.len() as u64);
            let channel = self.writes[usize::try_from(at)?];
            let burst = notes.rng.chance(BURST_PERCENT);
            let count = if burst { notes.rng.below(BURST_MAX) } else { 1 };
            for _ in 0..count {
                self.send(&mut notes, client, channel)?;
            }
        }
        let stored = |channel| client.stored(channel);
        notes.unsure.retain(|(channel, _, at)| {
            stored(*channel).is_none_or(|s| s.epoch != at.epoch || s.seq < at.seq)
        });
        let is_stored = |channel: &Channel| stored(*channel) == client.head(*channel);
        notes.is_stored = client.is_online() && self.writes.iter().all(is_stored);
        Ok(pause)
    }

    fn send(&self, notes: &mut Notes, client: &Client, channel: Channel) -> anyhow::Result<()> {
        let sent = notes.sent.entry(channel).or_default();
        let n = sent.last_key_value().map_or(0, |(n, _)| n + 1);
        match client.send(channel, payload(n)?, None) {
            Ok(at) => {
                sent.insert(n, Sent::Done(n));
                if self.outbox.is_none() {
                    notes.unsure.push((channel, n, at));
                }
            }
            // The next tick tries the same.
            Err(ClientError::Full(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn note(&self, client: &Client, event: Event) -> anyhow::Result<()> {
        let mut notes = self.notes.lock();
        match event {
            Event::Message(message) => {
                let n = number(&message.payload)?;
                let (channel, at) = (message.channel, message.position);
                let lines = notes.applied.entry(channel).or_default();
                lines.push(Applied::Message { at, n, ms: unix_ms() });
                self.trace.note(self.name, &format!("{channel} {n}"));
                client.applied(channel, at);
            }
            Event::Frame(frame) => self.note_frame(&mut notes, client, &frame),
            Event::Connected(_) => {
                notes.was_connected = true;
                self.trace.note(self.name, "connected");
            }
            Event::Disconnected { reason, .. } => self.trace.note(self.name, &reason),
            Event::Stopped { code, reason } => {
                let why = format!("the relay said {code} {reason}; it tries no more");
                self.trace.note(self.name, &why);
                notes.stopped = Some(why);
            }
            Event::GivenUp { channel, messages } => {
                for message in messages {
                    let n = number(&message.payload)?;
                    notes.sent.entry(channel).or_default().insert(n, Sent::Unknown(n));
                    notes.given_up += 1;
                    self.trace.note(self.name, &format!("{channel} {n} given up"));
                }
            }
            Event::Volatile { .. } => {}
        }
        Ok(())
    }

    fn note_frame(&self, notes: &mut Notes, client: &Client, frame: &Frame) {
        self.trace.note(self.name, frame.kind());
        let Some((channel, at)) = Client::place_of(frame) else { return };
        let gap = |reason: String| Applied::Gap { at, reason };
        let line = if let Frame::Gap(told) = frame {
            gap(told.reason.clone())
        } else if let Frame::Skip(told) = frame {
            gap(format!("skip: {}", told.reason))
        } else {
            Applied::Place { at }
        };
        notes.applied.entry(channel).or_default().push(line);
        client.applied(channel, at);
    }
}

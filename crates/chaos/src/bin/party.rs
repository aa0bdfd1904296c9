//! A host or a phone of the chaos test: sends numbers, notes what it applies, goes on after kill -9.
//!
//! `chaos-party FOLDER PER_SECOND CHANNEL...`: writes these channels until there is a file `stop` in the
//! folder, then makes the file `settled` once the relay has stored all of it. While there is a file `drop` it
//! does not note every tenth message: a mistake that the auditor must find.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use belay_chaos::lists::{self, Applied, List, Sent, unix_ms};
use belay_client::{
    Client, ClientError, Event, FileCredentials, GivenUp, Identity, Memory, Options, OutboxFile,
};
use belay_wire::{Channel, Frame, Position, RawJson};

/// A channel that is written.
struct Source {
    list: List,
    next: u64,
}

struct Party {
    folder: PathBuf,
    client: Client,
    sources: BTreeMap<Channel, Source>,
    applied: BTreeMap<Channel, List>,
    links: List,
    /// Makes the planted mistake.
    drops: bool,
}

/// The planted mistake strikes one message of so many.
const DROPPED: u64 = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().context("a folder")?);
    let per_second: u32 = args.next().context("a rate")?.parse()?;
    let channels: Vec<Channel> =
        args.map(|text| text.parse().map_err(anyhow::Error::msg)).collect::<Result<_, _>>()?;
    let outbox = OutboxFile::open(&folder.join("outbox"))?;
    let memory = Memory { outbox: Some(outbox), applied: positions(&folder)? };
    let options = Options {
        credentials: Arc::new(FileCredentials::new(&folder.join("credentials.json"))),
        identity: Identity::open(&folder.join("identity"))?,
        name: "chaos".to_owned(),
        version: "0".to_owned(),
    };
    let (client, mut events) = Client::resume(options, memory);
    let open = |channel| Ok((channel, Source::open(&folder, channel, &client)?));
    let sources = channels.into_iter().map(open).collect::<anyhow::Result<_>>()?;
    let links = List::open(&folder.join("links"))?;
    let mut party =
        Party { folder, client, sources, applied: BTreeMap::new(), links, drops: false };
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = events.recv() => party.note(event.context("the client stopped")?)?,
            _ = ticks.tick() => party.tick()?,
        }
    }
}

/// The places of what was applied before.
fn positions(folder: &Path) -> anyhow::Result<Vec<(Channel, Position)>> {
    let mut positions = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let Some(channel) = name.strip_prefix("applied-") else { continue };
        let channel: Channel = channel.replacen('-', "/", 1).parse().map_err(anyhow::Error::msg)?;
        let applied = lists::read_applied(&entry.path())?;
        positions.extend(applied.into_iter().map(|line| (channel, line.at())));
    }
    Ok(positions)
}

fn number(payload: &RawJson) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(payload.text()).ok()?["n"].as_u64()
}

/// Mostly small, sometimes some kilobytes.
fn payload(n: u64) -> anyhow::Result<RawJson> {
    let size = if n.is_multiple_of(97) { 20_000 } else { usize::try_from(n * 37 % 300)? };
    Ok(RawJson::of(&serde_json::json!({ "n": n, "x": "x".repeat(size) }))?)
}

impl Source {
    /// Goes on after what was sent; of the last one it may not be known whether the client took it.
    fn open(folder: &Path, channel: Channel, client: &Client) -> anyhow::Result<Self> {
        let path = lists::path(folder, "sent", channel);
        let mut list = List::open(&path)?;
        let sent = lists::read_sent(&path)?;
        if let Some((n, Sent::Try(_))) = sent.last_key_value() {
            let is_held = client.held(channel).iter().any(|p| number(p) == Some(*n));
            let word = if is_held { Sent::Done(*n) } else { Sent::Unknown(*n) };
            list.add(&lists::sent_line(word))?;
        }
        Ok(Self { list, next: sent.last_key_value().map_or(0, |(n, _)| n + 1) })
    }

    fn send(&mut self, channel: Channel, client: &Client) -> anyhow::Result<()> {
        let n = self.next;
        self.list.add(&lists::sent_line(Sent::Try(n)))?;
        match client.send(channel, payload(n)?, None) {
            Ok(_) => self.list.add(&lists::sent_line(Sent::Done(n)))?,
            // It was not taken; the next tick tries the same.
            Err(ClientError::Full(_) | ClientError::NotKept(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.next += 1;
        Ok(())
    }
}

impl Party {
    fn tick(&mut self) -> anyhow::Result<()> {
        self.drops = self.folder.join("drop").exists();
        if !self.folder.join("stop").exists() {
            for (channel, source) in &mut self.sources {
                source.send(*channel, &self.client)?;
            }
            return Ok(());
        }
        let is_stored =
            |channel: &Channel| self.client.stored(*channel) == self.client.head(*channel);
        if self.client.is_online() && self.sources.keys().all(is_stored) {
            std::fs::write(self.folder.join("settled"), "")?;
        } else {
            let _ = std::fs::remove_file(self.folder.join("settled"));
        }
        Ok(())
    }

    fn note(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Connected(_) => self.links.add(&format!("up {}", unix_ms()))?,
            Event::Disconnected { reason, .. } => {
                self.links.add(&format!("down {} {reason}", unix_ms()))?;
            }
            Event::Stopped { code, reason } => {
                self.links.add(&format!("stopped {} {code} {reason}", unix_ms()))?;
                anyhow::bail!("the relay said {code} {reason}");
            }
            Event::Message(message) => {
                let n = number(&message.payload).context("a number")?;
                let (at, ms) = (message.position, unix_ms());
                if self.drops && n.is_multiple_of(DROPPED) {
                    self.client.applied(message.channel, at);
                    return Ok(());
                }
                self.apply(message.channel, &Applied::Message { at, n, ms })?;
            }
            Event::GivenUp { channel, messages } => self.given_up(channel, &messages)?,
            Event::Frame(frame) => self.note_frame(&frame)?,
            Event::Volatile { .. } => {}
        }
        Ok(())
    }

    fn note_frame(&mut self, frame: &Frame) -> anyhow::Result<()> {
        let Some((channel, at)) = Client::place_of(frame) else { return Ok(()) };
        let applied = if let Frame::Gap(gap) = frame {
            Applied::Gap { at, reason: gap.reason.clone() }
        } else if let Frame::Skip(skip) = frame {
            Applied::Gap { at, reason: format!("skip: {}", skip.reason) }
        } else {
            Applied::Place { at }
        };
        self.apply(channel, &applied)
    }

    fn apply(&mut self, channel: Channel, applied: &Applied) -> anyhow::Result<()> {
        let list = match self.applied.entry(channel) {
            std::collections::btree_map::Entry::Occupied(list) => list.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(List::open(&lists::path(&self.folder, "applied", channel))?)
            }
        };
        list.add(&lists::applied_line(applied))?;
        self.client.applied(channel, applied.at());
        Ok(())
    }

    fn given_up(&mut self, channel: Channel, messages: &[GivenUp]) -> anyhow::Result<()> {
        let Some(source) = self.sources.get_mut(&channel) else { return Ok(()) };
        for n in messages.iter().filter_map(|message| number(&message.payload)) {
            source.list.add(&lists::sent_line(Sent::Unknown(n)))?;
        }
        Ok(())
    }
}

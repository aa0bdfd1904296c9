//! Plays the clients of a transcript against a relay, and compares what it tells with what was told then.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::{
    Answer, Heard, Net, Wire,
    transcript::{Transcript, What, is_made, is_time},
};

/// How long a relay may take to tell what it told then.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is open while a transcript plays.
#[derive(Default)]
struct Stage {
    /// What the relay made then, and what it made now.
    now: BTreeMap<String, String>,
    wires: BTreeMap<u32, Wire>,
    calls: BTreeMap<u32, JoinHandle<Result<Answer, reqwest::Error>>>,
}

/// Plays a transcript, recorded or normalised, line by line. `Err` names the first line that came out
/// otherwise, and how.
pub async fn replay(transcript: &Transcript, relay: &str) -> Result<(), String> {
    let mut stage = Stage::default();
    for (at, line) in transcript.0.iter().enumerate() {
        let played = stage.play(relay, line.conversation, &line.what).await;
        played.map_err(|why| format!("line {}: {why}", at + 1))?;
    }
    Ok(())
}

impl Stage {
    async fn play(&mut self, relay: &str, id: u32, what: &What) -> Result<(), String> {
        match what {
            What::Call { path, body } => {
                let (net, path, body) = (Net::native(relay), path.clone(), self.to_now(body));
                let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                self.calls.insert(
                    id,
                    tokio::spawn(async move {
                        let json = [("content-type", "application/json")];
                        net.try_raw("POST", &path, &json, text).await
                    }),
                );
                // A call that waits for somebody must reach the relay before what follows.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(())
            }
            What::Answer { status, body } => {
                let call = self.calls.remove(&id).ok_or("an answer without its call")?;
                let answer = call.await.map_err(|error| error.to_string())?;
                let answer =
                    answer.map_err(|error| format!("the relay does not answer: {error}"))?;
                if answer.status != *status {
                    return Err(format!("{status} then, {} now: {}", answer.status, answer.text));
                }
                self.compare("body", body, &answer.body)
            }
            What::Open { origin } => {
                let net = match origin {
                    Some(origin) => Net::page(relay, origin),
                    None => Net::native(relay),
                };
                let opened = net.try_open("/ws").await;
                let wire = opened.map_err(|status| format!("the upgrade is refused: {status}"))?;
                self.wires.insert(id, wire);
                Ok(())
            }
            What::Said(value) => {
                let value = self.to_now(value);
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                self.wire(id)?.send_message(Message::text(text)).await;
                Ok(())
            }
            What::Told(told) => match self.hear(id).await? {
                Heard::Json(now) => self.compare("message", told, &now),
                other => Err(format!("then {told}, now {other:?}")),
            },
            What::Closed { code, reason } => match self.hear(id).await? {
                Heard::Closed { code: c, reason: r } if (c, &r) == (*code, reason) => Ok(()),
                Heard::Broken if *code == 0 => Ok(()),
                other => Err(format!("closed with {code} {reason} then, now {other:?}")),
            },
            What::Left {} => {
                self.wires.remove(&id);
                Ok(())
            }
        }
    }

    fn wire(&mut self, id: u32) -> Result<&mut Wire, String> {
        self.wires.get_mut(&id).ok_or_else(|| format!("conversation {id} is not open"))
    }

    async fn hear(&mut self, id: u32) -> Result<Heard, String> {
        let heard = tokio::time::timeout(PATIENCE, self.wire(id)?.listen()).await;
        heard.map_err(|_| "nothing is told now".to_owned())
    }

    /// What a client says, with what the relay made now in the place of what it made then.
    fn to_now(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.now.get(text).unwrap_or(text).clone().into(),
            Value::Array(items) => items.iter().map(|item| self.to_now(item)).collect(),
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| (name.clone(), self.to_now(value));
                Value::Object(members.iter().map(member).collect())
            }
            other => other.clone(),
        }
    }

    fn compare(&mut self, at: &str, then: &Value, now: &Value) -> Result<(), String> {
        match (then, now) {
            (Value::Object(then), Value::Object(now)) => {
                let (mut names, mut others) = (then.keys(), now.keys());
                let missing = names.find(|name| !now.contains_key(*name));
                let added = others.find(|name| !then.contains_key(*name));
                if let Some(name) = missing.or(added) {
                    let what = if missing.is_some() { "missing now" } else { "new" };
                    return Err(format!("{at}.{name} is {what}"));
                }
                let mut members = then.iter();
                members.try_for_each(|(name, value)| self.member(at, name, value, &now[name]))
            }
            (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
                then.iter().zip(now).try_for_each(|(then, now)| self.compare(at, then, now))
            }
            (then, now) if self.to_now(then) == *now => Ok(()),
            (then, now) => Err(format!("{at}: {then} then, {now} now")),
        }
    }

    fn member(&mut self, at: &str, name: &str, then: &Value, now: &Value) -> Result<(), String> {
        let at = format!("{at}.{name}");
        match (then, now) {
            (Value::String(_), Value::String(_)) if is_time(name) || name == "wsURL" => Ok(()),
            (Value::String(then), Value::String(now)) if is_made(name) => {
                let known = self.now.entry(then.clone()).or_insert_with(|| now.clone());
                if known == now { Ok(()) } else { Err(format!("{at} is another one's")) }
            }
            _ => self.compare(&at, then, now),
        }
    }
}

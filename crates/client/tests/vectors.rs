//! The delivery vectors, which the TypeScript client reads, too: both behave the same.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of many")]

use belay_client::{Applied, Reader, Writer};
use belay_wire::{Channel, Epoch, Frame, Nack, NackReason, Position, RawJson, Seq, Verdict};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vectors {
    verdicts: Vec<(Option<u16>, Value)>,
    readers: Vec<ReaderCase>,
    writers: Vec<WriterCase>,
}

#[derive(Deserialize)]
struct ReaderCase {
    name: String,
    steps: Vec<Judged>,
    resume: Value,
}

/// A frame, the verdict, and the bounds of what is given up before it.
#[derive(Deserialize)]
struct Judged(Value, String, #[serde(default)] Option<[u64; 2]>);

#[derive(Deserialize)]
struct WriterCase {
    name: String,
    steps: Vec<Vec<Value>>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../wire/vectors/delivery.json")).expect("readable")
}

/// A frame of the vectors; `k` comes first on the wire.
fn frame(value: &Value) -> Frame {
    let mut members = value.as_object().expect("an object").clone();
    let kind = members.remove("k").expect("a kind");
    let rest = Value::Object(members).to_string();
    belay_wire::decode(&format!("{{\"k\":{kind},{}", &rest[1..])).expect("a frame")
}

#[test]
fn close_codes_have_the_same_verdict() {
    for (code, verdict) in vectors().verdicts {
        let found = serde_json::to_value(Verdict::of(code)).expect("JSON");
        assert_eq!(found, verdict, "{code:?}");
    }
}

#[test]
fn readers_judge_the_same() {
    for case in vectors().readers {
        let mut reader = Reader::default();
        for Judged(value, verdict, missing) in case.steps {
            let found = match reader.judge(&frame(&value)) {
                Applied::Next => "next",
                Applied::Known => "known",
                Applied::Hole => "hole",
            };
            assert_eq!(found, verdict, "{}: {value}", case.name);
            if let Some(missing) = missing {
                let gap = reader.give_up(&frame(&value)).expect("bounds");
                assert_eq!([gap.from.value(), gap.to.value()], missing, "{}: {value}", case.name);
            }
        }
        let resume = serde_json::to_value(reader.resume()).expect("JSON");
        assert_eq!(resume, case.resume, "{}", case.name);
    }
}

fn seq(value: &Value) -> Seq {
    Seq::new(value.as_u64().expect("a number")).expect("small")
}

fn shown(frame: &Frame) -> String {
    match frame {
        Frame::Msg(m) => {
            let was: Vec<_> = m.was.iter().map(|name| format!(" was {}", name.seq)).collect();
            format!("msg {}{}", m.seq, was.concat())
        }
        Frame::Void(v) => format!("void {}", v.seq),
        Frame::Skip(s) => format!("skip {}", s.to),
        Frame::EpochFrame(e) => format!("epoch {}", e.base),
        other => other.kind().to_owned(),
    }
}

/// A writer of the vectors and the epoch that it stands in.
struct Walk {
    writer: Writer,
    epoch: Epoch,
}

impl Walk {
    fn step(&mut self, name: &str, step: &[Value]) {
        let (what, with) = (step[0].as_str().expect("a word"), &step[1]);
        match what {
            "push" => (0..with.as_u64().expect("a number")).for_each(|n| {
                self.writer.push(RawJson::of(&n).expect("JSON"), None).expect("room");
            }),
            "welcomed" => {
                let accepted: Option<Position> =
                    serde_json::from_value(with.clone()).expect("a position");
                let given_up = self.writer.welcomed(accepted, Epoch(2));
                assert_eq!(given_up, [], "{name}");
            }
            "acked" => {
                self.writer.acked(Position::new(self.epoch, seq(with)));
            }
            "stable" => self.writer.stable(Position::new(self.epoch, seq(with))),
            "nacked" => self.nacked(with, seq(&step[2])),
            "frames" => {
                let frames: Vec<_> = self.writer.frames(100, 1_000_000).iter().map(shown).collect();
                let expected: Vec<String> = serde_json::from_value(with.clone()).expect("words");
                assert_eq!(frames, expected, "{name}");
            }
            "base" => assert_eq!(self.writer.base().seq, seq(with), "{name}"),
            other => panic!("{other} is no step"),
        }
    }

    fn nacked(&mut self, reason: &Value, expect: Seq) {
        let reason: NackReason = serde_json::from_value(reason.clone()).expect("known");
        let (ch, epoch) = (channel(), Some(self.epoch));
        let nack = Nack { ch, epoch, expect: Some(expect), reason, retry_ms: None };
        self.writer.nacked(&nack, Epoch(2));
        if reason == NackReason::EpochClosed {
            self.epoch = Epoch(2);
        }
    }
}

fn channel() -> Channel {
    Channel::Up("MDEyMzQ1Njc4OWFiY2RlZg".parse().expect("an id"))
}

#[test]
fn writers_send_the_same() {
    for case in vectors().writers {
        let mut walk = Walk { writer: Writer::new(channel(), Epoch(1)), epoch: Epoch(1) };
        for step in &case.steps {
            walk.step(&case.name, step);
        }
    }
}

//! What nodes tell each other, as bytes: version, length of the head, head (JSON), body, and a MAC over the
//! subject and all of it.

mod kind;

use belay_core::ports::BusFrame;
use bytes::{Buf, BufMut, Bytes};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use self::kind::split;

/// Version of this encoding; any other is refused.
const VERSION: u8 = 1;
/// What the MAC is for.
const LABEL: &[u8] = b"belay/nats/bus/1";
/// Bytes of the MAC.
const MAC_BYTES: usize = 32;
/// Bytes before the head.
const PRELUDE: usize = 5;

/// Why a frame of another node is not taken; the label of metrics.
pub(super) type Refusal = &'static str;

/// Who said something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sender {
    /// Life of the node.
    #[serde(rename = "n")]
    pub(super) node: String,
    /// Unix milliseconds.
    #[serde(rename = "t")]
    pub(super) at: u64,
    /// Grows with each frame of the node.
    #[serde(rename = "c")]
    pub(super) count: u64,
}

#[derive(Serialize, Deserialize)]
struct Head<K> {
    #[serde(flatten)]
    sender: Sender,
    #[serde(rename = "f")]
    frame: K,
}

/// Signs and checks frames.
#[derive(Clone)]
pub(super) struct Seal(Hmac<Sha256>);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Seal {
    pub(super) fn new(secret: &[u8]) -> Self {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        mac.update(LABEL);
        Self(mac)
    }

    fn over(&self, subject: &str, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&(subject.len() as u64).to_be_bytes());
        mac.update(subject.as_bytes());
        mac.update(bytes);
        mac
    }

    /// The bytes of a frame; `None` if it has no JSON.
    pub(super) fn encode(&self, subject: &str, sender: Sender, frame: &BusFrame) -> Option<Bytes> {
        let (frame, body) = split(frame);
        let head = serde_json::to_vec(&Head { sender, frame }).ok()?;
        let mut bytes = Vec::with_capacity(PRELUDE + head.len() + body.len() + MAC_BYTES);
        bytes.put_u8(VERSION);
        bytes.put_u32(u32::try_from(head.len()).ok()?);
        bytes.put_slice(&head);
        bytes.put_slice(&body);
        let mac = self.over(subject, &bytes).finalize().into_bytes();
        bytes.put_slice(&mac);
        Some(bytes.into())
    }

    /// Checks version and MAC of a frame.
    pub(super) fn open(&self, subject: &str, bytes: &Bytes) -> Result<Opened, Refusal> {
        if bytes.first() != Some(&VERSION) {
            return Err("version");
        }
        let end = bytes.len().checked_sub(MAC_BYTES).filter(|end| *end >= PRELUDE);
        let end = end.ok_or("malformed")?;
        let mac = self.over(subject, &bytes[..end]);
        mac.verify_slice(&bytes[end..]).map_err(|_| "signature")?;
        let mut rest = bytes.slice(1..end);
        let len = rest.get_u32() as usize;
        if len > rest.len() {
            return Err("malformed");
        }
        let head = rest.split_to(len);
        let named: Head<&serde_json::value::RawValue> =
            serde_json::from_slice(&head).map_err(|_| "malformed")?;
        let kind = named.frame.get().to_owned();
        Ok(Opened { sender: named.sender, kind, body: rest })
    }
}

/// A frame with a right MAC.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) sender: Sender,
    kind: String,
    body: Bytes,
}

#[cfg(test)]
mod tests {
    use belay_core::{
        delivery::{Body, Volatile},
        ports::Tail,
    };
    use belay_wire::{Channel, Epoch, MemberId, Position, Seq};

    use super::*;

    fn sender() -> Sender {
        Sender { node: "n1".to_owned(), at: 1_700_000_000_000, count: 7 }
    }

    fn node(drain: Option<serde_json::Value>) -> BusFrame {
        let (life, keys) = ("n1".to_owned(), vec!["1:k".to_owned()]);
        BusFrame::Node { life, store: true, keys, drain }
    }

    #[test]
    fn words_of_an_earlier_version_are_read_and_of_a_later_one_told_apart() {
        let said = |kind: &str| {
            let (kind, body) = (kind.to_owned(), Bytes::new());
            Opened { sender: sender(), kind, body }.frame()
        };
        let told = said(r#"{"k":"node","store":true}"#).expect("known");
        let BusFrame::Node { store: true, keys, drain: None, .. } = told else {
            panic!("{told:?}");
        };
        assert!(keys.is_empty());
        assert!(said(r#"{"k":"node","store":true,"later":{"a":[1]}}"#).is_ok());
        assert_eq!(said(r#"{"k":"later"}"#).expect_err("unknown"), "kind");
    }

    #[test]
    fn every_kind_comes_back_and_no_changed_bit_does() {
        let seal = Seal::new(b"a secret of nodes");
        let up = Channel::Up(MemberId::from_bytes([3; 16]));
        let volatile = |body| Volatile {
            key: "term".to_owned(),
            epoch: Epoch(u64::MAX),
            after: Seq::MAX,
            vseq: u64::MAX,
            body,
        };
        let header = "{\"after\":1,\"key\":\"term\"}".to_owned();
        let text = Body::Text(Bytes::from_static(b"{\"k\":\"vol\"}"));
        let binary = Body::Binary { header, payload: Bytes::from_static(&[0, 255, 128]) };
        let ack = r#"{"k":"unpaired","reason":"revoked"}"#;
        let mut frames = vec![
            BusFrame::Changed,
            BusFrame::Ended { reason: "over \"now\"".to_owned() },
            BusFrame::Tail { channel: up, tail: Tail { incarnation: u64::MAX, offset: 3 } },
            BusFrame::Applied {
                positions: [(up, Position::new(Epoch(1), Seq::MAX))].into_iter().collect(),
            },
            BusFrame::Volatile { channel: Channel::Down, message: volatile(text) },
            BusFrame::Volatile { channel: Channel::Down, message: volatile(binary) },
            node(Some(serde_json::json!({ "state": "active", "sockets_now": 3 }))),
            node(None),
            BusFrame::Drain {
                instance: "relay1".to_owned(),
                reason: "deploy \"42\"".to_owned(),
                seconds: 60,
                endpoint: Some("https://relay.example.org".to_owned()),
            },
            BusFrame::DrainCancelled { instance: "relay1".to_owned() },
        ];
        if let Ok(frame) = belay_wire::decode(ack) {
            frames.push(BusFrame::ToHost { frame: Box::new(frame) });
        }
        for frame in frames {
            let bytes = seal.encode("a.s.b.bus", sender(), &frame).expect("it has a form");
            let opened = seal.open("a.s.b.bus", &bytes).expect("it is whole");
            assert_eq!(opened.sender, sender());
            assert_eq!(format!("{:?}", opened.frame().expect("known")), format!("{frame:?}"));
            assert_eq!(seal.open("a.s.c.bus", &bytes).expect_err("moved"), "signature");
            let other = Seal::new(b"a secret of others");
            assert_eq!(other.open("a.s.b.bus", &bytes).expect_err("forged"), "signature");
            for at in 0..bytes.len() {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1;
                assert!(seal.open("a.s.b.bus", &flipped.into()).is_err(), "byte {at}");
                assert!(seal.open("a.s.b.bus", &bytes.slice(..at)).is_err(), "cut at {at}");
            }
        }
    }
}

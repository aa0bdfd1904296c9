//! A host that writes and a phone that reads as fast as the relay lets them.

use belay_testkit::{Desk, Relay};
use belay_wire::{Ack, Channel, Frame, Msg, Position, Positions, RawJson, Seq, Vol};

use crate::raw::{EPOCH, Raw};

/// Messages of a run: a host may send 4,000 at once.
pub(crate) const MESSAGES: u32 = 3_840;
/// Messages of a writer under way: a channel keeps so many volatile ones.
const UNDER_WAY: u32 = 64;
/// Messages that are sent with one write; the others are multiples of it.
const TOGETHER: u32 = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Stored,
    Volatile,
}

impl Kind {
    fn frame(self) -> &'static str {
        match self {
            Self::Stored => "msg",
            Self::Volatile => "vol",
        }
    }
}

/// A host that writes `down`, and a phone that reads it.
pub(crate) struct Pair {
    pub(crate) host: Raw,
    pub(crate) phone: Raw,
    payload: RawJson,
    seq: Seq,
    vseq: u64,
}

impl Pair {
    pub(crate) async fn connect(relay: &Relay) -> Self {
        let mut desk = Desk::start(relay).await;
        let member = desk.pair(relay).await;
        let phone = Raw::connect(&member.credentials, &member.identity).await;
        let host = Raw::connect(&desk.credentials, &desk.identity).await;
        let payload = RawJson::of(&"x".repeat(128)).expect("JSON");
        Self { host, phone, payload, seq: Seq::ZERO, vseq: 0 }
    }

    /// The next message that is stored.
    pub(crate) fn stored(&mut self) -> Frame {
        self.seq = self.seq.next();
        Msg {
            ch: Channel::Down,
            epoch: EPOCH,
            seq: self.seq,
            flags: None,
            key: None,
            was: Vec::new(),
            at: None,
            from: None,
            p: self.payload.clone(),
        }
        .into()
    }

    /// The next that is not. None of those under way has the key of another, so each of them is sent.
    fn volatile(&mut self) -> Frame {
        self.vseq += 1;
        let (key, p) = ((self.vseq % u64::from(UNDER_WAY)).to_string(), self.payload.clone());
        Vol { ch: Channel::Down, epoch: EPOCH, after: self.seq, vseq: self.vseq, key, p }.into()
    }

    /// The phone has applied what it was sent.
    pub(crate) async fn applied(&mut self) {
        let pos = Positions::from([(Channel::Down, Position::new(EPOCH, self.seq))]);
        self.phone.send([Ack { pos }]).await;
    }

    /// The host sends; all of it is read, and what was stored is acknowledged.
    pub(crate) async fn run(&mut self, kind: Kind) {
        let (mut sent, mut read) = (0, 0);
        while read < MESSAGES {
            while sent < MESSAGES && sent < read + UNDER_WAY {
                let frames: Vec<_> = (0..TOGETHER)
                    .map(|_| match kind {
                        Kind::Stored => self.stored(),
                        Kind::Volatile => self.volatile(),
                    })
                    .collect();
                self.host.send(frames).await;
                sent += TOGETHER;
            }
            for _ in 0..TOGETHER {
                self.phone.until(kind.frame()).await;
            }
            read += TOGETHER;
            if kind == Kind::Stored {
                self.applied().await;
            }
        }
        if kind == Kind::Stored {
            self.host.until_acknowledged(self.seq).await;
        }
    }
}

//! The host's side of pairing: link, nonce, comparison code, signed decision.

use belay_client::{Identity, PairingLink};
use belay_wire::{
    Bytes32, PairCommitted, PairDecision, PairNonce, PairRequested, RendezvousId, RequestId,
    pair::CodeMade,
    proof::{Comparison, commitment, decision_transcript, key_hash},
};

use crate::{
    clock::unix_ms,
    view::{Offer, PendingPhone},
};

/// How long a phone may take to open its commitment.
const REVEAL_MS: u64 = 60_000;

/// The lease that is shown and the request that waits.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    link: Option<PairingLink>,
    offer: Option<Offer>,
    committed: Option<Committed>,
    requested: Option<PairRequested>,
    waiting: bool,
}

#[derive(Debug)]
struct Committed {
    id: RequestId,
    commit: Bytes32,
    nonce: Bytes32,
    rendezvous: RendezvousId,
    /// Empty when the code was typed.
    secret: Vec<u8>,
    /// When the phone must have opened its commitment, Unix milliseconds.
    until: u64,
}

impl Pairing {
    /// Shows a new lease.
    pub(crate) fn show(&mut self, relay: &str, made: &CodeMade, identity: &Identity) {
        let link = PairingLink::new(relay, made.rendezvous, key_hash(&identity.public()));
        let code = made.code.expose();
        let (left, right) = code.split_at(code.len() / 2);
        let (url, expires_at) = (link.url(), made.expires_at);
        self.offer = Some(Offer { url, code: format!("{left}-{right}"), expires_at });
        self.link = Some(link);
    }

    /// Shows no lease.
    pub(crate) fn hide(&mut self) {
        self.offer = None;
    }

    pub(crate) fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.committed.is_some()
    }

    /// A phone committed to its key: answer with a fresh nonce. A repeat gets the same one.
    pub(crate) fn committed(
        &mut self,
        frame: &PairCommitted,
        random: [u8; 32],
    ) -> Option<PairNonce> {
        let link = self.link.as_ref()?;
        let repeat = self.committed.as_ref().filter(|c| c.id == frame.id);
        let nonce = repeat.map_or(Bytes32(random), |c| c.nonce);
        let secret =
            if frame.typed { Vec::new() } else { link.secret.expose().as_bytes().to_vec() };
        let rendezvous = link.rendezvous;
        let (id, commit, until) = (frame.id, frame.commit, unix_ms() + REVEAL_MS);
        self.committed = Some(Committed { id, commit, nonce, rendezvous, secret, until });
        Some(PairNonce { id: frame.id, nonce, rendezvous })
    }

    /// The phone opened its commitment. `false`: what it opened is not what it committed to.
    pub(crate) fn requested(&mut self, frame: PairRequested) -> bool {
        let fits = self.committed.as_ref().is_some_and(|c| {
            c.id == frame.id && commitment(&frame.key, &frame.opening) == c.commit
        });
        self.requested = Some(frame);
        self.waiting = true;
        fits
    }

    pub(crate) fn set_waiting(&mut self, id: RequestId, waiting: bool) {
        if self.requested.as_ref().is_some_and(|r| r.id == id) {
            self.waiting = waiting;
        }
    }

    /// A pairing ended, or the connection on which it ran.
    pub(crate) fn ended(&mut self) {
        self.committed = None;
        self.requested = None;
    }

    /// Forgets a pairing that can no longer be decided.
    pub(crate) fn expire(&mut self, unix_ms: u64) {
        let until = match (&self.requested, &self.committed) {
            (Some(requested), _) => requested.expires_at,
            (None, Some(committed)) => committed.until,
            (None, None) => return,
        };
        if until < unix_ms {
            self.ended();
        }
    }

    /// What the person sees.
    pub(crate) fn phone(&self, identity: &Identity) -> Option<PendingPhone> {
        let (committed, requested) = (self.committed.as_ref()?, self.requested.as_ref()?);
        let code = Comparison {
            host: &identity.public(),
            phone: &requested.key,
            rendezvous: committed.rendezvous,
            host_nonce: &committed.nonce,
            opening: &requested.opening,
            secret: &committed.secret,
        }
        .code();
        Some(PendingPhone {
            id: requested.id,
            name: requested.device.name.clone(),
            platform: requested.device.platform.clone(),
            address: requested.address.clone(),
            code,
            waiting: self.waiting,
            expires_at: requested.expires_at,
        })
    }

    /// The signed decision about the pending request.
    pub(crate) fn decide(
        &self,
        id: RequestId,
        approved: bool,
        identity: &Identity,
    ) -> Option<PairDecision> {
        let requested = self.requested.as_ref().filter(|r| r.id == id)?;
        let key = key_hash(&requested.key);
        let transcript = decision_transcript(id, approved, &key, requested.expires_at);
        let signature = identity.sign(&transcript);
        Some(PairDecision { id, approved, key, expires_at: requested.expires_at, signature })
    }
}

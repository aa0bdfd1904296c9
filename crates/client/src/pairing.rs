//! The pairing link, and the phone's side of pairing.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use belay_wire::{
    Bytes32, KeyHash, RendezvousId, Secret,
    pair::{DeviceInfo, PairStarted, RevealPair, StartPair},
    proof::{Comparison, commitment, decision_transcript, key_hash},
};
use ed25519_dalek::{Signature, VerifyingKey};

use crate::{Api, ApiError, Credentials, Identity, identity::random};

/// What the QR holds. All of it stands in the URL's fragment, which browsers never send.
#[derive(Debug, Clone)]
pub struct PairingLink {
    pub relay: String,
    pub rendezvous: RendezvousId,
    /// Pins the host's public key.
    pub host: KeyHash,
    /// One-time secret that only the QR carries.
    pub secret: Secret,
}

impl PairingLink {
    /// A link with a fresh secret.
    pub fn new(relay: &str, rendezvous: RendezvousId, host: KeyHash) -> Self {
        let secret = Secret::new(BASE64URL.encode(random::<16>()));
        Self { relay: relay.trim_end_matches('/').to_owned(), rendezvous, host, secret }
    }

    /// The text of the link.
    pub fn url(&self) -> String {
        let Self { relay, rendezvous, host, secret } = self;
        format!("{relay}/#p={rendezvous}.{host}.{}", secret.expose())
    }

    /// Reads a link.
    pub fn parse(url: &str) -> Option<Self> {
        let (relay, fragment) = url.split_once("/#p=")?;
        let mut parts = fragment.split('.');
        let link = Self {
            relay: relay.to_owned(),
            rendezvous: parts.next()?.parse().ok()?,
            host: parts.next()?.parse().ok()?,
            secret: Secret::new(parts.next()?),
        };
        parts.next().is_none().then_some(link)
    }
}

/// A phone that pairs: key, opening, and what it learned.
#[derive(Debug)]
pub struct Phone {
    pub identity: Identity,
    opening: Bytes32,
    device: DeviceInfo,
}

/// A pairing that waits for the desktop.
#[derive(Debug)]
pub struct Waiting {
    started: PairStarted,
    /// Six digits, to be compared with the desktop's.
    pub code: String,
}

impl Phone {
    /// A phone with fresh keys.
    pub fn new(name: &str, platform: &str) -> Self {
        let device = DeviceInfo { name: name.to_owned(), platform: platform.to_owned() };
        Self { identity: Identity::generate(), opening: Bytes32(random()), device }
    }

    /// Redeems a link; the host's key must be the one that the link pins.
    ///
    /// # Errors
    /// [`ApiError`], also when the key is another.
    pub async fn start(&self, api: &Api, link: &PairingLink) -> Result<Waiting, ApiError> {
        let start = StartPair {
            rendezvous: Some(link.rendezvous),
            code: None,
            device: self.device.clone(),
            commit: commitment(&self.identity.public(), &self.opening),
        };
        let started = api.start_pair(&start).await?;
        let same = started.rendezvous == link.rendezvous;
        if key_hash(&started.host_public_key) != link.host || !same {
            return Err(mismatch(&link.relay));
        }
        Ok(self.waiting(started, link.secret.expose().as_bytes()))
    }

    /// Redeems a typed code.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn start_typed(&self, api: &Api, code: &str) -> Result<Waiting, ApiError> {
        let start = StartPair {
            rendezvous: None,
            code: Some(Secret::new(code)),
            device: self.device.clone(),
            commit: commitment(&self.identity.public(), &self.opening),
        };
        Ok(self.waiting(api.start_pair(&start).await?, b""))
    }

    fn waiting(&self, started: PairStarted, secret: &[u8]) -> Waiting {
        let code = Comparison {
            host: &started.host_public_key,
            phone: &self.identity.public(),
            rendezvous: started.rendezvous,
            host_nonce: &started.host_nonce,
            opening: &self.opening,
            secret,
        }
        .code();
        Waiting { started, code }
    }

    /// Opens the commitment, waits for the desktop, and checks that it approved this very key.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn finish(
        &self,
        api: &Api,
        relay: &str,
        waiting: &Waiting,
    ) -> Result<Credentials, ApiError> {
        let public_key = self.identity.public();
        let reveal = RevealPair { public_key, opening: self.opening };
        let paired = api.reveal_pair(waiting.started.request, &reveal).await?;
        let transcript = decision_transcript(
            waiting.started.request,
            true,
            &key_hash(&public_key),
            paired.approval_expires_at,
        );
        let approved = VerifyingKey::from_bytes(&waiting.started.host_public_key.sign.0)
            .and_then(|key| {
                let signature = Signature::from_bytes(&paired.signature.0);
                key.verify_strict(transcript.as_bytes(), &signature)
            })
            .is_ok();
        if !approved {
            return Err(mismatch(relay));
        }
        Ok(Credentials {
            relay: relay.to_owned(),
            session: paired.session,
            member: Some(paired.member),
            token: paired.token,
        })
    }
}

fn mismatch(relay: &str) -> ApiError {
    ApiError::Network {
        relay: relay.to_owned(),
        cause: "its key is not the desktop's; somebody may sit in between".to_owned(),
    }
}
